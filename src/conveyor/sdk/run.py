"""The run as user code sees it: an argument named `run` gets one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

REPORTS = "reports.jsonl"
"""In the outputs: what was reported on the way, a line each; a sweep reads it while it grows."""


@dataclass(slots=True)
class Run:
    """Figures that user code reports about itself; they are kept on the run's record."""

    metrics: dict[str, float] = field(default_factory=dict)
    reports: Path | None = None

    def report(self, step: int, value: float) -> None:
        """How good it is after so many epochs, trees, ...: a sweep with a pruner ends what cannot win any more."""
        if self.reports is not None:
            with self.reports.open("a") as file:
                file.write(json.dumps([int(step), float(value)]) + "\n")

    def log_metric(self, name: str, value: float) -> None:
        """Keep a number under a name; a later value replaces an earlier one."""
        self.metrics[name] = float(value)


def read_reports(path: Path) -> tuple[tuple[int, float], ...]:
    """(step, value) in order, the last value of each step; what is not whole or not finite is left out."""
    try:
        lines = path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return ()
    found = {int(step): float(value) for step, value in map(json.loads, lines) if isfinite(value)}
    return tuple(sorted(found.items()))
