"""What runs at once: steps of projects by the processors and memory that they declare, all others by their kind."""

from __future__ import annotations

import os
from collections import Counter

from conveyor.domain.run import Run, Step, fits


class Busy:
    """What runs now, over all runs."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._steps: list[Step] = []
        self._cpus = os.cpu_count() or 1
        self._memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20

    def add(self, run: Run, step: Step) -> None:
        if step.cpus:
            self._steps.append(step)
        else:
            self._kinds[run.kind] += 1

    def leaves_room(self, run: Run, step: Step, at_once: int) -> bool:
        if step.cpus:
            return fits(step, self._steps, self._cpus, self._memory_mb)
        return self._kinds[run.kind] < at_once
