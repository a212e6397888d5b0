"""What a failed rollout or a person's rollback rules out: no later release of the environment takes it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conveyor.domain.model import ModelStatus
from conveyor.domain.release import Environment
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import ENVIRONMENTS, MODEL_VERSIONS, RELEASES, ROLLOUTS
from conveyor.stores.records import Transaction


def reject(
    context: Context, tx: Transaction, environment: Environment, components: Iterable[str], reason: str
) -> Environment:
    """The environment with these components ruled out; `build:<digest>` or `model:<name>@<version>`."""
    rejected = dict(environment.rejected)
    for component in components:
        kind, _, what = component.partition(":")
        rejected[component] = reason
        if kind == "build":
            tx.append(
                context.event(
                    "build.rejected", f"environment/{environment.id}", environment.project, build=what, reason=reason
                )
            )
            continue
        name, _, number = what.rpartition("@")
        version = tx.need(MODEL_VERSIONS, f"{environment.project}/{what}")
        tx.put(MODEL_VERSIONS, replace(version, status=ModelStatus.REJECTED))
        tx.append(
            context.event(
                "model.rejected",
                f"model/{environment.project}/{name}",
                environment.project,
                version=int(number),
                reason=reason,
            )
        )
    return replace(environment, rejected=rejected)


def roll_back(context: Context, tx: Transaction, environment_id: str, to: int | None, reason: str) -> str:
    """Asks for a rollback; says what will happen. An open rollout is aborted: the release before it is back at once.

    Otherwise everything that came after the target release is ruled out, and the next release has its content.
    """
    environment = tx.need(ENVIRONMENTS, environment_id)
    if environment.rollout is not None and to is None:
        rollout = tx.need(ROLLOUTS, environment.rollout)
        tx.put(ROLLOUTS, replace(rollout, abort=reason))
        return f"release {rollout.release} is being aborted"
    if environment.rollout is not None:
        raise Conflict(
            f"release {environment.rollout} is being rolled out",
            hint="Roll back without --to first; that aborts it at once.",
        )
    if environment.live is None:
        raise Conflict(f"nothing is live in {environment_id}", hint="There is nothing to roll back.")
    live = tx.need(RELEASES, f"{environment.id}/{environment.live}")
    history = [tx.get(RELEASES, f"{environment.id}/{number}") for number in range(live.number - 1, 0, -1)]
    earlier = [
        r
        for r in history
        if r and r.components != live.components and not set(r.components) & set(environment.rejected)
    ]
    target = next((release for release in earlier if to is None or release.number == to), None)
    if target is None:
        raise NotFound(
            f"there is no release {to if to is not None else 'before this one'} to go back to in {environment_id}",
            hint="`conveyor release list` shows what there is; what failed before is not offered.",
        )
    newer = [r for r in history if r and r.number > target.number]
    components = {c for release in (live, *newer) for c in release.components} - set(target.components)
    components -= set(environment.rejected)
    tx.put(ENVIRONMENTS, reject(context, tx, environment, sorted(components), reason))
    return f"the content of release {target.number} comes back"
