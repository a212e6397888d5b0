"""Labels against a version under rollout: worse than the earlier one's record, or than its own holdout without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conveyor.domain.monitor import Quality
from conveyor.domain.project import MonitorConfig
from conveyor.domain.verified import falls_short

CONFIG = MonitorConfig(decay=0.1)
GOOD = Quality("roc_auc", 400, 100, 0.85, 0.80, 0.90, 0.95, "p/m", 1)
BAD = replace(GOOD, value=0.60, low=0.54, high=0.66, version=2)


@pytest.mark.parametrize(
    ("new", "live", "expected", "said"),
    [
        (BAD, GOOD, 0.85, "version 1 had 0.8500"),
        (BAD, replace(BAD, version=1), 0.85, ""),  # both fell: the world changed
        (BAD, None, 0.85, "decayed by more than 10%"),
        (BAD, None, 0.62, ""),
        (BAD, replace(GOOD, positives=3), 0.62, ""),  # the earlier one's labels are too few: no record
        (replace(BAD, positives=3), GOOD, 0.85, ""),
        (replace(GOOD, value=0.79, low=0.78, high=0.795, version=2), GOOD, 0.85, ""),  # worse, by less than `decay`
        (GOOD, BAD, 0.85, ""),
        (replace(BAD, metric="log_loss"), replace(GOOD, metric="log_loss"), 0.3, ""),  # lower is better
        (replace(GOOD, metric="log_loss", version=2), replace(BAD, metric="log_loss"), 0.3, "log_loss is 0.8500"),
    ],
)
def test_labels_decide_where_they_say_enough(new: Quality, live: Quality | None, expected: float, said: str) -> None:
    found = falls_short(new, live, expected, CONFIG)
    assert said in found
    assert bool(found) == bool(said)
