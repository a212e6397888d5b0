"""What the evaluation of a candidate measures: all that the gates read. Figures only; `gates/` decides."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate minus live on the same rows: point, and the two-sided interval at `confidence`.

    As computed, not turned by the metric's direction; against a baseline `live` is the baseline and `live_version` 0.
    None: undefined, or unbounded (JSON has no NaN and no infinity).
    """

    live_version: int
    live: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    resamples: int  # 0 where the interval is a formula's
    method: str = "bootstrap"
    groups: int = 0  # that were drawn as wholes; 0: rows were drawn


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the gates read; written by the evaluation step. None: undefined on these rows.

    `not_compared` says why there is no `comparison` although a version is live, as a clause.
    """

    metric: str
    value: float | None
    rows: int
    positives: int
    metrics: dict[str, float]
    latency_p99_ms: float | None
    single_feature_auc: dict[str, float]
    parity_max_abs_difference: float | None
    nonfinite_outputs: int
    comparison: Comparison | None = None
    baseline: Comparison | None = None
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    not_compared: str = ""
