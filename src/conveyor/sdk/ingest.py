"""`python -m conveyor.sdk.ingest SPEC.json OUT`: read files, check them, part good rows from bad."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from conveyor.domain.dataset import IngestedFile, IngestReport, utc
from conveyor.domain.step import IngestFile, IngestSpec
from conveyor.errors import InputRejected
from conveyor.sdk import contracts, erased, process, reading
from conveyor.sdk.conform import conform
from conveyor.sdk.describe import profile_files
from conveyor.sdk.schema import describe


def ingest(spec: IngestSpec, out: Path) -> IngestReport:
    """One file after another, so that memory is bounded by the largest. A refused file does not stop the others.

    The first accepted file of a new dataset sets the schema for those that follow.
    """
    schema: Mapping[str, str] | None = spec.schema
    done: list[IngestedFile] = []
    for index, file in enumerate(spec.files):
        try:
            table = conform(
                reading.read(file), file.name, spec.data, schema, text=reading.format_of(file.name) != "parquet"
            )
            done.append(part(table, file, index, spec, out))
        except InputRejected as error:
            done.append(IngestedFile(name=file.name, error=error.message, hint=error.hint))
            continue
        if schema is None and done[-1].rows:
            schema = describe(table.schema)
    accepted = [out / one.output for one in done if one.output]
    return IngestReport(tuple(done), dict(schema or {}), profile_files(accepted) if accepted else None, spec.erased)


def part(table: pl.DataFrame, file: IngestFile, index: int, spec: IngestSpec, out: Path) -> IngestedFile:
    """Writes `<index>.parquet` (good rows by event time) and `<index>.quarantine.parquet` (bad rows, why)."""
    data = spec.data
    demands = replace(data, rules={}, contract=None) if file.force else data
    bad = pl.concat([contracts.failures(table, file.name, demands), erased.rows(table, spec.erased)])
    good, first, last = table, None, None
    if bad.height:
        grouped = bad.group_by("__row__").agg(
            pl.col("__rule__").unique(maintain_order=True).str.join("; "), pl.col("__reason__").str.join("; ")
        )
        numbered = table.with_row_index("__row__")
        good = numbered.join(grouped, on="__row__", how="anti").drop("__row__")
        kept = numbered.join(grouped, on="__row__", how="inner").sort("__row__")
        save(kept, out / f"{index}.quarantine.parquet")
    if good.height:
        if data.time is not None:
            good = good.sort(data.time, maintain_order=True)
            first, last = (utc(at) for at in times(good[data.time]))
        save(good, out / f"{index}.parquet")
    return IngestedFile(
        name=file.name,
        rows=good.height,
        quarantined=table.height - good.height,
        reasons=dict(bad.group_by("__rule__").len().sort("__rule__").rows()),
        first=first,
        last=last,
        output=f"{index}.parquet" if good.height else None,
        quarantine=f"{index}.quarantine.parquet" if bad.height else None,
    )


def times(column: pl.Series) -> tuple[datetime, datetime]:
    as_time = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column.dt.cast_time_unit("us")
    return as_time[0], as_time[-1]


def save(table: pl.DataFrame, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    table.write_parquet(temporary, compression="zstd", statistics=True)
    temporary.rename(path)


def main(argv: list[str]) -> int:
    return process.run(argv, IngestSpec, lambda spec, out: process.write_json(out / "report.json", ingest(spec, out)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
