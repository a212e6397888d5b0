"""What `conveyor doctor` found: one answer to one question, with why it matters and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    WELL = "well"
    WARNING = "warning"  # works, and will not for ever
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fixed`: what `--fix` did about it; `health` is how it is after that."""

    check: str
    health: Health
    found: str
    why: str
    todo: str = ""
    fixed: str = ""


def sound(findings: tuple[Finding, ...]) -> bool:
    return all(finding.health is not Health.WRONG for finding in findings)
