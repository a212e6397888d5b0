"""Sweeps as pure turns over records: the same params after a crash, better than chance, and no trial twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from conveyor.delivery.sampling import prune, suggest
from conveyor.domain import wire
from conveyor.domain.project import SweepConfig
from conveyor.domain.run import RunState
from conveyor.domain.sweep import Seen, Sweep, SweepState, Trial, TrialState, advance

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = {"x": {"min": -5.0, "max": 5.0}, "n": {"min": 1, "max": 8}, "kind": {"choice": ["a", "b"]}}


def value(params: dict[str, Any]) -> float:
    return float(-((params["x"] - 2) ** 2) - abs(params["n"] - 3) - (params["kind"] == "a"))


def sweep(**how: Any) -> Sweep:
    config = SweepConfig("s", "m", SPACE, **how)
    return Sweep("p/s@1", "p", 1, config, "b", {}, maximize=True, created=NOW)


def play(found: Sweep, *, forget: bool = False) -> Sweep:
    """To the end, the trial that began first ending first; with `forget` each turn begins from what is on record."""
    for _ in range(500):
        if forget:
            found = wire.from_json(wire.to_json(found), Sweep)
        running = [each for each in found.trials if each.state is TrialState.RUNNING]
        seen = {each.run: Seen(RunState.RUNNING) for each in running}
        if running:
            seen[running[0].run] = Seen(RunState.SUCCEEDED, {"value": value(running[0].params)})
        turn = advance(found, seen, NOW)
        found = turn.sweep
        for number in turn.start:
            assert number == len(found.trials)
            found = replace(found, trials=(*found.trials, Trial(number, suggest(found, number), f"run-{number}")))
        assert sum(each.state is TrialState.RUNNING for each in found.trials) <= found.config.at_once
        if turn.train:
            return found
    raise AssertionError("it never ended")


def test_a_sweep_is_the_same_from_memory_and_from_its_records_and_better_than_chance() -> None:
    straight, resumed = play(sweep(trials=24, at_once=3)), play(sweep(trials=24, at_once=3), forget=True)
    assert straight == resumed
    assert len(straight.trials) == 24
    assert straight.best is not None
    chance = play(sweep(trials=24, sampler="random"))
    assert chance.best is not None
    assert (straight.best.value or 0) > -1.5
    assert play(sweep(trials=6, sampler="random", seed=1)).trials != play(sweep(trials=6, sampler="random")).trials
    grid = replace(sweep(trials=4, sampler="grid"), config=replace(
        sweep().config, sampler="grid", trials=4, space={"a": {"choice": [1, 2]}, "b": {"choice": ["x", "y"]}}
    ))  # fmt: skip
    drawn = [suggest(grid, number) for number in range(4)]
    assert drawn == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def test_a_trial_far_behind_is_given_up() -> None:
    params = {"x": 0.0, "n": 1, "kind": "a"}
    good = tuple((step, 0.5 + step / 10) for step in range(5))
    ended = tuple(Trial(n, params, f"r{n}", TrialState.SUCCEEDED, 0.9, good) for n in range(6))
    behind = Trial(6, params, "r6", reported=((0, 0.1), (1, 0.11)))
    ahead = replace(behind, reported=((0, 0.9), (1, 0.95)))
    asked = replace(sweep(pruner="median", trials=10), trials=(*ended, behind))
    assert prune(asked, behind)
    assert not prune(asked.with_trial(ahead), ahead)
    assert not prune(replace(asked, config=replace(asked.config, pruner="none")), behind)


def test_cancelling_failing_and_pruning_end_a_sweep_rightly() -> None:
    params = {"x": 0.0, "n": 1, "kind": "a"}
    running = replace(sweep(trials=5, at_once=1), trials=(Trial(0, params, "r0"),))
    stopped = advance(replace(running, cancel="enough"), {"r0": Seen(RunState.RUNNING)}, NOW)
    assert stopped.cancel == ("r0",)
    ended = advance(stopped.sweep, {"r0": Seen(RunState.CANCELLED, error="enough")}, NOW).sweep
    assert (ended.state, ended.error, ended.trials[0].state) == (SweepState.CANCELLED, "enough", TrialState.CANCELLED)
    pruned = advance(running, {"r0": Seen(RunState.CANCELLED, error="pruned: 0.1 at step 2")}, NOW)
    assert (pruned.sweep.trials[0].state, pruned.start) == (TrialState.PRUNED, (1,))
    failed = running
    for number in range(3):
        turn = advance(failed, {f"r{number}": Seen(RunState.FAILED, error="boom")}, NOW)
        failed = turn.sweep
        if turn.start:
            failed = replace(failed, trials=(*failed.trials, Trial(number + 1, params, f"r{number + 1}")))
    assert (failed.state, failed.error) == (SweepState.FAILED, "every trial failed: boom")
    best = replace(
        running, trials=(Trial(0, params, "r0", TrialState.SUCCEEDED, 1.0),), state=SweepState.TRAINING, run="t"
    )
    done = advance(best, {"t": Seen(RunState.SUCCEEDED, {"version": 4})}, NOW).sweep
    assert (done.state, done.version) == (SweepState.SUCCEEDED, 4)
