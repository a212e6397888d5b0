"""`python -m conveyor.sdk.fetch SPEC.json OUT`: ask a project's function for rows from a cursor on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.domain.fetch import MOST_ROWS, FetchReport, FetchSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions, process
from conveyor.sdk.parts import save
from conveyor.sdk.step import as_lazy


def fetch(spec: FetchSpec, out: Path) -> FetchReport:
    """Takes what the function yields, pairs of rows and the cursor behind them, until it ends or there is enough."""
    given = functions.find(spec.function)(spec.cursor)
    if not isinstance(given, Iterable):
        raise InputRejected(
            f"{spec.function} returned {type(given).__name__}, and nothing to iterate over",
            hint="Write it as a generator: `yield rows, cursor`.",
        )
    return write(_frames(spec.function, given), spec.cursor, out)


def _frames(function: str, given: Iterable[Any]) -> Iterator[tuple[pl.DataFrame, Any]]:
    for pair in given:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise InputRejected(
                f"{function} yielded {type(pair).__name__}, not a pair", hint="Write `yield rows, cursor`."
            )
        rows, cursor = pair
        if isinstance(rows, list):
            yield pl.DataFrame(rows, infer_schema_length=None), cursor
        else:
            yield as_lazy(rows, function).collect(), cursor


def write(pairs: Iterable[tuple[pl.DataFrame, Any]], cursor: Any, out: Path) -> FetchReport:
    """Each frame is a file; the cursor is the one behind the last of them."""
    files: list[str] = []
    rows, more = 0, False
    for table, behind in pairs:
        cursor = plain(behind)
        if table.height:
            files.append(f"{len(files)}.parquet")
            save(table, out / files[-1])
            rows += table.height
        if rows >= MOST_ROWS:
            more = True
            break
    return FetchReport(rows, tuple(files), cursor, more)


def plain(cursor: Any) -> Any:
    """A cursor as records can hold it; a time is text from then on."""
    if isinstance(cursor, datetime | date):
        return cursor.isoformat()
    if cursor is None or isinstance(cursor, str | int | float | bool):
        return cursor
    if isinstance(cursor, dict | list):
        return cursor
    raise InputRejected(
        f"a cursor of type {type(cursor).__name__} cannot be kept",
        hint="Use a number, a text, a time, or JSON of them.",
    )


def main(argv: list[str]) -> int:
    return process.run(argv, FetchSpec, lambda spec, out: process.write_json(out / "fetch.json", fetch(spec, out)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
