"""Labels that are sent for predictions: the truth, by prediction id or by the key that the request gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

AHEAD = timedelta(minutes=5)
"""So far a label's time may lie ahead of the clock: the newest of a prediction counts, and none may for ever."""


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """What is known of a model's predictions. `pending` may still get their label, `never` are older than the horizon.

    `unknown`: labels of no prediction that is on record, which wait for one.
    """

    model: str
    predictions: int
    labelled: int
    pending: int
    never: int
    labels: int  # that came, with repeated and corrected ones
    unknown: int
    waiting: int  # requests and files of them that are part of no version yet
    horizon: timedelta


@dataclass(frozen=True, slots=True)
class LabelView:
    """One label that came. `id` or `key` is None where the other names the prediction."""

    id: str | None
    key: str | None
    label: str
    time: str
