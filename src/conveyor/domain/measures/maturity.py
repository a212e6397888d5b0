"""When labels can be believed: not before those of the slowest class have come. Pure.

Labels that are quicker for one class make the newest labelled rows nearly all of that class, so a figure over whatever
is labelled is biased. A cohort counts once it is so old that every class has nearly all of its labels.

How long a class takes is seen in delays, but a delay is only seen once it is over: of young predictions only quick ones
are. This truncation on the right is allowed for by the reverse-time product-limit estimate: among labels that had at
least `s` of time to come, the share that took just `s` is the chance that one that takes up to `s` takes all of it.
Source: Lagakos, Barraj, De Gruttola, "Nonparametric analysis of truncated survival data", Biometrika 75 (1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt

SHARE = 0.99
"""So much of the slowest class's labels must have come."""
FEWEST = 50
"""Labels of a class below which nothing is said of its delays."""
CLASSES = 20
"""More values than this are those of a regression, and one class."""

Floats = npt.NDArray[np.float64]


def quantile(delays: Floats, ages: Floats, share: float) -> float:
    """The delay within which `share` of the labels come, of labels with these delays that had `ages` of time to come.

    `delays` <= `ages`. The estimate is of labels that come within the greatest age.
    """
    found, counts = np.unique(delays, return_counts=True)
    # Y(s): labels with delay <= s <= age
    at_risk = np.searchsorted(np.sort(delays), found, side="right") - np.searchsorted(np.sort(ages), found, side="left")
    within = np.append(np.cumprod((1 - counts / np.maximum(at_risk, counts))[::-1])[::-1][1:], 1.0)  # F at each delay
    return float(found[int(np.argmax(within >= share))])


def mature_age(
    delays: Sequence[float] | Floats, ages: Sequence[float] | Floats, classes: Sequence[str], horizon: timedelta
) -> timedelta:
    """The age from which on a prediction's label can be relied on to have come, if it ever does; in seconds within.

    The horizon itself until there are labels that had all of it to come, and enough of each class.
    """
    most = horizon.total_seconds()
    waited, had, named = np.asarray(delays, np.float64), np.asarray(ages, np.float64), np.asarray(classes)
    within = waited <= np.minimum(had, most)
    waited, had, named = waited[within], had[within], named[within]
    if not waited.size or had.max() < most:
        return horizon
    kinds = np.unique(named)
    groups = [named == kind for kind in kinds] if len(kinds) <= CLASSES else [np.ones(len(named), bool)]
    if any(group.sum() < FEWEST for group in groups):
        return horizon
    slowest = max(quantile(waited[group], np.minimum(had[group], most), SHARE) for group in groups)
    return min(horizon, timedelta(seconds=slowest))
