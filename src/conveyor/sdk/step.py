"""`python -m conveyor.sdk.step SPEC.json OUT`: run a preprocessing function, keep the frame that it returns."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.domain.step import StepReport, StepSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions, inputs, process
from conveyor.sdk.run import Run
from conveyor.sdk.schema import describe

OUTPUT = "output.parquet"


def build(spec: StepSpec, out: Path) -> StepReport:
    """Writes `OUT/output.parquet`, whatever type of frame the function returned; of a dict, `OUT/NAME.parquet` each.

    A function that makes its outs itself returns None, or a dict of figures.
    """
    frames = {one.name: inputs.given(one) for one in spec.inputs}
    run = Run()
    result = functions.call(spec.function, frames, spec.params, scratch=out / ".inputs", run=run)
    if result is None or figures(result):
        for name, value in (result or {}).items():
            run.log_metric(name, value)
        return StepReport(0, 0, {}, run.metrics)
    named = {f"{name}.parquet": each for name, each in result.items()} if isinstance(result, dict) else None
    reports = [write(as_lazy(each, spec.function), out / name) for name, each in (named or {OUTPUT: result}).items()]
    return replace(
        reports[0], rows=sum(r.rows for r in reports), bytes=sum(r.bytes for r in reports), metrics=run.metrics
    )


def figures(result: Any) -> bool:
    return isinstance(result, dict) and all(isinstance(value, int | float) for value in result.values())


def write(frame: pl.LazyFrame, path: Path) -> StepReport:
    temporary = path.with_name(f".{path.name}")
    frame.sink_parquet(temporary, compression="zstd", statistics=True)
    temporary.rename(path)
    written = pl.scan_parquet(path)
    rows = int(written.select(pl.len()).collect().item())
    return StepReport(rows, path.stat().st_size, describe(written.collect_schema()))


def as_lazy(result: Any, function: str) -> pl.LazyFrame:
    if isinstance(result, pl.LazyFrame):
        return result
    if isinstance(result, pl.DataFrame):
        return result.lazy()
    if isinstance(result, Path):
        return pl.scan_parquet(result)
    kind = f"{type(result).__module__.partition('.')[0]}.{type(result).__name__}"
    if kind == "pandas.DataFrame":
        return pl.from_pandas(result).lazy()
    if kind == "pyarrow.Table":
        made = pl.from_arrow(result)
        return (made if isinstance(made, pl.DataFrame) else made.to_frame()).lazy()
    raise InputRejected(
        f"{function} returned {kind}, not a frame", hint="Return a polars, pandas or pyarrow table, or a Parquet path."
    )


def main(argv: list[str]) -> int:
    return process.run(argv, StepSpec, lambda spec, out: process.write_json(out / "step.json", build(spec, out)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
