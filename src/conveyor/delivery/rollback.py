"""Going back to an earlier release: at once where its code works on today's schema, else checked first, or restored."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from conveyor.delivery import rejection, schemas
from conveyor.delivery.collect import need_present
from conveyor.delivery.lookup import open_runs
from conveyor.delivery.migrate import built, sweep, verb_of
from conveyor.delivery.migration_command import Trial, command
from conveyor.domain import migration, requests
from conveyor.domain.environment import placed
from conveyor.domain.migration import Migrated, Verb
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.run import Run, Step, StepState
from conveyor.domain.schema import Schema, SchemaChange, unproven
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.errors import Conflict, NotFound, Refused
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, RELEASES, RUNS, SCHEMAS
from conveyor.stores.records import Transaction

KIND = "rollback"


def roll_back(context: Context, tx: Transaction, environment_id: str, request: requests.Rollback) -> Message:
    """Asks for a rollback; says what will happen.

    An open rollout is aborted. A release that was seen working on today's schema comes back at once. Of another one a
    run finds out on a copy of the database; with `restore` it brings the database back too.
    """
    environment = tx.need(ENVIRONMENTS, environment_id)
    if busy(tx, environment_id):
        raise Conflict(
            f"a rollback of {environment_id} is under way", hint="`conveyor run list --kind rollback` shows it."
        )
    if environment.rollout is not None and request.to is None and not request.restore:
        return Message(rejection.abort(context, tx, environment, request.reason))
    target = rejection.target_of(tx, environment, request.to)
    build = placed(tx.need(BUILDS, f"{target.project}/{target.build}"), target.environment_name)
    need_present(context.settings, target, build)
    known = schemas.of(tx, environment.id)
    keys = unproven(known, build)
    if request.restore:
        changes = _ways_back(context, known, keys, target, build, confirmed=request.yes)
        steps = migration.checks(build.config, keys, restore=True)
        said = f"release {target.number} is checked on a copy of the backup, then that is restored and it comes back"
    elif keys:
        changes, steps = {}, migration.checks(build.config, keys)
        said = f"release {target.number} was never seen on today's schema: it is checked on a copy first"
    else:
        return Message(rejection.go_back(context, tx, environment, target, request.reason))
    run = _run(context, environment, target, build, steps, request, changes, _hint(context, known, keys, target, build))
    tx.put(RUNS, run)
    tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))
    tx.put(ENVIRONMENTS, replace(environment, waiting=f"the rollback to release {target.number} is checked"))
    return Message(f"{said} (run {run.id})", run.id)


def busy(tx: Transaction, environment: str) -> bool:
    """While a rollback is checked or a database restored, no release is composed."""
    return bool(open_runs(tx, KIND, environment))


def _ways_back(
    context: Context,
    known: tuple[Schema, ...],
    keys: tuple[str, ...],
    target: Release,
    build: Build,
    *,
    confirmed: bool,
) -> dict[str, SchemaChange]:
    """The backup of each database that the release does not work with, once a person knows what is lost."""
    if not keys:
        raise Conflict(
            f"release {target.number} works on today's schema: nothing has to be restored",
            hint="Roll back without --restore; no data are lost then.",
        )
    found: dict[str, SchemaChange] = {}
    for schema in known:
        way = schema.way_back(target.number, build.digest) if schema.key in keys else None
        if way is not None and Path(way.backup).is_file():
            found[schema.key] = way
    missing = [key for key in keys if key not in found]
    if missing:
        raise NotFound(
            f"there is no backup of {_variable(missing[0])} with a schema that release {target.number} works on",
            hint="Push a change that makes the schema fit again.",
        )
    if not confirmed:
        told = " ".join(_lost(context.clock.now(), key, change) for key, change in found.items())
        raise Refused(
            f"this loses data. {told}",
            hint="Add --yes to do it; a backup of today's database is taken first.",
        )
    return found


def _lost(now: datetime, key: str, change: SchemaChange) -> str:
    """What a restore means, in words."""
    return (
        f"{_variable(key)} goes back to what it was {_age(now - change.taken)} ago, before release {change.release}: "
        "all that was written since is lost."
    )


def _variable(key: str) -> str:
    """A database as people name it; no variable has a hyphen."""
    return key.partition("-")[0]


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "a moment"


def _hint(context: Context, known: tuple[Schema, ...], keys: tuple[str, ...], target: Release, build: Build) -> str:
    """What to do where the check fails: the restore is offered where there is a backup for it."""
    ways = {
        schema.key: way
        for schema in known
        if schema.key in keys and (way := schema.way_back(target.number, build.digest)) is not None
    }
    if set(ways) != set(keys):
        return "Nothing was changed. Push a change that makes the schema fit again."
    told = " ".join(_lost(context.clock.now(), key, way) for key, way in ways.items())
    line = f"conveyor rollback {target.environment_name} --to {target.number} --restore"
    return f"Nothing was changed. `{line}` would bring the database back too: {told}"


def _run(
    context: Context,
    environment: Environment,
    target: Release,
    build: Build,
    steps: tuple[Step, ...],
    request: requests.Rollback,
    changes: dict[str, SchemaChange],
    hint: str,
) -> Run:
    params = {
        "environment": environment.id,
        "release": target.number,
        "build": build.id,
        "secrets": target.secrets,
        "reason": request.reason,
        "backups": {key: change.backup for key, change in changes.items()},
        "hint": hint,
    }
    now, id_ = context.clock.now(), context.new_id()
    return Run(id_, target.project, KIND, environment.id, params, steps, now, reason=f"back to release {target.number}")


class RollbackRecipe:
    """Checks a release's code on a copy of the database, restores if that was asked for, and lets the release back."""

    kind = KIND
    at_once = 1

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        verb, name = verb_of(step)
        build, secrets = built(self._context, run)
        backup = run.params["backups"].get(migration.of_service(build.config, name).key, "")
        trial = Trial(
            told=f"release {run.params['release']} cannot come back",
            where="on the backup" if backup else "on today's schema",
            who=f"{name}@{build.commit[:8]} (release {run.params['release']})",
            hint="Nothing was changed." if backup else run.params["hint"],
            place=migration.of_service(build.config, name).name,
        )
        if verb is Verb.BACKUP:
            backup = f"before-restore-{run.id}-{name}"
        return command(self._context, run, step, job, build, secrets, trial, backup=backup)

    def complete(self, run: Run, tx: Transaction) -> Run:
        context = self._context
        self._record(run, tx)
        sweep(context, run, tx)
        environment = tx.need(ENVIRONMENTS, run.params["environment"])
        target = tx.need(RELEASES, f"{environment.id}/{run.params['release']}")
        rejection.go_back(context, tx, replace(environment, waiting=""), target, run.params["reason"])
        return run

    def failed(self, run: Run, tx: Transaction) -> Run:
        self._record(run, tx)
        sweep(self._context, run, tx)
        return replace(run, error=run.error.partition(": ")[2] or run.error)

    def _record(self, run: Run, tx: Transaction) -> None:
        """Which databases are restored, and that the build works on them."""
        context, states = self._context, {step.name: step for step in run.steps}
        build, _ = built(context, run, tx)
        for database in migration.databases(build.config):
            known = tx.get(SCHEMAS, f"{run.params['environment']}/{database.key}")
            if known is None or f"{Verb.NEW}:{database.name}" not in states:
                continue
            checked = all(states[f"{Verb.NEW}:{name}"].state is StepState.SUCCEEDED for name in database.services)
            proven = (build.digest,) if checked else ()
            step = states.get(f"{Verb.RESTORE}:{database.name}")
            made = schemas.report(context, run, step, "migrated.json", Migrated) if step else None
            if step is None and checked:
                tx.put(SCHEMAS, known.prove(proven))
            elif made is not None:
                backup = run.params["backups"][database.key]
                change = next(each for each in known.changes if each.backup == backup)
                spare = schemas.backup(context, run, database)
                tx.put(SCHEMAS, known.restore(change, made.after.schema, spare, proven))
                data = {"database": database.variable, "release": change.release, "taken": change.taken, "kept": spare}
                tx.append(
                    context.event("database.restored", f"environment/{run.params['environment']}", run.project, **data)
                )
