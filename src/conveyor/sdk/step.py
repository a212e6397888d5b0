"""`python -m conveyor.sdk.step SPEC.json OUT`: run a preprocessing function, keep the frame that it returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.domain.step import StepReport, StepSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions, inputs, process
from conveyor.sdk.run import Run
from conveyor.sdk.schema import describe


def build(spec: StepSpec, out: Path) -> StepReport:
    """Writes `OUT/output.parquet`, whatever type of frame the function returned."""
    frames = {one.name: inputs.load(one) for one in spec.inputs}
    run = Run()
    frame = as_lazy(functions.call(spec.function, frames, spec.params, scratch=out / ".inputs", run=run), spec.function)
    temporary, path = out / ".output.parquet", out / "output.parquet"
    frame.sink_parquet(temporary, compression="zstd", statistics=True)
    temporary.rename(path)
    written = pl.scan_parquet(path)
    rows = int(written.select(pl.len()).collect().item())
    return StepReport(rows, path.stat().st_size, describe(written.collect_schema()), run.metrics)


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
