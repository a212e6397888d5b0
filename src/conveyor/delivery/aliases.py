"""Aliases: movable names for model versions, with their history."""

from __future__ import annotations

from conveyor.domain.registry import LIVE
from conveyor.domain.release import Environment, Release
from conveyor.domain.state import Alias, AliasMove
from conveyor.engine.context import Context
from conveyor.stores.collections import ALIAS_MOVES, ALIASES
from conveyor.stores.records import Transaction


def follow(context: Context, tx: Transaction, environment: Environment, release: Release | None, reason: str) -> None:
    """Moves `live` of every model to what the live release has; other environments have an alias of their own."""
    name = _name(environment)
    for model, version in (release.models if release else {}).items():
        move(context, tx, environment.project, model, name, version, reason)


def key(environment: Environment, model: str) -> str:
    """The key of the alias that follows what is live in an environment."""
    return f"{environment.project}/{model}:{_name(environment)}"


def _name(environment: Environment) -> str:
    return LIVE if environment.name == "production" else f"{LIVE}-{environment.name}"


def move(
    context: Context,
    tx: Transaction,
    project: str,
    model: str,
    name: str,
    version: int | None,
    reason: str,
    by: str = "",
) -> None:
    """Points the alias to a version, or takes it away; each move is a record of its history and an event."""
    subject = f"{project}/{model}"
    alias = tx.get(ALIASES, f"{subject}:{name}")
    previous = alias.version if alias else None
    if previous == version:
        return
    if version is None:
        tx.delete(ALIASES, f"{subject}:{name}")
    else:
        tx.put(ALIASES, Alias(f"{subject}:{name}", subject, name, version))
    now = context.clock.now()
    tx.put(ALIAS_MOVES, AliasMove(context.new_id(), subject, name, version, previous, reason, now, by))
    tx.append(
        context.event(
            "model.alias_moved",
            f"model/{subject}",
            project,
            alias=name,
            version=version,
            previous=previous,
            reason=reason,
            by=by,
        )
    )
