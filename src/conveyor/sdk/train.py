"""`python -m conveyor.sdk.train SPEC.json OUT`: slice by event time, train, convert, compare."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from conveyor.domain import statistics, wire
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.metric import METRICS
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import InputSpec, TrainingReport, TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import functions, groups, inputs, process, slicing, table
from conveyor.sdk.baseline import baseline_scores
from conveyor.sdk.convert import convert, positive_of
from conveyor.sdk.handlers.handler import Conversion, Handler
from conveyor.sdk.handlers.table import handler_for
from conveyor.sdk.manifest import manifest_of
from conveyor.sdk.run import REPORTS, Run, enter
from conveyor.sdk.tracker import Tracker

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of the first input, in order of event time, and the ranges that they were cut by."""

    source: InputSpec
    training: pl.DataFrame
    holdout: pl.DataFrame
    training_range: slicing.Range
    holdout_range: slicing.Range
    unlabelled: tuple[int, int] = (0, 0)  # rows of the two ranges that have no label


def train(spec: TrainSpec, out: Path) -> TrainingReport:
    """Writes the model in its form, model.json and holdout.parquet into `out`."""
    if spec.metric not in METRICS:
        raise InputRejected(f"unknown metric {spec.metric}", hint=f"Use one of {', '.join(METRICS)}.")
    rows, run = read(spec), Run(reports=out / REPORTS)
    counted = [
        slicing.measure(rows.training, spec, rows.training_range, rows.unlabelled[0]),
        slicing.measure(rows.holdout, spec, rows.holdout_range, rows.unlabelled[1]),
    ]
    classes = rows.training[spec.label].n_unique() if METRICS[spec.metric].classification else None
    slicing.refuse_empty(counted[0], counted[1], classes)
    began = time.perf_counter()
    estimator = tracked_fit(spec, rows, out, run)
    train_seconds = time.perf_counter() - began
    handler = handler_for(estimator, spec.function)
    features = features_of(spec, handler, estimator, rows.training.schema)
    holdout = table.numbers(rows.holdout, features)
    labels = handler.classes(estimator)
    positive = positive_of(labels, spec.positive)
    given = handler.predict(estimator, holdout, features)
    native = given[:, min(positive, given.shape[1] - 1)]
    matrix = table.matrix(rows.holdout, features)
    began = time.perf_counter()
    made = convert(handler, estimator, features, matrix, given, spec.parity_tolerance, labels, positive, spec.trusted)
    convert_seconds = time.perf_counter() - began
    truth = slicing.truth(rows.holdout, spec).cast(pl.Float64)
    manifest = manifest_of(spec, handler, estimator, features, labels, rows.training, holdout, truth, made)
    simple = baseline_scores(spec, features, rows.training, rows.holdout)
    keep(out, made.conversion, manifest, holdout_frame(spec, features, rows.holdout, native, simple))
    return TrainingReport(
        features=features,
        training=counted[0],
        holdout=counted[1],
        parity=made.parity,
        framework=handler.framework,
        conversion=made.conversion.how,
        metric=spec.metric,
        value=judge(spec, rows.holdout, native),
        baseline=None if simple is None else judge(spec, rows.holdout, simple),
        train_seconds=train_seconds,
        convert_seconds=convert_seconds,
        metrics=run.metrics,
        baseline_name=spec.baseline,
        form=made.conversion.form,
        passed_over=made.conversion.passed_over,
        twice_max_abs_difference=twice(spec, rows, out / ".inputs", features, given) if spec.twice else None,
    )


def twice(spec: TrainSpec, rows: Rows, scratch: Path, features: tuple[str, ...], first: Scores) -> float:
    """The largest difference of an output on the holdout between this training and a second one, the same in all."""
    again = fit(spec, rows, scratch, Run())
    second = handler_for(again, spec.function).predict(again, table.numbers(rows.holdout, features), features)
    return float(abs(second - first).max())


def read(spec: TrainSpec) -> Rows:
    """The labelled rows of the two ranges; `spec.known_until` bounds labels even if the input's own does not."""
    if not spec.inputs:
        raise InputRejected(f"model {spec.model} has no input", hint='Name one: inputs = ["step.features"].')
    first = spec.inputs[0]
    known = min(filter(None, (first.known_until, spec.known_until)))
    source = replace(first, time=spec.time, label=spec.label, known_until=known)
    whole = inputs.load(source)
    frame = slicing.labelled(whole, spec)
    training, holdout = slicing.cut(spec, slicing.first_time(frame, source))
    rounded = table.rounded(frame, spec.features, (spec.label, spec.key, spec.time))
    if rounded.collect_schema()[spec.label] == pl.Boolean:
        rounded = rounded.with_columns(pl.col(spec.label).cast(pl.Int8))
    parts = [
        slicing.within(rounded, source, over).sort(spec.time, maintain_order=True).collect(engine="streaming")
        for over in (training, holdout)
    ]
    trained, held = groups.split(spec, parts[0], parts[1])
    missing = [slicing.unlabelled(whole, source, spec.label, over) for over in (training, holdout)]
    return Rows(source, trained, held, training, holdout, (missing[0], missing[1]))


def tracked_fit(spec: TrainSpec, rows: Rows, out: Path, run: Run) -> Any:
    """As `fit`; what the user's code logs meanwhile goes to a file in `out`."""
    run.tracker = Tracker(out)
    enter(run)
    try:
        return fit(spec, rows, out / ".inputs", run)
    finally:
        enter(Run())
        run.tracker.close()


def fit(spec: TrainSpec, rows: Rows, scratch: Path, run: Run) -> Any:
    """Call the user's function with the training rows; further inputs and their labels end where training ends."""
    frames: dict[str, pl.LazyFrame | Path] = {rows.source.name: rows.training.lazy()}
    end = rows.training_range.until
    for other in spec.inputs[1:]:
        if other.folder:
            frames[other.name] = Path(other.folder)
            continue
        known = min(filter(None, (other.known_until, end)))
        frame = inputs.load(replace(other, known_until=known))
        if other.time is not None:
            schema = frame.collect_schema()
            past = inputs.event_time(other, schema) <= inputs.moment(end, inputs.unit_of(other, schema))
            frame = frame.filter(past)
        frames[other.name] = frame
    seed_all(spec.seed)
    return functions.call(spec.function, frames, spec.params, scratch=scratch, run=run, seed=spec.seed)


def seed_all(seed: int) -> None:
    """The global generators, for user code that draws without naming one."""
    random.seed(seed)
    try:
        import numpy as np
    except ModuleNotFoundError:
        return
    np.random.seed(seed % 2**32)


def features_of(
    spec: TrainSpec, handler: Handler, estimator: Any, schema: Mapping[str, pl.DataType]
) -> tuple[str, ...]:
    remembered = handler.features(estimator)
    if spec.features and remembered and tuple(spec.features) != remembered:
        raise InputRejected(
            f"conveyor.toml names the features {', '.join(spec.features)}; "
            f"the estimator was fitted on {', '.join(remembered)}",
            hint="Fit on exactly the declared features in that order, or leave `features` out of conveyor.toml.",
        )
    features = tuple(spec.features) or remembered
    if not features:
        raise InputRejected(
            f"{spec.function} returned an estimator that does not know its feature names",
            hint="Fit it on a pandas or polars DataFrame, or list `features` in conveyor.toml.",
        )
    table.check_features(pl.Schema(schema), features, spec.label)
    return features


def holdout_frame(
    spec: TrainSpec, features: tuple[str, ...], rows: pl.DataFrame, native: Scores, simple: Scores | None
) -> pl.DataFrame:
    """Features as float32, the input's other columns (slices; features that the live version may have and this one has
    not), and what evaluation reads under names of its own."""
    for name in spec.slices:
        if name not in rows.columns:
            raise InputRejected(
                f"slice {name} is not a column of the training input; it has {', '.join(rows.columns)}",
                hint="Keep the column in the step, or take it out of `slices`.",
            )
    truth = slicing.truth(rows, spec).cast(pl.Int8 if METRICS[spec.metric].classification else pl.Float64)
    columns = [pl.col(name).cast(pl.Float32) for name in features]
    columns += [pl.col(name) for name in rows.columns if name not in (*features, spec.label)]
    columns += [pl.lit(truth).alias("__label__"), pl.col(spec.time).alias("__time__")]
    columns += [pl.col(spec.key).alias("__key__")] if spec.key and spec.key in rows.columns else []
    frame = rows.select(columns).with_columns(pl.Series("__native__", native, pl.Float64))
    return frame if simple is None else frame.with_columns(pl.Series("__baseline__", simple, pl.Float64))


def judge(spec: TrainSpec, rows: pl.DataFrame, scores: Scores) -> float | None:
    value = statistics.compute(spec.metric, slicing.truth(rows, spec).cast(pl.Float64).to_numpy(), scores)
    return value if math.isfinite(value) else None


def keep(out: Path, conversion: Conversion, manifest: ModelManifest, holdout: pl.DataFrame) -> None:
    process.write(out / FILES[conversion.form], conversion.raw)
    process.write(out / MANIFEST, wire.to_json(manifest))
    temporary = out / ".holdout.parquet"
    holdout.write_parquet(temporary, compression="zstd")
    temporary.rename(out / "holdout.parquet")


def main(argv: list[str]) -> int:
    return process.run(argv, TrainSpec, lambda spec, out: process.write_json(out / "training.json", train(spec, out)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
