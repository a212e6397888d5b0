"""What the evaluation of a candidate measures: all that the gates read. Figures only; `gates/` decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


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
class Calibration:
    """See `measures.calibration`: `chance` is what a calibrated model's `ece` stays under, 95 times of 100."""

    ece: float
    chance: float
    brier: float
    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """Rates by group, of those with enough rows; the largest gap between two, and its interval."""

    column: str
    metric: str
    rates: dict[str, float]
    rows: dict[str, int]
    gap: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """A declared slice: the metric there, candidate less live, and the standard error of each."""

    name: str
    rows: int
    positives: int
    value: float | None
    error: float | None
    difference: float | None = None
    difference_error: float | None = None


@dataclass(frozen=True, slots=True)
class FoundSlice:
    """A slice that a search found: mean losses on rows that the search has not seen, and the adjusted p-value."""

    name: str
    rows: int
    candidate: float
    live: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A behavioural test of the user's: rows tried, rows that broke it, and by how much the worst did."""

    name: str
    rows: int
    failures: int
    worst: float


@dataclass(frozen=True, slots=True)
class Served:
    """What a version costs in the model server: requests of one row, peak memory, bytes of its artifact.

    And whether it gives there what it gave at training: `apart` is the largest |served - trained| / max(1, |trained|)
    over the logged rows that it was asked for, None where the server gave what is no number.
    """

    latency_p50_ms: float
    latency_p99_ms: float
    memory_mb: float
    size_mb: float
    calls: int
    logged: int = 0  # rows of the holdout that were asked for
    apart: float | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """A training as of an earlier time: trained on (after, trained_until], judged on rows up to `until`.

    No value: `why` says what was missing.
    """

    trained_until: datetime
    after: datetime | None
    until: datetime
    training_rows: int
    rows: int
    value: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Backtest:
    metric: str
    folds: tuple[Fold, ...]


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
    latency_p99_ms: float | None  # of scoring one row, without a server
    single_feature_auc: dict[str, float]
    parity_max_abs_difference: float | None
    nonfinite_outputs: int
    comparison: Comparison | None = None
    baseline: Comparison | None = None
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    not_compared: str = ""
    calibration: Calibration | None = None
    fairness: Fairness | None = None
    slice_figures: tuple[SliceFigures, ...] = ()
    found_slices: tuple[FoundSlice, ...] = ()
    behaviour: tuple[Behaviour, ...] = ()
    twice_max_abs_difference: float | None = None
    unlabelled: int = 0  # rows in the holdout's time that have no label
    backtest: Backtest | None = None
    served: Served | None = None
