from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.config.load import load
from conveyor.config.write import with_table
from conveyor.domain.project import Budget, RetrainConfig
from conveyor.domain.replay import Block, Candidate, Policy, Walked, parse, recommend, table

T0 = datetime(2018, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OWN = RetrainConfig(min_new_rows=500, cooldown=6 * timedelta(hours=1), budget=Budget(4))


def walk(name: str, values: list[float | None], seconds: float, metric: str = "roc_auc") -> Walked:
    blocks = tuple(
        Block(T0 + n * DAY, T0 + (n + 1) * DAY, 10, 5, {} if value is None else {metric: value})
        for n, value in enumerate(values)
    )
    candidate = Candidate(T0, T0, 1, "ready", "data", "", seconds)
    return Walked(Policy(name, OWN), metric, blocks, (candidate,))


def test_the_cheapest_that_is_as_good_is_recommended_and_a_clearly_worse_one_never():
    best = walk("every:1d", [0.81, 0.80, 0.82, 0.79], 100.0)
    near = walk("every:7d", [0.80, 0.81, 0.81, 0.79], 10.0)
    bad = walk("never", [0.60, 0.61, 0.62, 0.60], 1.0)
    wasteful = walk("all", [0.80, 0.80, 0.81, 0.79], 200.0)
    found = recommend([bad, wasteful, near, best])
    assert found is not None
    assert (found.policy, found.frontier) == ("every:7d", ("never", "every:7d", "every:1d"))
    assert "within one standard error" in found.reason
    # What served half of the time is no rival, however good it was then.
    lucky = walk("drift", [None, None, 0.9, 0.7], 1.0)
    again = recommend([lucky, best])
    assert again is not None
    assert again.policy == "every:1d"
    assert recommend([walk("never", [None], 1.0)]) is None


@given(st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0.1, 1e4)), min_size=1))
@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_what_is_recommended_is_on_the_frontier(metric, given_):
    walks = [walk(f"p{n}", list(values), seconds, metric) for n, (values, seconds) in enumerate(given_)]
    found = recommend(walks)
    assert found is not None
    assert found.policy in found.frontier
    sign = 1 if metric == "roc_auc" else -1
    chosen = next(w for w in walks if w.policy.name == found.policy)
    assert not [w for w in walks if w.seconds < chosen.seconds and sign * w.mean > sign * chosen.mean]


TEXT = """
# why we train
[project]
name = "shop"

[data.rows]
time = "t"
label = { column = "y" }

[model.fraud]
train = "shop.fraud:train"
inputs = ["data.rows"]
metric = "roc_auc"
params = { trees = 3 }  # few

[model.fraud.retrain]
on = ["data"]  # not drift
schedule = "0 3 * * *"

[model.fraud.monitor]
rows = 9
"""


@pytest.mark.parametrize(
    ("name", "period", "count"),
    [
        ("never", None, None),
        ("every:28d", 28 * DAY, None),
        ("rows:70", None, 70),
        ("all", None, None),
        ("decay", None, None),
    ],
)
def test_a_policy_is_written_into_conveyor_toml_and_read_back_with_all_comments(name, period, count):
    policy = parse(name, OWN, period, count)
    assert policy is not None
    for text in (TEXT, TEXT.replace('[model.fraud.retrain]\non = ["data"]  # not drift\nschedule = "0 3 * * *"\n', "")):
        changed = with_table(text, ("model", "fraud", "retrain"), table(policy.retrain))
        assert load(changed).models["fraud"].retrain == policy.retrain
        assert "# why we train" in changed
        assert "# few" in changed
        assert "[model.fraud.monitor]\nrows = 9" in changed
    assert parse("every:", OWN) is None
    assert parse("sometimes", OWN) is None
