"""Whether estimates say that quality fell, before labels do. Pure.

The estimate must fall by more than it may be wrong: the better end of its interval, moved by the mean error of the past
estimates of this version, is worse than the bound; and that in WINDOWS windows one after the other.
"""

from __future__ import annotations

import math
from dataclasses import replace

from conveyor.domain.estimate import Expectation
from conveyor.domain.metric import METRICS
from conveyor.domain.monitor import Signal, SignalKind, Window
from conveyor.domain.project import MonitorConfig

WINDOWS = 2
REMEMBERED = 10
"""So many of the newest comparisons with the truth are kept."""


def compared(known: Expectation, error: float) -> Expectation:
    """An estimate was compared with its truth."""
    return replace(known, errors=(*known.errors, error)[-REMEMBERED:])


def judge(
    known: Expectation, window: Window, reference: float, config: MonitorConfig
) -> tuple[Expectation, Signal | None]:
    """A window that was closed, without a data fault: what is known now, and the signal if there is one."""
    given = window.estimate
    metric = METRICS.get(given.metric) if given else None
    if given is None or metric is None or not math.isfinite(reference):
        return known, None
    slack = config.decay * abs(reference)
    bound = reference - metric.sign * slack
    best = given.high if metric.higher_is_better else given.low
    if metric.sign * best + known.uncertainty >= metric.sign * bound:
        return replace(known, low=0), None
    known = replace(known, low=known.low + 1)
    if known.low < WINDOWS:
        return known, None
    message = (
        f"{given.metric} of {window.model} version {window.version} is estimated at {given.value:.4f} in window "
        f"{window.number} ({given.confidence:.0%} interval {given.low:.4f} to {given.high:.4f}), against "
        f"{reference:.4f} on its holdout, {known.low} windows in a row: it would have decayed by more than "
        f"{config.decay:.0%}, also if the estimate is as far off as past ones were ({known.uncertainty:.4f}). "
        "Likely it is asked about rows that it is less sure of; labels will tell."
    )
    figures = {"value": given.value, "low": given.low, "high": given.high, "reference": reference, "bound": bound}
    figures |= {"rows": float(window.rows), "past_error": known.uncertainty, "windows": float(known.low)}
    return known, Signal(SignalKind.ESTIMATED_DECAY, window.model, window.version, message, window.number, (), figures)
