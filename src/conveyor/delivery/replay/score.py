"""How well what was served did, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from conveyor.delivery.replay.history import Floats, History
from conveyor.domain.metric import METRICS
from conveyor.domain.replay import Block
from conveyor.domain.statistics import compute


def blocks(
    history: History,
    scores: Floats,
    served: npt.NDArray[np.int32],
    metric: str,
    length: timedelta,
    start: datetime,
) -> tuple[Block, ...]:
    return tuple(_each(history, scores, served, metric, length, start))


def _each(
    history: History,
    scores: Floats,
    served: npt.NDArray[np.int32],
    metric: str,
    length: timedelta,
    after: datetime,
) -> Iterator[Block]:
    """Labels that had not come by then count too: it is what was so, not what was known."""
    while (begin := history.place(after)) < len(history.times):
        until = after + length
        end = history.place(until)
        rows = np.flatnonzero(np.isfinite(scores[begin:end]) & np.isfinite(history.labels[begin:end])) + begin
        if len(rows) and len(rows) >= (end - begin) / 2:  # one that was hardly served says nothing of the policy
            truth = history.labels[rows]
            versions = tuple(int(v) for v in np.unique(served[rows]))
            yield Block(
                after, until, len(rows), int((truth == 1).sum()), metrics(metric, truth, scores[rows]), versions
            )
        after = until


def metrics(metric: str, truth: Floats, scores: Floats) -> dict[str, float]:
    """Every metric of this kind of task that is defined on these rows."""
    if not len(truth):
        return {}
    kind = METRICS[metric].classification
    found = {m.name: compute(m.name, truth, scores) for m in METRICS.values() if m.classification == kind}
    return {name: value for name, value in found.items() if np.isfinite(value)}
