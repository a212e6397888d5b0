"""What the last verification of a model version found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from conveyor.domain.model import ModelStatus, ModelVersion


@dataclass(frozen=True, slots=True)
class Verification:
    """`problem` is a clause, empty when all was well. `was`: the status that a damaged version had before."""

    id: str  # of the version
    model: str
    at: datetime
    problem: str = ""
    signed: bool = False
    seconds: float = 0.0  # that loading and scoring took, with the start of a process
    was: ModelStatus | None = None

    @property
    def ok(self) -> bool:
        return not self.problem


def after(version: ModelVersion, before: Verification | None, found: Verification) -> tuple[ModelVersion, Verification]:
    """The version and what is kept of its verification: damaged by a problem, as it was once there is none."""
    damaged = version.status is ModelStatus.DAMAGED
    if found.problem:
        was = before.was if damaged and before else version.status
        return replace(version, status=ModelStatus.DAMAGED), replace(found, was=was)
    if damaged:
        status = before.was if before and before.was else ModelStatus.REJECTED
        return replace(version, status=status), found
    return version, found
