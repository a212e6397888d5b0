"""`python -m conveyor.sdk.evaluate SPEC.json OUT`: candidate and live version on the same holdout, in figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from conveyor.domain import statistics, wire
from conveyor.domain.evaluation import Comparison, Evaluation
from conveyor.domain.form import FILES
from conveyor.domain.measures import paired
from conveyor.domain.measures.calibration import calibration
from conveyor.domain.metric import METRICS
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import EvaluateSpec, LiveModel, TrainingReport
from conveyor.errors import InputRejected, Refused
from conveyor.sdk import behaviour, evidence, process, table
from conveyor.sdk.forms.scorer import Scorer, latency_p99_ms, score
from conveyor.sdk.forms.table import open_model

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def evaluate(spec: EvaluateSpec) -> Evaluation:
    """Everything the gates read. The candidate is scored from its file, as it will be served."""
    if spec.metric not in METRICS:
        raise InputRejected(f"unknown metric {spec.metric}", hint=f"Use one of {', '.join(METRICS)}.")
    holdout = pl.read_parquet(spec.holdout)
    training = wire.from_json(Path(spec.training).read_bytes(), TrainingReport)
    truth = holdout["__label__"].cast(pl.Float64).to_numpy()
    folder = Path(spec.candidate)
    manifest = wire.from_json((folder / "model.json").read_bytes(), ModelManifest)
    model = open_model(manifest, folder / FILES[manifest.form], spec.trusted)
    rows = table.matrix(holdout, manifest.signature.features)
    scores = score(model, rows, manifest.signature.score).astype(np.float64)
    classification = METRICS[spec.metric].classification
    other, not_compared = scores_of_live(spec, holdout)
    comparison = None
    if spec.live is not None and other is not None:
        comparison = compare(spec, holdout, truth, scores, other, spec.live.version)
    gates = spec.gates
    return Evaluation(
        metric=spec.metric,
        value=statistics.compute(spec.metric, truth, scores),
        rows=len(truth),
        positives=int((truth == 1).sum()) if classification else 0,
        metrics=all_metrics(truth, scores, classification)
        | evidence.further_metrics(spec.metrics, holdout, truth, scores),
        latency_p99_ms=latency_p99_ms(model, rows, spec.latency_calls),
        single_feature_auc=single_feature_auc(truth, rows, manifest.signature.features) if classification else {},
        parity_max_abs_difference=training.parity.max_abs_difference,
        nonfinite_outputs=int((~np.isfinite(scores)).sum()),
        comparison=comparison,
        baseline=against_baseline(spec, holdout, truth, scores),
        slices=by_slice(spec, holdout, truth, scores),
        not_compared=not_compared,
        calibration=calibration(truth, scores, spec.seed) if gates.calibration else None,
        fairness=evidence.fairness_of(spec, holdout, truth, scores),
        slice_figures=evidence.slice_figures(spec, holdout, truth, scores, other) if gates.slices else (),
        found_slices=evidence.search_slices(spec, manifest.signature.features, holdout, truth, scores, other),
        behaviour=behaviour.run(gates.behaviour, predictor(model, manifest), holdout) if gates.behaviour else (),
        twice_max_abs_difference=training.twice_max_abs_difference,
        unlabelled=training.holdout.unlabelled,
    )


def predictor(model: Scorer, manifest: ModelManifest) -> behaviour.Predict:
    """Scores of any rows with the features, by the form that will be served."""

    def predict(rows: pl.DataFrame) -> Floats:
        signature = manifest.signature
        return score(model, table.matrix(rows, signature.features), signature.score).astype(np.float64)

    return predict


def all_metrics(truth: Floats, scores: Floats, classification: bool) -> dict[str, float]:
    """Every metric of this kind of task that is defined on these rows."""
    found = {
        metric.name: statistics.compute(metric.name, truth, scores)
        for metric in METRICS.values()
        if metric.classification == classification
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def compare(
    spec: EvaluateSpec, holdout: pl.DataFrame, truth: Floats, scores: Floats, other: Floats, version: int
) -> Comparison:
    found = paired.difference(
        spec.metric,
        truth,
        scores,
        other,
        resamples=spec.resamples,
        confidence=spec.confidence,
        seed=spec.seed,
        groups=evidence.codes(holdout, spec.group) if spec.group else None,
    )
    return Comparison(
        live_version=version,
        live=statistics.compute(spec.metric, truth, other),
        candidate=statistics.compute(spec.metric, truth, scores),
        difference=found.point,
        low=found.low,
        high=found.high,
        confidence=spec.confidence,
        resamples=found.resamples,
        method=found.method,
        groups=found.groups,
    )


def scores_of_live(spec: EvaluateSpec, holdout: pl.DataFrame) -> tuple[Floats | None, str]:
    """Live's scores, or why there are none although a version is live: it needs what the holdout does not hold."""
    if spec.live is None:
        return None, ""
    live = wire.from_json(Path(spec.live.manifest).read_bytes(), ModelManifest)
    lacking = [name for name in live.signature.features if name not in holdout.columns]
    if lacking:
        return None, f"version {spec.live.version} needs {', '.join(lacking)}, which the features no longer give"
    try:
        return score_live(spec.live, live, holdout, spec.trusted), ""
    except Refused as error:
        return None, f"version {spec.live.version} cannot be scored here: {error.message}"


def score_live(live: LiveModel, manifest: ModelManifest, holdout: pl.DataFrame, trusted: tuple[str, ...]) -> Floats:
    rows = table.matrix(holdout, manifest.signature.features)
    return score(open_model(manifest, Path(live.file), trusted), rows, manifest.signature.score).astype(np.float64)


def against_baseline(spec: EvaluateSpec, holdout: pl.DataFrame, truth: Floats, scores: Floats) -> Comparison | None:
    if "__baseline__" not in holdout.columns:
        return None
    return compare(spec, holdout, truth, scores, holdout["__baseline__"].to_numpy(), 0)


def single_feature_auc(truth: Floats, rows: npt.NDArray[np.float32], features: tuple[str, ...]) -> dict[str, float]:
    """How well each feature alone ranks the label, either way round; rows without a value are left out."""
    found = {}
    for index, name in enumerate(features):
        column = rows[:, index].astype(np.float64)
        there = np.isfinite(column)
        value = statistics.roc_auc(truth[there], column[there])
        if np.isfinite(value):
            found[name] = max(value, 1.0 - value)
    return found


def by_slice(spec: EvaluateSpec, holdout: pl.DataFrame, truth: Floats, scores: Floats) -> dict[str, dict[str, float]]:
    """slice column -> value -> metric; values on which the metric is undefined (no positive) are left out."""
    found: dict[str, dict[str, float]] = {}
    for name in spec.slices:
        values = holdout[name].cast(pl.String).fill_null("null")
        found[name] = {}
        for value in sorted(values.unique().to_list()):
            mask = (values == value).to_numpy()
            figure = statistics.compute(spec.metric, truth[mask], scores[mask])
            if np.isfinite(figure):
                found[name][value] = figure
    return found


def main(argv: list[str]) -> int:
    return process.run(
        argv, EvaluateSpec, lambda spec, out: process.write_json(out / "evaluation.json", evaluate(spec))
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
