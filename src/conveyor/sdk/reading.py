"""Files of data as frames: format by suffix, damage told in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath

import polars as pl

from conveyor.domain.project import Limits
from conveyor.domain.rows import SUFFIX, Format
from conveyor.domain.step import IngestFile
from conveyor.errors import InputRejected
from conveyor.sdk import rows
from conveyor.sdk.unpack import too_large, unpacked

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    SUFFIX: "rows",
}
_MAGIC = b"PAR1"
_WIDTH: dict[object, float] = {
    pl.Boolean: 1 / 8, pl.Int8: 1, pl.UInt8: 1, pl.Int16: 2, pl.UInt16: 2, pl.Int32: 4, pl.UInt32: 4, pl.Float32: 4,
    pl.Date: 4, pl.Int64: 8, pl.UInt64: 8, pl.Float64: 8, pl.Datetime: 8, pl.Duration: 8, pl.Time: 8, pl.Null: 0,
}  # fmt: skip
"""Bytes of a value in memory; of other types, 16 or more."""


PACKED = (".gz", ".zst")
"""Suffixes that text formats may have besides; what is packed without saying so is told by its first bytes."""


def format_of(name: str) -> str:
    path = PurePath(name)
    suffix = path.suffix.lower()
    if suffix in PACKED and PurePath(path.stem).suffix.lower() in (".csv", ".ndjson", ".jsonl"):
        suffix = PurePath(path.stem).suffix.lower()
    if suffix == SUFFIX and PurePath(path.stem).suffix not in (f".{each}" for each in Format):
        suffix = ""
    if suffix not in FORMATS:
        known = ", ".join(each for each in FORMATS if each != SUFFIX)
        raise InputRejected(
            f"{name}: the format {suffix or '(no suffix)'} is not known",
            hint=f"Send one of {known}; text may be packed as {' or '.join(PACKED)}.",
        )
    return FORMATS[suffix]


def typed(name: str) -> bool:
    """Whether values of this format carry their types; text must be parsed."""
    return format_of(name) == "parquet" or name.endswith(f".{Format.ARROW}{SUFFIX}")


def read(
    file: IngestFile,
    schema: Mapping[str, str] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    scratch: Path | None = None,
) -> pl.DataFrame:
    """The whole file. Text formats come with inferred types; `conform` brings them to the schema.

    Rows that came by request were checked against `schema` then, and are read by it. What is packed is unpacked into
    `scratch`.
    """
    path, kind = Path(file.path), format_of(file.name)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputRejected(f"{file.name} cannot be opened: {error.strerror}", hint="Send it again.") from error
    if size == 0:
        raise InputRejected(f"{file.name} is empty (0 bytes)", hint="The writer may have failed: send the file again.")
    if kind == "parquet":
        check_parquet(path, file.name, size)
        check_claims(path, file.name, limits)
    elif size > limits.mb * 2**20:
        raise too_large(file.name, "it has more than", limits.mb * 2**20)
    elif kind != "rows" and scratch is not None:
        path = unpacked(path, file.name, limits.mb * 2**20, scratch)
    try:
        table = rows.read(path, file.name, schema) if kind == "rows" else _read(path, kind)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, file.name, kind, error) from error
    if table.height == 0:
        raise InputRejected(f"{file.name} has no rows", hint="Nothing was taken; send it again when it holds data.")
    check_rows(table.height, file.name, limits)
    return table


def _read(path: Path, kind: str) -> pl.DataFrame:
    if kind == "parquet":
        # opened here: polars would look for wildcards in a path, and for hive partitions
        with path.open("rb") as source:
            return pl.read_parquet(source)
    if kind == "csv":
        return pl.read_csv(path, infer_schema_length=None, try_parse_dates=True, glob=False)
    return pl.read_ndjson(path, infer_schema_length=None)


def check_parquet(path: Path, name: str, size: int) -> None:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    if head != _MAGIC:
        raise InputRejected(f"{name} is not a Parquet file: it does not begin with PAR1", hint="Look what wrote it.")
    if tail != _MAGIC or size < 12:
        raise InputRejected(
            f"{name} is truncated: a Parquet file ends with PAR1, this one breaks off after {size} bytes",
            hint="The copy was cut short: send the whole file again.",
        )


def check_claims(path: Path, name: str, limits: Limits) -> None:
    """By its footer alone: a small file may say, truly or not, that it holds more rows than any memory does."""
    try:
        with path.open("rb") as source:
            lazy = pl.scan_parquet(source)
            rows, schema = int(lazy.select(pl.len()).collect().item()), lazy.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, OverflowError) as error:
        if claimed := re.search(r"produces (\d+) rows", str(error)):  # more than polars can count
            check_rows(int(claimed[1]), name, limits)
        raise unreadable(path, name, "parquet", error) from error
    check_rows(rows, name, limits)
    memory = rows * sum(_WIDTH.get(dtype.base_type(), 16) for dtype in schema.values())
    if memory > limits.memory_mb * 2**20:
        raise InputRejected(
            f"{name}: its {rows:,} rows need {memory / 2**20:,.0f} MB of memory at least, "
            f"and {limits.memory_mb:,} MB may be used",
            hint="Send it in parts, or raise `limits.memory_mb` of the dataset in conveyor.toml.",
        )


def check_rows(rows: int, name: str, limits: Limits) -> None:
    if rows > limits.rows:
        raise InputRejected(
            f"{name}: it has {rows:,} rows, and one file may have {limits.rows:,}",
            hint="Send it in parts, or raise `limits.rows` of the dataset in conveyor.toml.",
        )


def unreadable(path: Path, name: str, kind: str, error: BaseException) -> InputRejected:
    at = not_utf8(path) if kind in ("csv", "ndjson") else None
    if at is not None:
        return InputRejected(f"{name} is not UTF-8: line {at}", hint="Write the file as UTF-8 and send it again.")
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputRejected(f"{name} cannot be read as {kind}: {cause}", hint="Mend the file and send it again.")


def not_utf8(path: Path) -> str | None:
    """`3 holds the byte 0xe9 at column 17` for the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{number} holds the byte 0x{line[error.start]:02x} at column {error.start + 1}"
    return None
