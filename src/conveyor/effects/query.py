"""`python -m conveyor.effects.query SPEC.json OUT`: rows of a database from a cursor on, by a query of the user's.

It runs with the control plane's own libraries. The database's URL is in the variable that the spec names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import CursorResult, create_engine, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from conveyor.domain.fetch import CHUNK, FetchReport, FetchSpec
from conveyor.errors import InputRejected, StepFailed, Unavailable
from conveyor.sdk import process
from conveyor.sdk.fetch import write

_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def query(spec: FetchSpec, out: Path) -> FetchReport:
    """The rows in the order of the query, which must be that of the cursor column."""
    try:
        with closing(_chunks(spec)) as chunks:
            return write(chunks, spec.cursor, out)
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputRejected(
            f"the secret {spec.url} is not the URL of a database that is known here",
            hint="Give one such as postgresql://user:password@host/name or sqlite:////path/to/file.",
        ) from error
    except DBAPIError as error:
        kind = Unavailable if error.connection_invalidated else StepFailed
        raise kind(f"the query failed: {str(error.orig).strip()}", hint="Look at `query` in conveyor.toml.") from error
    except SQLAlchemyError as error:
        raise StepFailed(f"the query failed: {error}", hint="Look at `query` in conveyor.toml.") from error


def _chunks(spec: FetchSpec) -> Generator[tuple[pl.DataFrame, Any], None, None]:
    scheme, colon, rest = os.environ.get(spec.url, "").partition("://")
    engine = create_engine(_DRIVERS.get(scheme, scheme) + colon + rest)
    try:
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=CHUNK)
            with closing(streaming.execute(text(spec.query), {"cursor": spec.cursor})) as result:
                yield from _rows(spec, result)
    finally:
        engine.dispose()


def _rows(spec: FetchSpec, result: CursorResult[Any]) -> Iterator[tuple[pl.DataFrame, Any]]:
    names, last = list(result.keys()), spec.cursor
    if spec.column not in names:
        raise InputRejected(
            f"the query has no column {spec.column!r}; it has {', '.join(names)}",
            hint="Select the cursor column too, or mend `cursor` in conveyor.toml.",
        )
    place = names.index(spec.column)
    while rows := result.fetchmany(CHUNK):
        last = _in_order(spec, [row[place] for row in rows], last)
        columns = {name: [_value(row[n]) for row in rows] for n, name in enumerate(names)}
        yield pl.DataFrame(columns, strict=False, infer_schema_length=None), last


def _in_order(spec: FetchSpec, values: list[Any], last: Any) -> Any:
    """The greatest cursor. Rows out of order would be left out by the next fetch, so they are an error."""
    if any(value is None for value in values):
        raise InputRejected(f"column {spec.column} is null in a row", hint="A cursor column has a value in each row.")
    if any(after < before for before, after in pairwise(values)):
        raise InputRejected(
            f"the rows do not come in the order of {spec.column}", hint=f"End the query with ORDER BY {spec.column}."
        )
    if last is not None and type(values[0]) is type(last) and values[0] < last:
        raise InputRejected(
            f"the query gave rows from before the cursor ({values[0]!r} < {last!r})",
            hint=f"It must ask for more: WHERE {spec.column} > :cursor ORDER BY {spec.column}.",
        )
    return values[-1]


def _value(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def main(argv: list[str]) -> int:
    return process.run(argv, FetchSpec, lambda spec, out: process.write_json(out / "fetch.json", query(spec, out)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
