"""What would run, and why."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.plan import Past, Verdict, decide, edges_of, facts_of, key_of, order, with_params
from conveyor.domain.project import StepConfig
from conveyor.errors import InputRejected

STEP = StepConfig("train", command="fit", deps=("in.csv",), outs=("model",), params={"lr": 0.1})
FACTS = facts_of(STEP, deps={"in.csv": "aa"})
PAST = Past(key_of(FACTS), FACTS, {"model": "mm"})


def decided(facts: dict[str, str], outputs: dict[str, str], **how: object) -> tuple[Verdict, tuple[str, ...]]:
    found = decide(STEP, facts, PAST, outputs, **{"stored": False, **how})  # type: ignore[arg-type]
    return found.verdict, found.reasons


def test_every_verdict_says_why() -> None:
    other = facts_of(replace(STEP, params={"lr": 0.2}), deps={"in.csv": "bb"})
    there = {"model": "mm"}
    assert decided(FACTS, there) == (Verdict.UP_TO_DATE, ())
    assert decided(FACTS, {}) == (Verdict.RUN, ("model is missing",))
    assert decided(FACTS, {}, stored=True) == (Verdict.CACHED, ("model is missing",))
    assert decided(FACTS, {"model": "xx"}) == (Verdict.RUN, ("model is not what it made",))
    assert decided(other, there) == (Verdict.RUN, ("param lr: 0.1 -> 0.2", "in.csv changed"))
    assert decided(FACTS, there, running=("prepare",)) == (Verdict.WAITS, ("prepare runs first",))
    assert decided(FACTS, there, force=True)[0] is Verdict.RUN
    assert decide(STEP, FACTS, None, {}, stored=False).reasons == ("it never ran here",)
    assert decide(replace(STEP, always=True), FACTS, PAST, there, stored=True).verdict is Verdict.RUN
    assert decide(replace(STEP, frozen=True), other, PAST, {}, stored=True).verdict is Verdict.FROZEN


def test_steps_wait_for_what_they_read_by_name_by_file_and_by_folder() -> None:
    steps = {
        step.name: step
        for step in (
            StepConfig("raw", command="x", outs=("data/raw",)),
            StepConfig("one", command="x", deps=("data/raw/a.csv",), outs=("data/one.csv",)),
            StepConfig("all", command="x", deps=("data",)),
            StepConfig("named", run="m:f", inputs=("step.all:train", "data.rows"), needs=("one",)),
        )
    }
    assert edges_of(steps) == {"raw": (), "one": ("raw",), "all": ("raw", "one"), "named": ("all", "one")}
    with pytest.raises(InputRejected, match="data/raw/x is made by the steps raw and twice"):
        edges_of({**steps, "twice": StepConfig("twice", command="x", outs=("data/raw/x",))})
    assert with_params({"a": STEP}, {"lr": 1}, ("a",)) == {"a": {"lr": 1}}
    assert with_params({"a": STEP}, {"a:new": 1}, ("a",)) == {"a": {"lr": 0.1, "new": 1}}
    with pytest.raises(InputRejected, match="no step that would run has a param 'lt'"):
        with_params({"a": STEP}, {"lt": 1}, ("a",))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25), st.sets(st.integers(0, 9), max_size=3))
def test_each_step_comes_after_what_it_needs_or_the_circle_is_named(
    pairs: list[tuple[int, int]], wanted: set[int]
) -> None:
    edges: dict[str, list[str]] = {str(n): [] for n in range(10)}
    for low, high in pairs:
        edges[str(high)].append(str(low))
    names = {str(n) for n in wanted}
    try:
        found = order(edges, names)
    except InputRejected as error:
        circle = error.message.partition(": ")[2].split(" -> ")
        assert circle[-1] in circle[:-1]
        assert all(after in edges[before] for before, after in itertools.pairwise(circle))
        return
    assert len(set(found)) == len(found)
    assert names <= set(found)
    assert all(found.index(need) < found.index(step) for step in found for need in edges[step])
