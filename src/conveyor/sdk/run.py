"""The run as user code sees it: an argument named `run` gets one, and so do `conveyor.log_metric` and its like."""

from __future__ import annotations

import json
import logging
import shutil
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from conveyor.sdk.tracker import Tracker

log = logging.getLogger(__name__)
REPORTS = "reports.jsonl"
"""In the outputs: what was reported on the way, a line each; a sweep reads it while it grows."""


@dataclass(slots=True)
class Run:
    """Figures that user code reports about itself. With a `tracker` they are told of while it runs."""

    metrics: dict[str, float] = field(default_factory=dict)
    reports: Path | None = None
    tracker: Tracker | None = None

    def report(self, step: int, value: float) -> None:
        """How good it is after so many epochs, trees, ...: a sweep with a pruner ends what cannot win any more."""
        if self.reports is not None:
            with self.reports.open("a") as file:
                file.write(json.dumps([int(step), float(value)]) + "\n")

    def log_metric(self, name: str, value: float, step: int = 0) -> None:
        """Log a number under a name. Of all its values the last one is kept on the run's record."""
        self.metrics[name] = float(value)
        if self.tracker is not None:
            self.tracker.metric(name, float(value), step)

    def log_param(self, name: str, value: Any) -> None:
        """Log what the run was made with; its first value stays."""
        if self.tracker is not None:
            self.tracker.param(name, str(value))

    def log_artifact(self, path: str | Path, name: str = "") -> None:
        """Keep a file beside the run, under `name` or its own."""
        if self.tracker is not None:
            try:
                shutil.copyfile(path, self.tracker.place(name or Path(path).name))
            except OSError as error:
                log.warning("%s is not kept: %s", path, error)

    def log_figure(self, figure: Any, name: str) -> None:
        """Keep a figure of matplotlib, plotly or Altair; what kind of file it is, `name` says: roc.png, roc.html."""
        if self.tracker is not None:
            try:
                save(figure, self.tracker.place(name))
            except OSError as error:
                log.warning("the figure %s is not kept: %s", name, error)


def save(figure: Any, path: Path) -> None:
    for method in ("savefig", "save", "write_html"):
        if hasattr(figure, method):
            getattr(figure, method)(str(path))
            return
    path.write_text(str(figure))


_CURRENT: ContextVar[Run | None] = ContextVar("conveyor_run", default=None)


def current() -> Run:
    """The run that this code is called by; outside of one, a run that nobody reads, so that code works anywhere."""
    return _CURRENT.get() or Run()


def enter(run: Run) -> None:
    """From now on `current` is this run, in this thread and in what it starts."""
    _CURRENT.set(run)


def read_reports(path: Path) -> tuple[tuple[int, float], ...]:
    """(step, value) in order, the last value of each step; what is not whole or not finite is left out."""
    try:
        lines = path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return ()
    found = {int(step): float(value) for step, value in map(json.loads, lines) if isfinite(value)}
    return tuple(sorted(found.items()))
