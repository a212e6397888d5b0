"""What became of a pickle that an admin trusts when it was loaded, once, in a process of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the process itself says. `problem` is a clause, empty when all was well."""

    problem: str = ""
    kind: str = ""  # the type of what the pickle holds
    rows: int = 0  # of the logged input example that were scored; 0 where none was logged
    scores: tuple[float, ...] = ()  # of the first rows
    form: str = ""  # in which Conveyor would serve it; empty where it would not
    parity: float = 0.0  # the largest difference of that form from the pickle's own scores
    unserved: str = ""  # why it has no such form


@dataclass(frozen=True, slots=True)
class PickleTrial:
    """`pid` is the process's, which has ended; 0 where none was started."""

    model: str
    version: str
    pid: int
    seconds: float
    loaded: Loaded

    @property
    def problem(self) -> str:
        return self.loaded.problem
