"""What a rollout waits for, from the targets of both releases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from conveyor.delivery.rollouts import planned
from conveyor.delivery.targets import Target
from conveyor.domain.project import RolloutConfig, Shadow

BUILD: Any = None  # nothing of it is asked for


def test_only_what_takes_over_from_another_version_has_a_shadow() -> None:
    rollout = RolloutConfig(shadow=Shadow(requests=100, within=timedelta(minutes=7)))

    def model(name: str, cluster: str) -> Target:
        return Target(f"model.{name}", "p/e", cluster, "1", f"model:{name}@1", "/", "/", 1, rollout, BUILD)

    old = {each.name: each for each in (model("a", "a1"), model("same", "s1"))}
    new = {each.name: each for each in (model("a", "a2"), model("fresh", "f1"), model("same", "s1"))}
    plan = planned(old, new)
    assert plan.shadow == {"model.a": 100}
    assert plan.shadow_within == timedelta(minutes=7)
    assert set(plan.aborts) == {"model.a", "model.fresh"}
    assert planned({}, new).shadow == {}
