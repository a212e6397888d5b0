"""Gates: checks with a verdict, each with its figures. What they read is an `evaluation`; `gates/` decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient evidence"


@dataclass(frozen=True, slots=True)
class Verdict:
    gate: str
    outcome: Outcome
    message: str
    figures: dict[str, float] = field(default_factory=dict)


def passed(verdicts: tuple[Verdict, ...]) -> bool:
    """All gates said pass. Insufficient evidence does not pass: the live version stays until there is evidence."""
    return all(verdict.outcome is Outcome.PASS for verdict in verdicts)
