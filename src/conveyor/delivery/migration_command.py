"""How the process of one step on a database is started: in the service's own folder, with its variables and secrets."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from conveyor.delivery import secrets
from conveyor.delivery.targets import service_environment
from conveyor.domain import migration, wire
from conveyor.domain.migration import MigrationSpec, Rehearsal, Verb
from conveyor.domain.release import Build
from conveyor.domain.run import Run, Step
from conveyor.effects.environment import clean_environment
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.stores.records import Transaction


@dataclass(frozen=True, slots=True)
class Trial:
    """What a failed check means, in words; and the copy that it is made on."""

    told: str = ""
    where: str = ""
    who: str = ""
    hint: str = ""
    place: str = ""


def command(
    context: Context,
    run: Run,
    step: Step,
    job: Path,
    build: Build,
    versions: dict[str, int],
    trial: Trial,
    *,
    backup: str = "",
    done: bool = False,
    owner: str = "",
) -> Command:
    """`backup`: a name for the one to write, or the path of the one to read. `owner`: the run with the copies."""
    settings, (verb, _, name) = context.settings, step.name.partition(":")
    service, part = build.config.services[name], build.part(name)
    place, source = migration.places(build.config, name)
    if verb in (Verb.OLD, Verb.NEW):
        place = trial.place or place
    if verb == Verb.LINT:
        place = source or place
    id_, environment = owner or run.id, run.params["environment"]
    lines = {Verb.LINT: service.migrate_sql, Verb.REHEARSE: service.migrate, Verb.MIGRATE: service.migrate}
    spec = MigrationSpec(
        verb=Verb(verb),
        variable=service.database or "",
        service=name,
        release=run.params["release"],
        place=f"{id_}-{place}",
        folder=str(settings.work / id_),
        told=trial.told,
        where=trial.where,
        who=trial.who,
        hint=trial.hint,
        line=lines.get(Verb(verb), service.run) or "",
        health=service.health,
        smoke=service.smoke or "",
        start_seconds=service.rollout.start_timeout.total_seconds(),
        lock_seconds=service.lock_timeout.total_seconds(),
        source=f"{id_}-{source}" if source and verb == Verb.REHEARSE else "",
        backup=str(settings.home / "backups" / environment / backup) if backup else "",
    )
    env = clean_environment(settings.envs / part.environment) | service_environment(settings, environment, service)
    with context.records.read() as tx:
        sealed = _sealed(context, tx, environment, service.secrets, versions)
    return Command(
        argv=(sys.executable, "-I", "-m", "conveyor.effects.migration", str(job / SPEC), str(job / OUT)),
        cwd=settings.builds / part.tree,
        env=env,
        spec=wire.to_json(spec),
        done=done,
        sealed=sealed,
    )


def _sealed(
    context: Context, tx: Transaction, environment: str, names: tuple[str, ...], versions: dict[str, int]
) -> Path | None:
    project, _, name = environment.partition("/")
    own = {each: versions[each] for each in names if each in versions}
    return secrets.sealed_file(context, tx, project, name, own)


def unchanged(context: Context, run: Run, services: tuple[str, ...]) -> bool:
    """Whether the rehearsals of these services changed not one byte."""
    reports = [context.settings.work / run.id / f"rehearsed-{name}.json" for name in services]
    return bool(reports) and all(wire.from_json(path.read_bytes(), Rehearsal).unchanged for path in reports)
