"""What a client may ask about sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conveyor.delivery.lookup import latest_build
from conveyor.domain.metric import METRICS
from conveyor.domain.requests import Cancel
from conveyor.domain.sweep import OPEN, Sweep
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import SWEEPS


class SweepDesk:
    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def list(self, project: str, limit: int = 50) -> list[Sweep]:
        with self._context.records.read() as tx:
            return tx.find(SWEEPS, where={"project": project}, limit=min(limit, 1000))

    def show(self, project: str, name: str) -> Sweep:
        """By `name@number`, or the newest of a name."""
        with self._context.records.read() as tx:
            if "@" in name:
                return tx.need(SWEEPS, f"{project}/{name}")
            found = [
                each for each in tx.find(SWEEPS, where={"project": project}, limit=1000) if each.config.name == name
            ]
        if not found:
            raise NotFound(f"sweep {name!r} was never started", hint=f"Start it: `conveyor sweep start {name}`.")
        return found[0]

    def start(self, project: str, name: str) -> Sweep:
        context = self._context
        with context.records.transaction() as tx:
            build = latest_build(tx, project)
            declared = build.config.sweeps if build else {}
            if build is None or name not in declared:
                raise NotFound(
                    f"there is no sweep {name!r} in project {project!r}",
                    hint=f"Declared are: {', '.join(sorted(declared)) or 'none; add [sweep.NAME] to conveyor.toml'}.",
                )
            config = declared[name]
            model = build.config.models[config.model]
            earlier = [
                each for each in tx.find(SWEEPS, where={"project": project}, limit=1000) if each.config.name == name
            ]
            number = earlier[0].number + 1 if earlier else 1
            better = METRICS[model.metric].higher_is_better
            maximize = better if config.direction == "auto" else config.direction == "maximize"
            id_ = f"{project}/{name}@{number}"
            sweep = Sweep(id_, project, number, config, build.id, {}, maximize, context.clock.now())
            tx.put(SWEEPS, sweep)
            tx.append(context.event("sweep.started", f"sweep/{id_}", project, trials=config.trials, model=config.model))
        self._poke()
        return sweep

    def cancel(self, project: str, name: str, request: Cancel) -> Message:
        found = self.show(project, name)
        with self._context.records.transaction() as tx:
            sweep = tx.need(SWEEPS, found.id)
            if sweep.state not in OPEN:
                raise Conflict(f"sweep {sweep.id} has {sweep.state} already", hint="There is nothing to cancel.")
            tx.put(SWEEPS, replace(sweep, cancel=request.reason))
        self._poke()
        return Message(f"sweep {sweep.id} is being cancelled")
