"""What a person may tell an open rollout: to stay where it is, to go on, to give up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from conveyor.domain import requests
from conveyor.domain import rollout as machine
from conveyor.domain.rollout import Phase, Rollout
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected
from conveyor.stores.collections import ENVIRONMENTS, ROLLOUTS
from conveyor.stores.records import Transaction

_LONGEST = 7 * 24 * 60  # minutes
_DECIDED = (Phase.ABORTING, Phase.DRAIN)


def pause(context: Context, tx: Transaction, environment: str, request: requests.Pause) -> str:
    """Raises Conflict where nothing can be held any more, InputRejected for a length that is none."""
    if not 0 < request.minutes <= _LONGEST:
        raise InputRejected(
            f"a rollout cannot be paused for {request.minutes:g} minutes", hint=f"Give up to {_LONGEST} minutes."
        )
    rollout = _open(tx, environment, "paused")
    held = machine.pause(rollout, context.clock.now(), timedelta(minutes=request.minutes))
    _put(context, tx, held, "rollout.paused", request.reason)
    return f"release {rollout.release} stays at {rollout.phase} for up to {request.minutes:g} minutes"


def resume(context: Context, tx: Transaction, environment: str, request: requests.Resume) -> str:
    """Raises Conflict where nothing is paused."""
    rollout = _open(tx, environment, "resumed")
    if rollout.paused is None:
        raise Conflict(f"release {rollout.release} is not paused", hint="`conveyor status` shows what it waits for.")
    _put(context, tx, machine.resume(rollout, context.clock.now()), "rollout.resumed", request.reason)
    return f"release {rollout.release} goes on"


def abort(context: Context, tx: Transaction, environment: str, request: requests.Abort) -> str:
    """Raises Conflict where nothing can be aborted any more."""
    rollout = _open(tx, environment, "aborted")
    tx.put(ROLLOUTS, replace(rollout, abort=request.reason))
    return f"release {rollout.release} is being aborted"


def _open(tx: Transaction, environment: str, verb: str) -> Rollout:
    record = tx.need(ENVIRONMENTS, environment)
    rollout = tx.get(ROLLOUTS, record.rollout) if record.rollout else None
    if rollout is None:
        raise Conflict(
            f"nothing is being rolled out in {environment}", hint="`conveyor release list` shows its releases."
        )
    if rollout.phase in _DECIDED:
        raise Conflict(
            f"release {rollout.release} is at {rollout.phase} and cannot be {verb}",
            hint="`conveyor rollback` goes back to the release before, once it has ended.",
        )
    return rollout


def _put(context: Context, tx: Transaction, rollout: Rollout, type_: str, reason: str) -> None:
    tx.put(ROLLOUTS, rollout)
    project = rollout.environment.partition("/")[0]
    subject = f"environment/{rollout.environment}"
    tx.append(context.event(type_, subject, project, release=rollout.release, reason=reason))
