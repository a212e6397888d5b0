"""One policy over history: what serves, what monitoring says, what the governor decides, what a training gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from conveyor.delivery.replay.history import History, Tick
from conveyor.delivery.replay.score import blocks, metrics
from conveyor.delivery.replay.trainings import Trained, Trainings
from conveyor.delivery.replay.watch import Watch
from conveyor.domain import gate, governor, governor_state
from conveyor.domain.dataset import known_until
from conveyor.domain.gates.decide import decide as decide_gates
from conveyor.domain.governor_state import Decision, Ending, Facts, GovernorState, Trigger, TriggerKind
from conveyor.domain.monitor import Signal, SignalKind
from conveyor.domain.project import ModelConfig
from conveyor.domain.replay import Candidate, Policy, Walked
from conveyor.errors import StepFailed


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all policies of a replay."""

    model: ModelConfig  # its gates without those that a replay does not measure
    history: History
    trainings: Trainings
    delay: timedelta
    banned: tuple[str, ...]
    block: timedelta
    scored_from: datetime
    live_from: datetime  # nothing is decided before
    due: Callable[[str, datetime, datetime], bool]  # schedule, last tick honoured, now


class Walk:
    def __init__(self, setting: Setting, policy: Policy) -> None:
        self._set, self._policy = setting, policy
        self._config = policy.retrain
        self._state = GovernorState(f"replay/{setting.model.name}", "replay")
        self._watch = Watch(setting.model, setting.history)
        self._versions: dict[int, Trained] = {}
        self._holdouts: dict[int, float] = {}
        self._live = 0
        self._last = 0  # number of the newest version, also of one that was refused
        self._rows = 0  # labelled rows when it was trained
        rows = len(setting.history.times)
        self._scores = np.full(rows, np.nan)
        self._served = np.zeros(rows, dtype=np.int32)
        self._candidates: list[Candidate] = []
        self._signals: Counter[str] = Counter()
        self._declined: Counter[str] = Counter()
        self._said: Decision | None = None
        self._ticked = setting.history.ticks[0].after
        self._watches = bool({"drift", "decay"} & set(self._config.on))

    def run(self) -> Walked:
        ticks = self._set.history.ticks
        self._notice(TriggerKind.CODE, ticks[0].until, "it has no version yet")
        for tick in ticks:
            self._serve(tick)
            if tick.stop > tick.start:
                self._notice(TriggerKind.DATA, tick.until, f"{tick.stop - tick.start:,} rows arrived")
            if tick.until >= self._set.live_from:
                self._govern(tick)
        history, setting = self._set.history, self._set
        found = blocks(history, self._scores, self._served, setting.model.metric, setting.block, setting.scored_from)
        return Walked(
            self._policy,
            setting.model.metric,
            found,
            tuple(map(self._after, self._candidates)),
            dict(self._signals),
            dict(self._declined),
        )

    def _notice(self, kind: TriggerKind, at: datetime, detail: str) -> None:
        self._state = governor_state.noticed(self._state, Trigger(kind, at, detail, version=self._live))

    def _serve(self, tick: Tick) -> None:
        """The rows of the tick are asked of the version that is live, and monitoring looks at them."""
        if not self._live:
            return
        live = self._versions[self._live]
        self._scores[tick.start : tick.stop] = live.of(tick.start, tick.stop)
        self._served[tick.start : tick.stop] = self._live
        if not self._watches:
            return
        found, sound = self._watch.windows(live, self._live, tick)
        if "decay" in self._config.on:
            until = known_until(tick.newest, self._set.delay)
            found += self._watch.quality(self._scores, self._served, until, self._live, self._holdouts)
        for signal in found:
            self._hear(signal, tick.until)
        if sound:
            self._state = governor_state.sound(self._state)

    def _hear(self, signal: Signal, at: datetime) -> None:
        self._signals[str(signal.kind)] += 1
        if signal.kind is SignalKind.DATA_FAULT:
            self._state = governor_state.faulted(self._state, signal.message, at)
        else:
            self._notice(TriggerKind(str(signal.kind)), at, signal.message)

    def _govern(self, tick: Tick) -> None:
        """Decides at the end of the tick, and again whenever a rule of time lets go before the next one."""
        now, next_tick = tick.until, tick.until + (tick.until - tick.after)
        while now < next_tick:
            decision = governor.decide(self._config, self._state, self._facts(tick, now), now)
            if decision.train:
                self._train(tick, decision, now)
                continue
            if decision.rule != "pending" and not decision.same(self._said):
                self._declined[decision.rule] += 1
            self._said = decision
            if decision.wait_until is None or decision.wait_until <= now:
                return
            now = decision.wait_until

    def _facts(self, tick: Tick, now: datetime) -> Facts:
        setting, until = self._set, known_until(tick.newest, self._set.delay)
        schedule = self._config.schedule
        return Facts(
            new_rows=setting.history.rows_until(until) - self._rows,
            since_version=self._last or None,
            due=schedule is not None and setting.due(schedule, self._ticked, now),
            short=governor.short_of(setting.model, setting.history.first, until),
        )

    def _train(self, tick: Tick, decision: Decision, now: datetime) -> None:
        setting, until = self._set, known_until(tick.newest, self._set.delay)
        self._state = governor_state.started(self._state, f"run-{len(self._candidates)}", now)
        self._ticked = now
        told = Candidate(now, until, 0, str(Ending.FAILED), str(decision.trigger), decision.reason, 0.0)
        try:
            trained = setting.trainings.train(until)
            live = self._versions.get(self._live)
            evaluation = setting.trainings.judge(trained, live, self._live)
        except StepFailed as error:
            self._candidates.append(replace(told, reasons=(error.message,)))
            self._state = governor_state.ended(self._state, Ending.FAILED)
            return
        verdicts = decide_gates(setting.model.gates, evaluation, setting.banned, trained.manifest.signature.features)
        ending = Ending.READY if gate.passed(verdicts) else Ending.REFUSED
        self._last += 1
        self._versions[self._last] = trained
        self._rows = setting.history.rows_until(until)
        if evaluation.value is not None:
            self._holdouts[self._last] = evaluation.value
        if ending is Ending.READY:
            self._live = self._last
        failed = tuple(v.message for v in verdicts if v.outcome is not gate.Outcome.PASS)
        self._candidates.append(
            replace(
                told,
                version=self._last,
                status=str(ending),
                seconds=trained.seconds,
                value=evaluation.value,
                reasons=failed,
            )
        )
        self._state = governor_state.ended(self._state, ending, self._last)

    def _after(self, candidate: Candidate) -> Candidate:
        """A refused one beside what served instead, in the block after it: both scored every row."""
        if candidate.status != Ending.REFUSED:
            return candidate
        history, name = self._set.history, self._set.model.metric
        start, stop = history.place(candidate.at), history.place(candidate.at + self._set.block)
        scores = self._versions[candidate.version].of(start, stop)
        served = np.isfinite(self._scores[start:stop])
        mine = metrics(name, history.labels[start:stop][served], scores[served])
        theirs = metrics(name, history.labels[start:stop][served], self._scores[start:stop][served])
        return replace(candidate, after_value=mine.get(name), after_live=theirs.get(name))
