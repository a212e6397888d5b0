"""What monitoring concludes from a window of observations. Pure: figures in, signals out.

A signal is raised by effect size, never by a p-value alone: with enough rows every difference is significant. What no
change at all would reach is no signal either: by the calendar (`FeatureShift.natural`), or by chance, however many
features are looked at (`MonitorConfig.false_alarms`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from conveyor.domain.drift import Distances, direction
from conveyor.domain.estimate import Estimate
from conveyor.domain.measures.multiple import benjamini_hochberg
from conveyor.domain.metric import METRICS
from conveyor.domain.project import MonitorConfig

NULL_SHARE = 0.01
"""So much more of a feature missing than in training is a data fault."""

CONSTANT_ROWS = 100
"""A feature is not called constant on fewer rows than this."""

MIN_EVIDENCE = 20
"""Labelled rows of the rarer class (rows, for a regression) below which quality is not judged."""


TOLD = 20
"""Features, the worst, of which a drift signal tells every distance."""


class SignalKind(StrEnum):
    DRIFT = "drift"
    DECAY = "decay"
    ESTIMATED_DECAY = "estimated_decay"
    DATA_FAULT = "data_fault"


@dataclass(frozen=True, slots=True)
class Signal:
    """`message` is a sentence with the likely cause; `features` are the ones to blame, the worst first."""

    kind: SignalKind
    model: str
    version: int
    message: str
    window: int | None = None
    features: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """One feature of a closed window against the training profile.

    `natural` is the PSI that unchanged traffic may reach in a window of this size; drift has to pass it too.
    Windows that an earlier Conveyor closed have the PSI alone.
    """

    psi: float
    natural: float
    mean: float
    reference_mean: float
    null_share: float
    reference_null_share: float
    constant: bool = False  # here, though not in training
    distances: Distances = field(default_factory=Distances)
    reference_std: float = 0.0

    def drifted(self, threshold: float) -> bool:
        return self.psi > max(threshold, self.natural)

    @property
    def direction(self) -> str:
        return direction(self.mean, self.reference_mean, self.reference_std)

    @property
    def missing(self) -> bool:
        return self.null_share > self.reference_null_share + NULL_SHARE


@dataclass(frozen=True, slots=True)
class Window:
    """A closed window over the predictions of one model version. `first`/`last` are wall time, `*_event` event time."""

    id: str
    model: str
    version: int
    number: int
    rows: int
    features: dict[str, FeatureShift]
    score: FeatureShift | None
    nonfinite: int  # scores that are NaN or infinite
    mean_score: float
    first: datetime | None = None
    last: datetime | None = None
    first_event: datetime | None = None
    last_event: datetime | None = None
    state: str = "closed"
    skew: dict[str, int] = field(default_factory=dict)  # rule of the contract -> rows that break it
    estimate: Estimate | None = None  # of the model's metric, before any label

    @property
    def psi(self) -> dict[str, float]:
        return {name: shift.psi for name, shift in self.features.items()}

    @property
    def score_psi(self) -> float:
        return self.score.psi if self.score else 0.0


@dataclass(frozen=True, slots=True)
class Quality:
    """A metric on predictions whose labels have come, with its bootstrap interval; None where the metric is undefined.

    `id` is the keeper's to choose. `estimate` is what was expected on these very rows before their labels came.
    """

    metric: str
    rows: int
    positives: int
    value: float | None
    low: float | None
    high: float | None
    confidence: float
    model: str = ""
    version: int = 0
    id: str = ""
    first: datetime | None = None  # event times
    last: datetime | None = None
    estimate: Estimate | None = None

    @property
    def error(self) -> float | None:
        """By how much the estimate was too high."""
        return self.estimate.value - self.value if self.estimate and self.value is not None else None

    @property
    def enough(self) -> bool:
        """Whether there is evidence to judge by."""
        metric = METRICS.get(self.metric)
        rarer = min(self.positives, self.rows - self.positives)
        return (rarer if metric is None or metric.classification else self.rows) >= MIN_EVIDENCE


def signals(window: Window, config: MonitorConfig) -> tuple[Signal, ...]:
    """Data faults and drift of a closed window; a faulty feature is not reported as drift as well."""
    faulty = _faulty(window, config)
    found = [_fault_signal(window, faulty)] if faulty else []
    features, score_differs = _significant(window, config.false_alarms)
    moved = [
        name
        for name, shift in sorted(window.features.items(), key=lambda item: (-item[1].psi, item[0]))
        if name in features and shift.drifted(config.psi) and name not in faulty
    ]
    score_moved = window.score is not None and score_differs and window.score.drifted(config.psi)
    if moved or (score_moved and not faulty):
        found.append(_drift_signal(window, config, tuple(moved), score_moved))
    return tuple(found)


def decay(quality: Quality, reference: float, config: MonitorConfig) -> Signal | None:
    """Quality fell when even the better end of its interval is worse than the reference by the share `config.decay`.

    `reference` is the version's own metric on its holdout. Too few labelled rows of the rarer class: None.
    """
    value, low, high = quality.value, quality.low, quality.high
    if not quality.enough or value is None or low is None or high is None or not math.isfinite(reference):
        return None
    metric = METRICS.get(quality.metric)
    higher_is_better = metric is None or metric.higher_is_better
    slack = config.decay * abs(reference)
    bound = reference - slack if higher_is_better else reference + slack
    if not (high < bound if higher_is_better else low > bound):
        return None
    message = (
        f"{quality.metric} of {quality.model} version {quality.version} is {value:.4f} on {quality.rows:,} "
        f"labelled predictions ({quality.confidence:.0%} interval {low:.4f} to {high:.4f}), against "
        f"{reference:.4f} on its holdout: it decayed by more than {config.decay:.0%}. "
        "Likely what it learned no longer holds; training on newer rows is the usual mend."
    )
    figures = {"value": value, "low": low, "high": high, "reference": reference, "bound": bound}
    figures |= {"rows": float(quality.rows), "positives": float(quality.positives)}
    return Signal(SignalKind.DECAY, quality.model, quality.version, message, None, (), figures)


def _significant(window: Window, level: float) -> tuple[frozenset[str], bool]:
    """Features that differ beyond chance, all tested together and the score with them; and whether the score does."""
    names = list(window.features)
    tested = [*window.features.values(), *([window.score] if window.score else [])]
    adjusted = benjamini_hochberg([shift.distances.p_value or 0.0 for shift in tested])
    found = frozenset(name for name, p in zip(names, adjusted, strict=False) if p <= level)
    return found, window.score is not None and adjusted[-1] <= level


def _faulty(window: Window, config: MonitorConfig) -> dict[str, str]:
    """Faulty features and what is wrong with each, as a clause; "score" for scores that are not finite."""
    faulty = {
        name: f"{name} is missing in {shift.null_share:.1%} of rows ({shift.reference_null_share:.1%} in training)"
        for name, shift in window.features.items()
        if shift.missing
    }
    for name, shift in window.features.items():
        stuck = shift.constant and window.rows >= CONSTANT_ROWS and shift.drifted(config.psi)
        if stuck and name not in faulty:
            faulty[name] = f"{name} is {shift.mean:g} in every row (mean {shift.reference_mean:g} in training)"
    for name, shift in window.features.items():
        if name not in faulty and (said := _unheard_of(name, shift)):
            faulty[name] = said
    for rule, rows in window.skew.items():
        name, _, kind = rule.rpartition(":")
        if rows > NULL_SHARE * window.rows and name not in faulty:
            faulty[name] = f"{name} breaks the contract's rule {kind} in {rows / window.rows:.1%} of rows"
    if window.nonfinite > NULL_SHARE * window.rows:
        faulty["score"] = f"{window.nonfinite:,} scores are NaN or infinite"
    elif window.score is not None and window.score.distances.extreme > NULL_SHARE:
        faulty["score"] = f"{window.score.distances.extreme:.1%} of scores are far beyond all that the holdout had"
    return faulty


def _unheard_of(name: str, shift: FeatureShift) -> str:
    """What a feature has that training never had: other values than its few, or numbers out of all proportion."""
    found = shift.distances
    if found.new > NULL_SHARE:
        return f"{name} has values in {found.new:.1%} of rows that training never had"
    if found.extreme > NULL_SHARE:
        return f"{name} is more than ten times its range in training away from it in {found.extreme:.1%} of rows"
    return ""


def _fault_signal(window: Window, faulty: dict[str, str]) -> Signal:
    message = (
        f"{_list(list(faulty.values()))} in {_where(window)}. Likely a source stopped, or the feature code changed: "
        "retraining would learn the fault, so mend the data first."
    )
    figures = {name: shift.null_share for name, shift in window.features.items() if name in faulty}
    figures |= {rule: rows / window.rows for rule, rows in window.skew.items() if rule.rpartition(":")[0] in faulty}
    figures |= {"nonfinite": float(window.nonfinite)} if "score" in faulty else {}
    return Signal(SignalKind.DATA_FAULT, window.model, window.version, message, window.number, tuple(faulty), figures)


def _drift_signal(window: Window, config: MonitorConfig, moved: tuple[str, ...], score_moved: bool) -> Signal:
    told = [_moved(name, window.features[name]) for name in moved]
    figures = {name: window.features[name].psi for name in moved}
    for name in moved[:TOLD]:
        figures |= _distances(name, window.features[name])
    if score_moved and window.score is not None:
        told.append(_moved("the score", window.score))
        figures["score"] = window.score.psi
        figures |= _distances("score", window.score)
    message = (
        f"{_list(told)} moved away from the training profile in {_where(window)}; the limit is {config.psi:g}. "
        f"{_cause(len(moved), len(window.features))}"
    )
    return Signal(SignalKind.DRIFT, window.model, window.version, message, window.number, moved, figures)


def _cause(moved: int, features: int) -> str:
    if moved == 0:
        return "Likely other combinations of feature values than in training, each feature alone being as before."
    if moved > 2 and 2 * moved > features:
        return "Likely a change upstream (a source, or the feature code), since most features moved together."
    return "Likely a change in the world or in the source of these features alone."


def _moved(name: str, shift: FeatureShift) -> str:
    where = f", {shift.direction}" if shift.direction else ""
    return f"{name} (PSI {shift.psi:.2f}{where}, mean {shift.mean:.4g} against {shift.reference_mean:.4g})"


def _distances(name: str, shift: FeatureShift) -> dict[str, float]:
    """Beside the PSI, under NAME:sd (how far the mean went), NAME:ks and so on; none in windows that have none."""
    found = shift.distances
    if found.p_value is None:
        return {}
    told = {"ks": found.ks, "js": found.jensen_shannon, "wasserstein": found.wasserstein, "p": found.p_value}
    if shift.reference_std > 0:
        told["sd"] = (shift.mean - shift.reference_mean) / shift.reference_std
    return {f"{name}:{what}": value for what, value in told.items()}


def _where(window: Window) -> str:
    return f"window {window.number} of {window.model} version {window.version} ({window.rows:,} rows)"


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
