"""Whether labels say that a version which is being rolled out is worse than the one it takes over from. Pure."""

from __future__ import annotations

from conveyor.domain.metric import METRICS
from conveyor.domain.monitor import Quality, decay
from conveyor.domain.project import MonitorConfig


def falls_short(new: Quality, live: Quality | None, expected: float, config: MonitorConfig) -> str:
    """Why traffic goes back; empty while labels do not say so, or are too few.

    `live` is the earlier version's own record: where both fell, the world has changed, and going back mends nothing.
    Without one, the new version is held against what it was on its holdout (`expected`). Every look is at labels that
    no look before has seen, and asks for intervals that do not meet: by chance about 3 looks in 1,000 do so.
    """
    if not new.enough or new.value is None or new.low is None or new.high is None:
        return ""
    if live is None or not live.enough or live.value is None or live.low is None or live.high is None:
        found = decay(new, expected, config)
        return found.message if found else ""
    metric = METRICS.get(new.metric)
    higher_is_better = metric is None or metric.higher_is_better
    apart = new.high < live.low if higher_is_better else new.low > live.high
    if not apart or abs(live.value - new.value) <= config.decay * abs(live.value):
        return ""
    return (
        f"its {new.metric} is {new.value:.4f} on {new.rows:,} labelled predictions (interval {new.low:.4f} to "
        f"{new.high:.4f}); version {live.version} had {live.value:.4f} on {live.rows:,} ({live.low:.4f} to "
        f"{live.high:.4f})"
    )
