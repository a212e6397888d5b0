"""The recipe of migrations: proven on a copy for the live and the new code, then, after a backup, run for real."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from conveyor.delivery import schemas
from conveyor.delivery.migration_command import Trial, command, unchanged
from conveyor.domain import migration
from conveyor.domain.environment import placed
from conveyor.domain.migration import Database, Migrated, Verb
from conveyor.domain.release import Build, Release
from conveyor.domain.run import Run, Step, StepState
from conveyor.domain.schema import Schema, SchemaChange, to_migrate, unproven
from conveyor.engine.context import Context
from conveyor.engine.recipe import Command
from conveyor.stores.collections import BUILDS, RUNS, SCHEMAS
from conveyor.stores.records import Transaction

KIND, CLEANUP = "migrate", "cleanup"
_NEW, _SAME = "on the new schema", "on today's schema"
_EXPAND = (
    "Expand first, contract in a later release: keep what the live code reads until no live code reads it any more."
)
_UNTOUCHED = "Only a copy of the database was touched."


def new_run(
    id_: str, tx: Transaction, release: Release, live: Release | None, now: datetime, *, again: bool
) -> Run | None:
    """What a release's databases need before it starts; None: nothing.

    `again`: its content was live before, so that it has nothing to migrate; but the schema may have gone on since, and
    then it must be seen working on a copy of it.
    """
    build = _placed(tx, release)
    known = schemas.of(tx, release.environment)
    before = _placed(tx, live) if live else None
    same = live is not None and live.build == release.build and not _moved(build, live, release)
    if same or again:
        steps = () if same else migration.checks(build.config, unproven(known, build))
    elif to_migrate(known, build) or (live is not None and _moved(build, live, release)):
        steps = migration.steps(build.config, before.config if before else None)
    else:
        steps = ()
    if not steps:
        return None
    params = {
        "environment": release.environment,
        "release": release.number,
        "build": build.id,
        "secrets": release.secrets,
        "live": before.id if before else "",
        "live_release": live.number if live else 0,
        "live_secrets": live.secrets if live else {},
    }
    reason = f"release {release.number}"
    return Run(id_, release.project, KIND, release.id, params, steps, now, reason=reason)


def _placed(tx: Transaction, release: Release) -> Build:
    return placed(tx.need(BUILDS, f"{release.project}/{release.build}"), release.environment_name)


def _moved(build: Build, live: Release, release: Release) -> bool:
    """Whether a secret with a database's URL has another value now: then it is another database."""
    variables = {database.variable for database in migration.databases(build.config)}
    return any(live.secrets.get(name) != release.secrets.get(name) for name in variables)


class MigrateRecipe:
    kind = KIND
    at_once = 2

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        verb, name = verb_of(step)
        live = verb is Verb.OLD
        build, secrets = built(self._context, run, live=live)
        mine, _ = built(self._context, run)
        rehearsed = any(verb_of(other)[0] is Verb.REHEARSE for other in run.steps)
        database = migration.of_service(build.config, name)
        new = next(d for d in migration.databases(mine.config) if d.key == database.key)
        number = run.params["live_release"] if live else run.params["release"]
        whose = f"live now, release {number}" if live else f"release {number}"
        trial = Trial(
            told=f"release {run.params['release']} cannot be rolled out",
            where=_NEW if rehearsed else _SAME,
            who=f"{name}@{build.commit[:8]} ({whose})",
            hint=f"{_EXPAND} {_UNTOUCHED}" if live else _UNTOUCHED,
            place=migration.places(mine.config, (new.migrating or (new.name,))[-1])[0],
        )
        done = verb in (Verb.OLD, Verb.BACKUP) and rehearsed and unchanged(self._context, run, new.migrating)
        backup = f"before-release-{run.params['release']}-{database.key.lower()}" if verb is Verb.BACKUP else ""
        return command(self._context, run, step, job, build, secrets, trial, backup=backup, done=done)

    def complete(self, run: Run, tx: Transaction) -> Run:
        sweep(self._context, run, tx)
        self._record(run, tx)
        return schemas.told(self._context, run)

    def failed(self, run: Run, tx: Transaction) -> Run:
        """A database that was migrated before another one failed is migrated all the same, and on record."""
        sweep(self._context, run, tx)
        self._record(run, tx)
        return schemas.told(self._context, run)

    def _record(self, run: Run, tx: Transaction) -> None:
        build, _ = built(self._context, run, tx)
        live = built(self._context, run, tx, live=True)[0] if run.params["live"] else None
        states = {step.name: step for step in run.steps}
        for database in migration.databases(build.config):
            known = tx.get(SCHEMAS, f"{run.params['environment']}/{database.key}")
            proven: tuple[str, ...] = (build.digest,)
            if f"{Verb.MIGRATE}:{(database.migrating or ('',))[0]}" in states:
                if migration.sharing(database, live.config if live else None) and live is not None:
                    proven = (live.digest, build.digest)
                self._migrated(run, tx, database, known, proven)
            elif known is not None and _passed(states.get(f"{Verb.NEW}:{database.name}")):
                tx.put(SCHEMAS, known.prove(proven))

    def _migrated(
        self, run: Run, tx: Transaction, database: Database, known: Schema | None, proven: tuple[str, ...]
    ) -> None:
        """What the real migration made of one database, however far it came."""
        context, steps = self._context, [run.step(f"{Verb.MIGRATE}:{name}") for name in database.migrating]
        begun = [step for step in steps if step.state not in (StepState.PENDING, StepState.CANCELLED) or step.started]
        if not begun:
            return
        reports = [schemas.report(context, run, step, "migrated.json", Migrated) for step in begun]
        first, last = reports[0], reports[-1]
        before = first.before.schema if first else (known.fingerprint if known else "")
        after = last.after.schema if last else f"unknown: run {run.id} failed"
        backup = schemas.backup(context, run, database)
        record = known or Schema(run.params["environment"], database.key, before)
        if known is None and len(proven) > 1:
            record = record.prove(proven[:1])  # it was live on the schema that there was before the first record
        change = SchemaChange(run.params["release"], before, after, backup, context.clock.now())
        whole = all(_passed(step) for step in steps)
        tx.put(SCHEMAS, record.migrate(change, proven if whole else ()))
        tx.append(
            context.event(
                "database.migrated",
                f"environment/{run.params['environment']}",
                run.project,
                release=run.params["release"],
                database=database.variable,
                backup=backup,
                seconds=round(sum(report.seconds for report in reports if report), 3),
            )
        )


class CleanupRecipe:
    """Removes the copies of databases on a server, after the run that made them has ended, however it ended."""

    kind = CLEANUP
    at_once = 1

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        build, secrets = built(self._context, run)
        return command(self._context, run, step, job, build, secrets, Trial(), owner=run.params["of"])

    def complete(self, run: Run, tx: Transaction) -> Run:
        return run

    def failed(self, run: Run, tx: Transaction) -> None:
        """The run's own event says it; a copy that is left over harms nobody but the disk."""


def sweep(context: Context, run: Run, tx: Transaction) -> None:
    """After a run with copies: those on a server are removed by a run of their own, which a crash cannot prevent."""
    steps = migration.drops(built(context, run, tx)[0].config)
    if steps:
        params = {**run.params, "of": run.id}
        now = context.clock.now()
        tx.put(RUNS, Run(context.new_id(), run.project, CLEANUP, run.subject, params, steps, now, reason=run.reason))


def built(
    context: Context, run: Run, tx: Transaction | None = None, *, live: bool = False
) -> tuple[Build, dict[str, int]]:
    """The build that a run is about, or the one that is live meanwhile, as its environment has it; and its secrets."""
    key = run.params["live" if live else "build"]
    if tx is None:
        with context.records.read() as reading:
            build = reading.need(BUILDS, key)
    else:
        build = tx.need(BUILDS, key)
    secrets: dict[str, int] = run.params["live_secrets" if live else "secrets"]
    return placed(build, run.params["environment"].rpartition("/")[2]), secrets


def verb_of(step: Step) -> tuple[Verb, str]:
    verb, _, name = step.name.partition(":")
    return Verb(verb), name


def _passed(step: Step | None) -> bool:
    return step is not None and step.state in (StepState.SUCCEEDED, StepState.CACHED)
