"""What runs on databases left behind: reports of their steps, and the record of each environment's schemas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from conveyor.domain import wire
from conveyor.domain.migration import Backup, Database, Finding, Rehearsal, Verb
from conveyor.domain.run import Run, Step, StepState
from conveyor.domain.schema import Schema
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, job_dir
from conveyor.stores.collections import SCHEMAS
from conveyor.stores.records import Transaction

T = TypeVar("T")
_MOST = 100  # databases of one environment


def of(tx: Transaction, environment: str) -> tuple[Schema, ...]:
    return tuple(tx.find(SCHEMAS, where={"environment": environment}, limit=_MOST))


def report(context: Context, run: Run, step: Step, name: str, type_: type[T]) -> T | None:
    """What a step wrote: an output once it succeeded; of one that failed, a file of its last attempt."""
    if step.state is StepState.SUCCEEDED and name in step.outputs:
        return wire.from_json(context.objects.get(step.outputs[name]), type_)
    left = job_dir(context.settings, run, step) / OUT / name
    return wire.from_json(left.read_bytes(), type_) if step.state is StepState.FAILED and left.is_file() else None


def backup(context: Context, run: Run, database: Database) -> str:
    """The path of the backup that a run took; empty where none was needed."""
    step = next((step for step in run.steps if step.name == f"{Verb.BACKUP}:{database.name}"), None)
    made = report(context, run, step, "backup.json", Backup) if step else None
    return made.path if made else ""


def told(context: Context, run: Run) -> Run:
    """The run with what people want to know of it: how long the rehearsals took, whom they kept waiting, findings."""
    found: dict[str, Any] = {}
    for step in run.steps:
        verb, _, name = step.name.partition(":")
        if verb == Verb.REHEARSE and (rehearsal := report(context, run, step, "rehearsal.json", Rehearsal)):
            seen = {"seconds": rehearsal.seconds, "held": rehearsal.held, "unchanged": rehearsal.unchanged}
            found.setdefault("rehearsal", {})[name] = seen
        if verb == Verb.LINT and (findings := report(context, run, step, "lint.json", tuple[Finding, ...])):
            found.setdefault("lint", {})[name] = wire.to_builtins(findings)
    return replace(run, result={**run.result, **found}) if found else run
