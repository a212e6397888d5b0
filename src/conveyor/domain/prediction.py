"""One prediction, explained: what was asked, what was answered, by what, made of what, and what turned out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PredictionView:
    """`features` as the model saw them. `data`: dataset -> version that the model was trained on."""

    id: str
    key: str | None
    model: str  # project/model
    version: int
    release: int | None
    mark: str
    at: datetime
    time: datetime
    score: float | None
    features: dict[str, float | None]
    data: dict[str, int]
    commit: str
    trained: str  # why the version was trained
    label: str | None
    told: datetime | None  # the label's time
