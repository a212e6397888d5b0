"""What the records say that matters to retention."""

from __future__ import annotations

from conveyor.domain.retention import Known, Past
from conveyor.domain.rollout import Phase
from conveyor.domain.run import RunState
from conveyor.effects.processes import CONTROL, ENVOY
from conveyor.stores.collections import (
    ALIASES,
    BUILDS,
    ENVIRONMENTS,
    INSTANCES,
    PROJECTS,
    RELEASES,
    ROLLOUTS,
    RUNS,
)
from conveyor.stores.records import Transaction


def known(tx: Transaction) -> Known:
    """What the records say that matters to retention."""
    environments = [
        environment
        for project in tx.find(PROJECTS, limit=1000)
        for environment in tx.find(ENVIRONMENTS, where={"project": project.name}, limit=1000)
    ]
    releases = {
        environment.id: tuple(
            Past(release, (rollout := tx.get(ROLLOUTS, release.id)) is not None and rollout.phase is Phase.DONE)
            for release in tx.find(RELEASES, where={"environment": environment.id}, limit=100_000)
        )
        for environment in environments
    }
    runs = tx.find(RUNS, where={"state": RunState.RUNNING}, limit=100_000)
    processes = {instance.id for instance in tx.find(INSTANCES, limit=100_000)} | {CONTROL, ENVOY}
    builds = tx.find(BUILDS, limit=100_000)
    aliases = tuple(tx.find(ALIASES, limit=100_000))
    return Known(tuple(environments), releases, tuple(builds), tuple(runs), frozenset(processes), aliases)
