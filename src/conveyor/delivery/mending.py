"""Differences between wish and world that nobody of ours made: put right, and told."""

from __future__ import annotations

from collections.abc import Iterable

from conveyor.effects.envoy import Envoy
from conveyor.effects.processes import CONTROL, ENVOY, Processes, ProcessInfo
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError


class Mending:
    def __init__(self, context: Context, processes: Processes, envoy: Envoy) -> None:
        self._context = context
        self._processes = processes
        self._envoy = envoy
        self._notes: list[tuple[str, str]] = []
        self._ending: set[str] = set()

    def note(self, subject: str, reason: str) -> None:
        """Something was mended; `tell` puts it on record."""
        self._notes.append((subject, reason))

    def proxy(self) -> None:
        """The proxy's files say what was written last; those that do not are about to be written again."""
        for name in self._envoy.damaged():
            self.note(f"proxy/{name}", f"its file {name}.json had been changed or deleted")
        self._envoy.write_bootstrap()

    def strays(self, running: dict[str, ProcessInfo], known: Iterable[str]) -> bool:
        """Ends what supervisord runs though no release wants it and no record knows it; True once none is left."""
        strays = running.keys() - set(known) - {CONTROL, ENVOY}
        for name in sorted(strays):
            if running[name].pid is None:
                self._processes.remove(name)
            elif running[name].state != "STOPPING":
                self._processes.stop(name)
        for name in sorted(strays - self._ending):
            self.note(f"process/{name}", "no release wants it, so it was ended")
        self._ending = strays
        return not strays

    def tell(self) -> None:
        notes, self._notes = self._notes, []
        if not notes:
            return
        try:
            with self._context.transaction() as tx:
                for subject, reason in notes:
                    tx.append(self._context.event("system.mended", subject, reason=reason))
        except ConveyorError:
            self._notes = notes
            raise
