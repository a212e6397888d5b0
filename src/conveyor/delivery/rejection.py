"""What a failed rollout or a person's rollback rules out: no later release of the environment takes it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conveyor.domain.model import ModelStatus
from conveyor.domain.release import Content, Environment, Release
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import ENVIRONMENTS, MODEL_VERSIONS, RELEASES, ROLLOUTS
from conveyor.stores.records import Transaction


def reject(
    context: Context, tx: Transaction, environment: Environment, components: Iterable[str], reason: str
) -> Environment:
    """The environment with these components ruled out; `build:<digest>`, `model:<name>@<version>` or `secret:…`."""
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
        if kind == "secret":
            continue  # the event of the rollback says why; `conveyor secret list` shows what is ruled out
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


def abort(context: Context, tx: Transaction, environment: Environment, reason: str) -> str:
    """Aborts the open rollout; the release before it is back at once."""
    rollout = tx.need(ROLLOUTS, environment.rollout or "")
    tx.put(ROLLOUTS, replace(rollout, abort=reason))
    return f"release {rollout.release} is being aborted"


def target_of(tx: Transaction, environment: Environment, to: int | None) -> Release:
    """The release that a rollback goes back to: the one asked for, or the one before."""
    if environment.rollout is not None:
        raise Conflict(
            f"release {environment.rollout} is being rolled out",
            hint="Roll back without --to first; that aborts it at once.",
        )
    if environment.live is None:
        raise Conflict(f"nothing is live in {environment.id}", hint="There is nothing to roll back.")
    live, history = _history(tx, environment)
    earlier = [
        r for r in history if r.components != live.components and not set(r.components) & set(environment.rejected)
    ]
    target = next((release for release in earlier if to is None or release.number == to), None)
    if target is None:
        raise NotFound(
            f"there is no release {to if to is not None else 'before this one'} to go back to in {environment.id}",
            hint="`conveyor release list` shows what there is; what failed before is not offered.",
        )
    return target


def go_back(context: Context, tx: Transaction, environment: Environment, target: Release, reason: str) -> str:
    """Rules out everything that came after the target release, so that the next release has its content."""
    live, history = _history(tx, environment)
    newer = [r for r in history if r.number > target.number]
    components = {c for release in (live, *newer) for c in release.components} - set(target.components)
    components -= set(environment.rejected)
    environment = reject(context, tx, environment, sorted(components), reason)
    # Exactly that content, though a newer model may be waiting; a person asked for it, so it needs no approval.
    exact = Content(target.build, target.models, f"back to release {target.number}: {reason}", approved=True)
    tx.put(ENVIRONMENTS, replace(environment, exact=exact, proposal=None))
    return f"the content of release {target.number} comes back"


def _history(tx: Transaction, environment: Environment) -> tuple[Release, list[Release]]:
    """The live release, and those before it, newest first."""
    live = tx.need(RELEASES, f"{environment.id}/{environment.live}")
    found = (tx.get(RELEASES, f"{environment.id}/{number}") for number in range(live.number - 1, 0, -1))
    return live, [release for release in found if release is not None]
