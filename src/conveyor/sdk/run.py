"""The run as user code sees it: an argument named `run` gets one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Run:
    """Figures that user code reports about itself; they are kept on the run's record."""

    metrics: dict[str, float] = field(default_factory=dict)

    def log_metric(self, name: str, value: float) -> None:
        """Keep a number under a name; a later value replaces an earlier one."""
        self.metrics[name] = float(value)
