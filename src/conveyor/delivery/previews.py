"""The controller of previews: a branch's own environment begins with a push, and ends in time, with its branch or by
a person. What is being taken down is done step by step, so that a crash leaves nothing behind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime

from conveyor.delivery import aliases, preview_setup
from conveyor.delivery.lookup import latest_build
from conveyor.domain.environment import host, previewed
from conveyor.domain.preview import is_preview, names
from conveyor.domain.project import ProjectConfig
from conveyor.domain.release import Environment
from conveyor.domain.rollout import Phase
from conveyor.domain.run import RunState
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound
from conveyor.stores.collections import (
    ALIASES,
    ENVIRONMENTS,
    INSTANCES,
    PROJECTS,
    RECEIPTS,
    RELEASES,
    ROLLOUTS,
    RUNS,
    SCHEMAS,
)
from conveyor.stores.records import Transaction

_EVERY = 1.0
_MOST = 1000  # previews of a project


def pushed(context: Context, tx: Transaction, project: str, branch: str, config: ProjectConfig) -> None:
    """A push makes the branch's preview if it gets one, and lets it live on if it is there."""
    ruling = latest_build(tx, project)
    config = ruling.config if ruling else config
    if not previewed(config, branch):
        return
    name = _name(tx, project, branch)
    found = tx.get(ENVIRONMENTS, f"{project}/{name}")
    expires = context.clock.now() + config.preview.expires
    if found is not None and (not found.ending or found.live is not None or found.rollout is not None):
        tx.put(ENVIRONMENTS, replace(found, expires=expires, ending=""))
        return
    # One that was stopped already begins anew, with the numbers of its releases going on.
    number = found.releases if found else 0
    tx.put(ENVIRONMENTS, Environment(project, name, releases=number, branch=branch, expires=expires))
    subject = f"environment/{project}/{name}"
    address = f"http://{host(project, name)}:{context.settings.public_port}"
    tx.append(
        context.event("environment.created", subject, project, branch=branch, address=address, expires=str(expires))
    )


def _name(tx: Transaction, project: str, branch: str) -> str:
    """The branch's preview if it has one; else the plain name, unless that is another branch's."""
    plain, sure = names(branch)
    known = {name: tx.get(ENVIRONMENTS, f"{project}/{name}") for name in (plain, sure)}
    mine = [name for name, found in known.items() if found is not None and found.branch == branch]
    return mine[0] if mine else sure if known[plain] else plain


def remove(tx: Transaction, project: str, name: str, reason: str) -> str:
    """Asks for an environment to be taken down: a preview, or one that `conveyor.toml` does not declare any more."""
    environment = tx.get(ENVIRONMENTS, f"{project}/{name}")
    if environment is None:
        raise NotFound(f"{project} has no environment {name!r}", hint="`conveyor env list` shows what there is.")
    ruling = latest_build(tx, project)
    if not environment.branch and ruling is not None and name in ruling.config.environments:
        raise Conflict(
            f"{name} is declared in conveyor.toml",
            hint=f"Remove [environment.{name}] there and push; then this takes down what is left of it.",
        )
    tx.put(ENVIRONMENTS, replace(environment, ending=reason))
    return f"{name} is being taken down" + ("" if environment.branch else "; its databases are left where they are")


class Previews:
    """Ends what is over, and clears away what is being taken down."""

    name = "previews"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen = -1  # the records' revision at the last look
        self._next: datetime | None = None  # when the next one expires

    def turn(self) -> float:
        context = self._context
        revision, now = context.records.revision, context.clock.now()
        if revision == self._seen and (self._next is None or now < self._next):
            return _EVERY
        with context.records.read() as tx:
            projects = tx.find(PROJECTS, limit=1000)
            found = [
                (environment, project.heads)
                for project in projects
                for environment in tx.find(ENVIRONMENTS, where={"project": project.name}, limit=_MOST)
                if environment.branch or environment.ending
            ]
        self._seen = revision
        self._next = min((e.expires for e, _ in found if e.expires and not e.ending), default=None)
        for environment, heads in found:
            if environment.ending:
                self._clear(environment)
            elif reason := _over(environment, heads, now):
                self._end(environment.id, reason)
        return _EVERY

    def _end(self, id_: str, reason: str) -> None:
        """From here on nothing is composed or started for it; the reason is what its last event will say."""
        with self._context.transaction() as tx:
            environment = tx.get(ENVIRONMENTS, id_)
            if environment is not None and not environment.ending:
                tx.put(ENVIRONMENTS, replace(environment, ending=reason))

    def _clear(self, environment: Environment) -> None:
        """One step of taking down: no release and no run, then no process, then no file and no record."""
        with self._context.records.read() as tx:
            prefix = f"{environment.id}/"
            alive = any(each.target.startswith(prefix) for each in tx.find(INSTANCES, limit=10_000))
            runs = tx.find(RUNS, where={"subject": environment.id, "state": RunState.RUNNING})
        if environment.live is not None or environment.rollout is not None or not all(run.cancel for run in runs):
            self._stop(environment.id)
        if environment.live is not None or environment.rollout is not None or alive or runs:
            self._seen = -1  # it is looked at again, whether or not anything is written
            return
        if is_preview(environment.name):
            if self._dropping(environment.id):
                return
            for folder in ("databases", "backups", "previews"):
                shutil.rmtree(self._context.settings.home / folder / environment.id, ignore_errors=True)
        self._forget(environment.id)

    def _dropping(self, id_: str) -> bool:
        """Databases on a server are dropped by a run, which is waited for like any other."""
        with self._context.records.read() as tx:
            build, variables = preview_setup.leftovers(tx, tx.need(ENVIRONMENTS, id_))
        if variables:
            with self._context.transaction() as tx:
                preview_setup.drop(self._context, tx, tx.need(ENVIRONMENTS, id_), build, variables)
        return bool(variables)

    def _stop(self, id_: str) -> None:
        """No traffic and no process any more: the controller of rollouts makes the world follow."""
        with self._context.transaction() as tx:
            environment = tx.need(ENVIRONMENTS, id_)
            rollout = tx.get(ROLLOUTS, environment.rollout) if environment.rollout else None
            runs = tx.find(RUNS, where={"subject": id_, "state": RunState.RUNNING})
            if rollout is not None:
                tx.put(ROLLOUTS, replace(rollout, phase=Phase.ROLLED_BACK, abort=environment.ending))
                runs += tx.find(RUNS, where={"subject": rollout.id, "state": RunState.RUNNING})
            for run in runs:
                tx.put(RUNS, replace(run, cancel=environment.ending))
            tx.put(ENVIRONMENTS, replace(environment, live=None, rollout=None, proposal=None, exact=None, waiting=""))

    def _forget(self, id_: str) -> None:
        context = self._context
        with context.transaction() as tx:
            environment = tx.get(ENVIRONMENTS, id_)
            if environment is None or not environment.ending:
                return
            for number in range(1, environment.releases + 1):
                tx.delete(RELEASES, f"{id_}/{number}")
                tx.delete(ROLLOUTS, f"{id_}/{number}")
                tx.delete(RECEIPTS, f"{id_}/{number}")
            for schema in tx.find(SCHEMAS, where={"environment": id_}):
                tx.delete(SCHEMAS, schema.id)
            ruling = latest_build(tx, environment.project)
            for model in ruling.config.models if ruling else ():
                tx.delete(ALIASES, aliases.key(environment, model))
            tx.delete(ENVIRONMENTS, id_)
            event = context.event(
                "environment.ended",
                f"environment/{id_}",
                environment.project,
                branch=environment.branch,
                reason=environment.ending,
            )
            tx.append(event)


def _over(environment: Environment, heads: dict[str, str], now: datetime) -> str:
    if environment.branch not in heads:
        return f"branch {environment.branch} was deleted"
    if environment.expires is not None and environment.expires <= now:
        return f"nothing was pushed to {environment.branch} before it expired"
    return ""
