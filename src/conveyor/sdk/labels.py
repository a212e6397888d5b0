"""Labels of requests: JSON, NDJSON or Arrow, checked, as one Arrow stream in the columns of `labels/<model>`."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl

from conveyor.domain.label import AHEAD
from conveyor.domain.rows import MEDIA, Format
from conveyor.errors import InputRejected

JSON = "application/json"
SCHEMA = pl.Schema({"id": pl.String(), "key": pl.String(), "label": pl.String(), "time": pl.Datetime("us", "UTC")})
_SEND_AGAIN = "Nothing of this request was taken; mend it and send it again."
_FORM = '{"id": "PREDICTION", "label": 1}, or "key" for the id; "time" says when the truth was known'


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    label: str | int | float | bool
    id: str | None = None
    key: str | int | None = None
    time: datetime | None = None


_one_or_many = msgspec.json.Decoder(_Label | list[_Label])
_lines = msgspec.json.Decoder(_Label)


def checked(media: str, body: bytes, key: str | None, now: datetime) -> tuple[bytes, int]:
    """The labels as an Arrow stream, and how many. `key`: the column that may stand for "key". Raises InputRejected."""
    kind = media.partition(";")[0].strip().lower()
    if kind == JSON or MEDIA.get(kind) is Format.NDJSON:
        table = _json(kind, body, key)
    elif MEDIA.get(kind) is Format.ARROW:
        table = _arrow(body, key)
    else:
        raise InputRejected(
            f"labels cannot be read from {media[:80] or 'a body without a content type'!r}",
            hint=f"Send one of {', '.join((JSON, *MEDIA))}.",
        )
    if table.is_empty():
        raise InputRejected("the request has no labels", hint=_SEND_AGAIN)
    _check(table, now)
    table = table.with_columns(pl.col("time").fill_null(now))
    buffer = io.BytesIO()
    table.write_ipc_stream(buffer)
    return buffer.getvalue(), table.height


def text(value: str | float) -> str:
    """One text for one truth: true, 1 and 1.0 are the same."""
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(value)


def _json(kind: str, body: bytes, key: str | None) -> pl.DataFrame:
    try:
        if kind == JSON:
            raw = msgspec.json.decode(body)
            raw = _renamed(raw if isinstance(raw, list) else [raw], key)
        else:
            raw = _renamed(msgspec.json.Decoder().decode_lines(body), key)
        found = msgspec.convert(raw, list[_Label])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputRejected(f"the labels cannot be read: {error}", hint=f"Each is {_FORM}. {_SEND_AGAIN}") from error
    columns = {
        "id": [each.id for each in found],
        "key": [None if each.key is None else str(each.key) for each in found],
        "label": [text(each.label) for each in found],
        "time": [each.time and (each.time if each.time.tzinfo else each.time.replace(tzinfo=UTC)) for each in found],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def _renamed(rows: list[Any], key: str | None) -> list[Any]:
    if not key or key in SCHEMA:
        return rows
    return [
        {**{n: v for n, v in row.items() if n != key}, "key": row[key]} if isinstance(row, dict) and key in row else row
        for row in rows
    ]


def _arrow(body: bytes, key: str | None) -> pl.DataFrame:
    try:
        table = pl.read_ipc_stream(io.BytesIO(body))
        if key and key in table.columns and key not in SCHEMA:
            table = table.rename({key: "key"})
        odd = [name for name in table.columns if name not in SCHEMA]
        if odd or "label" not in table.columns:
            raise InputRejected(
                f"the columns are {', '.join(table.columns)}", hint="They may be id or key, label and time."
            )
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in table.columns]
        texts = [_texts(name, table.schema[name]) for name in ("id", "key", "label") if name in table.columns]
        table = table.with_columns(*missing, *texts)
        time = pl.col("time").cast(pl.Datetime("us", table.schema["time"].time_zone))  # type: ignore[attr-defined]
        aware = table.schema["time"].time_zone is not None  # type: ignore[attr-defined]
        time = time.dt.convert_time_zone("UTC") if aware else time.dt.replace_time_zone("UTC")
        return table.with_columns(time).select(*SCHEMA)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, AttributeError) as error:
        raise InputRejected(f"the body is no Arrow stream of labels: {error}", hint=_SEND_AGAIN) from error


def _texts(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Boolean:
        return column.cast(pl.Int8).cast(pl.String)
    if not dtype.is_float():
        return column.cast(pl.String)
    whole = column.is_finite() & (column == column.round()) & (column.abs() < 2**53)
    return pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))


def _check(table: pl.DataFrame, now: datetime) -> None:
    nobody = table.select((pl.col("id").is_null() & pl.col("key").is_null()).arg_true()).to_series()
    empty = table.select(pl.col("label").is_null().arg_true()).to_series()
    ahead = table.select((pl.col("time") > now + AHEAD).fill_null(False).arg_true()).to_series()
    for rows, what in (
        (nobody, "names no prediction, neither by id nor by key"),
        (empty, "has no label"),
        (ahead, "has a time that is still to come"),
    ):
        if len(rows):
            raise InputRejected(f"label {rows[0] + 1} of the request {what}", hint=_SEND_AGAIN)
