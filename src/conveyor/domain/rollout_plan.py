"""What a rollout is to do, from the configuration of all targets that a release changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from conveyor.domain.project import Abort, RolloutConfig

_SHORTEST_SHADOW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Plan:
    """The union of the changed targets' wishes: every step any of them asks for, the longest hold."""

    steps: tuple[int, ...]
    hold: timedelta
    watch: timedelta
    drain: timedelta
    deadline: timedelta
    start_timeout: timedelta
    shadow: dict[str, int]
    shadow_within: timedelta
    aborts: dict[str, Abort]
    insufficient: str = "promote"

    @property
    def looks(self) -> int:
        """How many tests one target goes through: one a canary step, one in the watch window."""
        return len(self.steps)


def plan(configs: dict[str, RolloutConfig]) -> Plan:
    values = list(configs.values()) or [RolloutConfig(steps=(100,), hold=timedelta(0), watch=timedelta(0))]
    return Plan(
        steps=tuple(sorted({step for config in values for step in config.steps} | {100})),
        hold=max(config.hold for config in values),
        watch=max(config.watch for config in values),
        drain=max(config.drain for config in values),
        deadline=max(config.hold * 5 if config.deadline is None else config.deadline for config in values),
        start_timeout=max(config.start_timeout for config in values),
        shadow={name: config.shadow.requests for name, config in configs.items() if config.shadow.requests},
        shadow_within=max(_within(config) for config in values),
        aborts={name: config.abort for name, config in configs.items()},
        insufficient="abort" if any(config.insufficient == "abort" for config in values) else "promote",
    )


def _within(config: RolloutConfig) -> timedelta:
    return max(config.hold * 10, _SHORTEST_SHADOW) if config.shadow.within is None else config.shadow.within
