"""What tests reported, as figures and as the names of those that failed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 20
"""So many failing tests are kept by name; more would not be read."""


@dataclass(frozen=True, slots=True)
class Failing:
    name: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The sum of JUnit XML reports. `unread` tells of files that are no such report, and why."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failing: tuple[Failing, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Such as "40 tests, 2 failed, 1 skipped, 3.2 s"."""
        broken = self.failures + self.errors
        parts = [f"{self.tests:,} test{'' if self.tests == 1 else 's'}"]
        parts += [f"{broken:,} failed"] if broken else []
        parts += [f"{self.skipped:,} skipped"] if self.skipped else []
        return ", ".join([*parts, f"{self.seconds:.1f} s"])

    @property
    def names(self) -> str:
        """The failing tests, as many as a line can hold."""
        first = [each.name for each in self.failing[:3]]
        more = self.failures + self.errors - len(first)
        return ", ".join(first) + (f" and {more} more" if first and more > 0 else "")


def total(reports: Iterable[Report]) -> Report:
    whole = Report()
    for each in reports:
        whole = Report(
            whole.tests + each.tests,
            whole.failures + each.failures,
            whole.errors + each.errors,
            whole.skipped + each.skipped,
            round(whole.seconds + each.seconds, 3),
            (*whole.failing, *each.failing)[:SHOWN],
            (*whole.unread, *each.unread),
        )
    return whole
