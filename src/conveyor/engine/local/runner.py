"""`conveyor run` in a working folder: decides step by step what would run, and runs it; no server takes part."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conveyor.domain.plan import Decision, Past, Verdict, decide, key_of, order, with_params
from conveyor.domain.project import StepConfig
from conveyor.engine.local.attempts import Groups
from conveyor.engine.local.digests import Digests
from conveyor.engine.local.facts import FactsReader
from conveyor.engine.local.history import History
from conveyor.engine.local.outputs import Outputs
from conveyor.engine.local.project import LocalProject
from conveyor.engine.local.work import Work
from conveyor.errors import ConveyorError, NotFound


@dataclass(frozen=True, slots=True)
class Asked:
    """`steps`: those wanted, with all that they need; none: all. `force`: run them even so."""

    steps: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_mb: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    step: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    skipped: bool = False  # not begun, because another one failed

    @property
    def ok(self) -> bool:
        return not self.error and not self.skipped


class Runner:
    def __init__(
        self,
        project: LocalProject,
        digests: Digests,
        history: History,
        outputs: Outputs,
        groups: Groups,
        state: Path,
        tell: Callable[[StepOutcome], None],
    ) -> None:
        self._project = project
        self._history = history
        self._outputs = outputs
        self._groups = groups
        self._tell = tell
        self.facts = FactsReader(project, digests)
        self._work = Work(project, outputs, groups, state)
        self._told = threading.Lock()

    def log(self, step: str) -> Path:
        return self._work.log(step)

    def plan(self, asked: Asked) -> list[Decision]:
        """What would become of each step, without doing anything."""
        steps, names = self._wanted(asked)
        running: dict[str, Decision] = {}
        found = []
        for name in names:
            before = [need for need in self._project.edges[name] if need in running]
            decision, _ = self._decide(steps[name], asked, before)
            if decision.verdict in (Verdict.RUN, Verdict.WAITS):
                running[name] = decision
            found.append(decision)
        return found

    def run(self, asked: Asked) -> list[StepOutcome]:
        """Runs what has to be run, as much at once as cpus and memory allow. A failure lets nothing more begin."""
        steps, names = self._wanted(asked)
        waiting, done = list(names), dict[str, StepOutcome]()
        flying: dict[Future[StepOutcome], StepConfig] = {}
        pool = ThreadPoolExecutor(max_workers=max(1, asked.cpus))
        try:
            while waiting or flying:
                failed = any(not outcome.ok for outcome in done.values())
                for name in () if failed else tuple(waiting):
                    if sum(each.cpus for each in flying.values()) >= asked.cpus:
                        break  # nothing else fits, however many wait
                    if done.keys() >= set(self._project.edges[name]) and _fits(steps[name], flying.values(), asked):
                        waiting.remove(name)
                        flying[pool.submit(self._step, steps[name], asked)] = steps[name]
                if not flying:
                    break
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    done[flying.pop(future).name] = future.result()
        finally:
            if flying:  # Ctrl-C, or a fault of ours: nothing is left running
                self._groups.end_all()
                self._work.close()
            pool.shutdown(cancel_futures=True)
            self._work.close()
        left = [StepOutcome(name, Verdict.RUN, skipped=True) for name in waiting]
        return [done[name] for name in names if name in done] + left

    def _wanted(self, asked: Asked) -> tuple[dict[str, StepConfig], tuple[str, ...]]:
        everything = self._project.steps
        for name in asked.steps:
            if name not in everything:
                group = [each for each in everything if each.startswith(f"{name}@")]
                if not group:
                    raise NotFound(f"there is no step {name!r}", hint=f"There are: {', '.join(everything)}.")
        chosen = [each for name in asked.steps for each in everything if each == name or each.startswith(f"{name}@")]
        names = order(self._project.edges, chosen)
        params = with_params(everything, asked.params, names) if asked.params else {}
        return {name: replace(everything[name], params=params.get(name, everything[name].params)) for name in names}, (
            names
        )

    def _decide(self, step: StepConfig, asked: Asked, running: Sequence[str] = ()) -> tuple[Decision, Past]:
        """The decision, and what its past will be once it is done: without outputs if it has to run."""
        past = self._history.get(step.name)
        facts = self.facts.of(step, self._history)
        key = key_of(facts)
        now = self._outputs.now(step)
        if past is not None:
            now |= self._outputs.kept(step, past.outputs)
        stored = None
        if not running and not (past is not None and past.key == key and past.outputs == now):
            stored = self._outputs.stored(key)
        decision = decide(step, facts, past, now, stored=stored is not None, running=running, force=asked.force)
        return decision, Past(key, facts, stored.outputs if stored else now)

    def _step(self, step: StepConfig, asked: Asked) -> StepOutcome:
        began = time.perf_counter()
        try:
            decision, past = self._decide(step, asked)
            if decision.verdict is Verdict.CACHED:
                self._outputs.restore(step, past.outputs)
                self._history.put(step.name, past)
            elif decision.verdict is Verdict.RUN:
                result = self._work.attempt(step, self._history)
                self._history.put(step.name, replace(past, outputs=self._outputs.keep(step, past.key, result)))
            elif decision.verdict is Verdict.FROZEN and self._history.get(step.name) is None:
                self._history.put(step.name, replace(past, outputs=self._outputs.now(step)))
            outcome = StepOutcome(step.name, decision.verdict, decision.reasons, time.perf_counter() - began)
        except ConveyorError as error:
            said = f"{error.message} {error.hint}".strip()
            outcome = StepOutcome(step.name, Verdict.RUN, (), time.perf_counter() - began, said)
        with self._told:
            self._tell(outcome)
        return outcome


def _fits(step: StepConfig, running: Iterable[StepConfig], asked: Asked) -> bool:
    """Whether it may run beside those; a step that asks for more than there is runs alone."""
    others = list(running)
    if not others:
        return True
    return (
        step.cpus + sum(each.cpus for each in others) <= asked.cpus
        and step.memory_mb + sum(each.memory_mb for each in others) <= asked.memory_mb
    )
