"""The metrics by which models are judged: names, and which way is better. Light: `statistics.py` computes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """`classification` metrics read 0/1 labels, and their evidence is counted in rows of the rarer class."""

    name: str
    higher_is_better: bool
    classification: bool

    @property
    def sign(self) -> int:
        """Multiplies a difference so that positive is better."""
        return 1 if self.higher_is_better else -1


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("average_precision", higher_is_better=True, classification=True),
        Metric("roc_auc", higher_is_better=True, classification=True),
        Metric("log_loss", higher_is_better=False, classification=True),
        Metric("brier", higher_is_better=False, classification=True),
        Metric("accuracy", higher_is_better=True, classification=True),
        Metric("f1", higher_is_better=True, classification=True),
        Metric("rmse", higher_is_better=False, classification=False),
        Metric("mae", higher_is_better=False, classification=False),
        Metric("r2", higher_is_better=True, classification=False),
    )
}
