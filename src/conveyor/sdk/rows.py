"""Rows of requests: checked against the dataset's schema when they come, read from a segment when they are ingested."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl

from conveyor.domain.rows import Format, format_of, frames
from conveyor.errors import InputRejected
from conveyor.sdk.schema import parse_type, widens

_SEND_AGAIN = "Nothing of this request was taken; mend it and send it again."
_OFFSET = r"(?:[+-]\d\d:?\d\d)$"


def checked(format_: Format, body: bytes, schema: Mapping[str, str] | None) -> tuple[bytes, int]:
    """The body as it is to be kept, and how many rows it has. Raises InputRejected for the whole request."""
    fixed = tuple(schema.items()) if schema else None
    body, rows = _checked_json(body, fixed) if format_ is Format.NDJSON else (body, _checked_arrow(body, fixed))
    if not rows:
        raise InputRejected("the request has no rows", hint=_SEND_AGAIN)
    return body, rows


def _checked_json(body: bytes, schema: tuple[tuple[str, str], ...] | None) -> tuple[bytes, int]:
    """One object on each line, with columns of the schema and values of their types; a column left out is null."""
    try:
        rows = _decoder(schema).decode_lines(body)
        body = body if body.endswith(b"\n") else body + b"\n"
        if not _one_a_line(body, len(rows)):
            raws = msgspec.json.Decoder(msgspec.Raw).decode_lines(body)
            body = b"".join(bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n" for raw in raws)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputRejected(f"{_line(body, schema)}: {error}", hint=_SEND_AGAIN) from error
    return body, len(rows)


def _one_a_line(body: bytes, rows: int) -> bool:
    """Between an end of line after `}` and a `{` there can be no more than the border of two objects."""
    ends, starts = body.count(b"}\n"), body.count(b"\n{") + body.startswith(b"{")
    return body.count(b"\n") == ends == starts == rows


def _line(body: bytes, schema: tuple[tuple[str, str], ...] | None) -> str:
    """`line 3`: the first that cannot be read by itself."""
    decoder = _decoder(schema)
    for number, line in enumerate(body.split(b"\n"), start=1):
        try:
            if line.strip():
                decoder.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return f"line {number}"
    return "the body"


@lru_cache(maxsize=64)
def _decoder(schema: tuple[tuple[str, str], ...] | None) -> msgspec.json.Decoder[Any]:
    if schema is None:
        return msgspec.json.Decoder(dict[str, Any])
    fields = [(f"f{place}", json_type(parse_type(text)) | None, None) for place, (_, text) in enumerate(schema)]
    names = {f"f{place}": name for place, (name, _) in enumerate(schema)}
    return msgspec.json.Decoder(msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True))


def json_type(dtype: pl.DataType) -> Any:
    """What JSON may hold for a column of this type."""
    if dtype.is_integer():
        bits = int("".join(filter(str.isdigit, str(dtype))))
        low, high = (0, 2**bits - 1) if str(dtype).startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return Annotated[int, msgspec.Meta(ge=max(low, -(2**63)), le=min(high, 2**63 - 1))]
    known = ((pl.Datetime, datetime), (pl.Date, date), (pl.Time, time), (pl.Boolean, bool), (pl.String, str))
    for kind, python in known:
        if isinstance(dtype, kind):
            return python
    if dtype.is_float():
        return float
    return str if isinstance(dtype, pl.Categorical | pl.Enum) else Any


def _checked_arrow(body: bytes, schema: tuple[tuple[str, str], ...] | None) -> int:
    try:
        table = pl.read_ipc_stream(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputRejected(f"the body is not an Arrow IPC stream: {error}", hint=_SEND_AGAIN) from error
    expected = {name: parse_type(text) for name, text in schema or ()}
    problems = [f"column {name} is not in the dataset's schema" for name in table.columns if name not in expected]
    problems += [
        f"column {name}: expected {expected[name]}, found {found}"
        for name, found in table.schema.items()
        if name in expected and not widens(found, expected[name])
    ]
    if schema and problems:
        raise InputRejected("; ".join(problems), hint=_SEND_AGAIN)
    return table.height


def read(path: Path, name: str, schema: Mapping[str, str] | None) -> pl.DataFrame:
    """All rows of a segment, in the order in which they came; with a schema, in its types."""
    bodies = [frame.payload for frame, _ in frames(path.read_bytes())]
    if not bodies:
        raise InputRejected(
            f"{name} is not a segment of rows", hint="Rows are sent by POST; a file has another suffix."
        )
    if format_of(name) is Format.ARROW:
        tables = [pl.read_ipc_stream(io.BytesIO(body)) for body in bodies]
        if schema is None:
            return pl.concat(tables, how="diagonal_relaxed")
        types = {column: parse_type(text) for column, text in schema.items()}
        return pl.concat(
            [table.select(_cast(table, column, dtype) for column, dtype in types.items()) for table in tables]
        )
    whole = io.BytesIO(b"".join(bodies))
    if schema is None:
        return pl.read_ndjson(whole, infer_schema_length=None)
    types = {column: parse_type(text) for column, text in schema.items()}
    table = pl.read_ndjson(whole, schema={c: pl.String() if t.is_temporal() else t for c, t in types.items()})
    return table.with_columns(_moment(column, dtype) for column, dtype in types.items() if dtype.is_temporal())


def _cast(table: pl.DataFrame, column: str, dtype: pl.DataType) -> pl.Expr:
    return (pl.col(column) if column in table.columns else pl.lit(None)).cast(dtype).alias(column)


def _moment(column: str, dtype: pl.DataType) -> pl.Expr:
    """Text of RFC 3339, with or without an offset and a fraction, as a time; without an offset it is UTC."""
    text = pl.col(column).str.replace(" ", "T", literal=True).str.replace(r"[Zz]$", "+00:00")
    if not isinstance(dtype, pl.Datetime):
        return text.str.to_date("%Y-%m-%d") if isinstance(dtype, pl.Date) else text.str.to_time("%H:%M:%S%.f")
    plain = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit=dtype.time_unit, strict=False)
    offset = pl.when(text.str.contains(_OFFSET)).then(text)
    aware = offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit=dtype.time_unit, time_zone="UTC", strict=False)
    found = pl.coalesce(aware.dt.replace_time_zone(None), plain)
    return found.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else found
