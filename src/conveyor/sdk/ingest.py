"""`python -m conveyor.sdk.ingest SPEC.json OUT`: read files, check them, part good rows from bad."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from conveyor.domain.dataset import IngestedFile, IngestReport
from conveyor.domain.step import IngestFile, IngestSpec, InputSpec
from conveyor.errors import InputRejected
from conveyor.sdk import contracts, erased, inputs, process, reading
from conveyor.sdk.conform import conform
from conveyor.sdk.modes import finish
from conveyor.sdk.parts import ends, save
from conveyor.sdk.schema import describe


def ingest(spec: IngestSpec, out: Path) -> IngestReport:
    """One file after another, so that memory is bounded by the largest. A refused file does not stop the others.

    The first accepted file of a new dataset sets the schema for those that follow.
    """
    schema: Mapping[str, str] | None = spec.schema
    done: list[IngestedFile] = []
    for index, file in enumerate(spec.files):
        try:
            text = not reading.typed(file.name)
            table = reading.read(file, schema, spec.data.limits, out.parent / f".{out.name}-scratch")
            table = conform(table, file.name, spec.data, schema, text=text)
            done.append(part(table, file, index, spec, out))
        except InputRejected as error:
            done.append(IngestedFile(name=file.name, error=error.message, hint=error.hint))
            continue
        if schema is None and done[-1].rows:
            schema = describe(table.schema)
    return replace(finish(spec, done, dict(schema or {}), out), erased=spec.erased)


def part(table: pl.DataFrame, file: IngestFile, index: int, spec: IngestSpec, out: Path) -> IngestedFile:
    """Writes `<index>.parquet` (good rows by event time) and `<index>.quarantine.parquet` (bad rows, why)."""
    data = spec.data
    demands = replace(data, rules={}, contract=None) if file.force else data
    bad = pl.concat([contracts.failures(table, file.name, demands), erased.rows(table, spec.erased)])
    good = table
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
        save(good, out / f"{index}.parquet")
    first, last = ends(good, data.time)
    return IngestedFile(
        name=file.name,
        rows=good.height,
        quarantined=table.height - good.height,
        reasons=dict(bad.group_by("__rule__").len().sort("__rule__").rows()),
        first=first,
        last=last,
        output=f"{index}.parquet" if good.height else None,
        quarantine=f"{index}.quarantine.parquet" if bad.height else None,
        late=late(good, spec),
    )


def late(good: pl.DataFrame, spec: IngestSpec) -> int:
    """Rows older than what was known before; they are taken like the others."""
    if spec.data.time is None or spec.watermark is None or spec.data.mode == "replace":
        return 0
    about = InputSpec(spec.data.name, (), time=spec.data.time)
    at = inputs.event_time(about, good.schema)
    return int(good.select((at < inputs.moment(spec.watermark, inputs.unit_of(about, good.schema))).sum()).item())


def bounded(spec: IngestSpec, out: Path) -> None:
    """In a process whose memory has an end: a file that needs more ends this process, and nothing else."""
    most = spec.data.limits.memory_mb * 2**20
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        process.write_json(out / "report.json", ingest(spec, out))
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
        shutil.rmtree(out.parent / f".{out.name}-scratch", ignore_errors=True)


def main(argv: list[str]) -> int:
    return process.run(argv, IngestSpec, bounded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
