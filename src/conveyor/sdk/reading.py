"""Files of data as frames: format by suffix, damage told in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

import polars as pl

from conveyor.domain.rows import SUFFIX, Format
from conveyor.domain.step import IngestFile
from conveyor.errors import InputRejected
from conveyor.sdk import rows

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    SUFFIX: "rows",
}
_MAGIC = b"PAR1"


def format_of(name: str) -> str:
    suffix = PurePath(name).suffix.lower()
    if suffix not in FORMATS:
        raise InputRejected(
            f"{name}: the format {suffix or '(no suffix)'} is not known",
            hint=f"Send one of {', '.join(FORMATS)}.",
        )
    return FORMATS[suffix]


def typed(name: str) -> bool:
    """Whether values of this format carry their types; text must be parsed."""
    return format_of(name) == "parquet" or name.endswith(f".{Format.ARROW}{SUFFIX}")


def read(file: IngestFile, schema: Mapping[str, str] | None = None) -> pl.DataFrame:
    """The whole file. Text formats come with inferred types; `conform` brings them to the schema.

    Rows that came by request were checked against `schema` then, and are read by it.
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
    try:
        table = rows.read(path, file.name, schema) if kind == "rows" else _read(path, kind)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, file.name, kind, error) from error
    if table.height == 0:
        raise InputRejected(f"{file.name} has no rows", hint="Nothing was taken; send it again when it holds data.")
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
