"""MLflow's scoring protocol: `POST /invocations` with rows in one of four forms, `{"predictions": [...]}` back.

Source: MLflow's documentation of its inference server. `params` may name the output that is wanted, and an id.
"""

from __future__ import annotations

import msgspec

from conveyor.errors import InputRejected
from conveyor.serving.batch import Batch, BatchReader, Value
from conveyor.serving.protocol import check_id, decode

_HINT = (
    "send one of dataframe_split, dataframe_records, instances, inputs:"
    ' {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}'
)
Row = list[Value]
Record = dict[str, Value]


class Split(msgspec.Struct):
    columns: list[str]
    data: list[Row]


class Params(msgspec.Struct, forbid_unknown_fields=True):
    output: str | None = None
    id: str | None = None


class ScoringRequest(msgspec.Struct, forbid_unknown_fields=True):
    dataframe_split: Split | None = None
    dataframe_records: list[Record] | None = None
    instances: list[Row | Record] | None = None
    inputs: list[Row | Record] | dict[str, list[Value | Row]] | None = None
    params: Params | None = None


class ScoringResponse(msgspec.Struct):
    predictions: list[object]


_decoder = msgspec.json.Decoder(ScoringRequest)


def parse(body: bytes) -> tuple[ScoringRequest, Params]:
    """Raises InputRejected for anything but one of the four forms."""
    request = decode(_decoder, body, _HINT)
    forms = (request.dataframe_split, request.dataframe_records, request.instances, request.inputs)
    if sum(form is not None for form in forms) != 1:
        raise InputRejected("the body has no form of rows, or several", hint=_HINT)
    params = request.params or Params()
    if params.id is not None:
        check_id(params.id)
    return request, params


def rows_of(request: ScoringRequest, reader: BatchReader, matrix_names: frozenset[str]) -> Batch:
    """The request's rows as the model takes them. Raises InputRejected."""
    if request.dataframe_split is not None:
        return reader.table(_split(request.dataframe_split))
    if isinstance(request.inputs, dict):
        return _columns(request.inputs, reader, matrix_names)
    rows = request.dataframe_records if request.instances is None else request.instances
    return _rows(request.inputs if rows is None else rows, reader)


def _split(split: Split) -> dict[str, list[Value]]:
    width = len(split.columns)
    if len(set(split.columns)) < width:
        raise InputRejected("two columns of one name", hint="send each column once")
    for number, row in enumerate(split.data):
        if len(row) != width:
            raise InputRejected(f"row {number} has {len(row)} values for {width} columns", hint="give each column one")
    return {name: [row[at] for row in split.data] for at, name in enumerate(split.columns)}


def _columns(inputs: dict[str, list[Value | Row]], reader: BatchReader, matrix_names: frozenset[str]) -> Batch:
    name, values = next(iter(inputs.items()), ("", []))
    if len(inputs) == 1 and name in matrix_names:
        return _rows(values, reader)
    return reader.table({name: [_single(name, value) for value in values] for name, values in inputs.items()})


def _single(name: str, value: Value | Row) -> Value:
    """A column may come as [n] or as [n, 1]."""
    if not isinstance(value, list):
        return value
    if len(value) != 1:
        raise InputRejected(f"column '{name}' has {len(value)} values in one row", hint="send one for each row")
    return value[0]


def _rows(rows: object, reader: BatchReader) -> Batch:
    assert isinstance(rows, list)
    if all(isinstance(row, list) for row in rows):
        return reader.matrix(rows)
    if not all(isinstance(row, dict) for row in rows):
        raise InputRejected("rows of several kinds, or values that are no rows", hint="send [[1, 2], [3, 4]]")
    names = rows[0].keys()
    for number, row in enumerate(rows):
        if row.keys() != names:
            odd = sorted(row.keys() ^ names)[0]
            raise InputRejected(f"row {number} and row 0 do not both have '{odd}'", hint="give each row every column")
    return reader.table({name: [row[name] for row in rows] for name in names})
