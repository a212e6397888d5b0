"""What may be asked of environments: the part of the desk that shows them, promotes, approves, rejects and removes."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.config.settings import Settings
from conveyor.delivery import environments, previews
from conveyor.delivery.lookup import latest_build, live_release
from conveyor.domain import requests
from conveyor.domain.environment import hosts
from conveyor.domain.release import Environment
from conveyor.domain.state import Project
from conveyor.domain.views import EnvironmentView, Message
from conveyor.engine.context import Context
from conveyor.stores.collections import ENVIRONMENTS, PROJECTS, ROLLOUTS
from conveyor.stores.records import Transaction

_MOST = 1000


class EnvironmentDesk:
    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def list(self, project: str) -> list[EnvironmentView]:
        with self._context.records.read() as tx:
            tx.need(PROJECTS, project)
            return [
                view
                for place, each in enumerate(tx.find(PROJECTS, limit=1000, newest=False))
                if each.name == project
                for view in views(self._context.settings, tx, each, first=place == 0)
            ]

    def promote(self, project: str, target: str, request: requests.Promote) -> Message:
        context = self._context
        with context.records.transaction() as tx:
            said = environments.promote(context, tx, project, request.source, target, again=request.again)
        return self._told(said)

    def approve(self, project: str, name: str, request: requests.Approve) -> Message:
        with self._context.records.transaction() as tx:
            said = environments.approve(self._context, tx, f"{project}/{name}", request.key)
        return self._told(said)

    def reject(self, project: str, name: str, request: requests.Reject) -> Message:
        with self._context.records.transaction() as tx:
            said = environments.reject(self._context, tx, f"{project}/{name}", request.reason, request.key)
        return self._told(said)

    def remove(self, project: str, name: str, request: requests.Remove) -> Message:
        with self._context.records.transaction() as tx:
            said = previews.remove(tx, project, name, request.reason)
        return self._told(said)

    def _told(self, said: str) -> Message:
        self._poke()
        return Message(said)


def views(settings: Settings, tx: Transaction, project: Project, *, first: bool) -> list[EnvironmentView]:
    """All environments of a project; one that is declared and has nothing yet is among them, `first`: the project
    whose production has the public port's plain address."""
    ruling = latest_build(tx, project.name)
    declared = ruling.config.environments if ruling else {}
    records = tx.find(ENVIRONMENTS, where={"project": project.name}, limit=_MOST, newest=False)
    missing = set(declared) - {each.name for each in records}
    records += [Environment(project.name, name) for name in declared if name in missing]
    found = []
    for record in records:
        config = declared.get(record.name)
        found.append(
            EnvironmentView(
                record.project,
                record.name,
                live_release(tx, record),
                tx.get(ROLLOUTS, record.rollout) if record.rollout else None,
                record.waiting,
                record.rejected,
                address=_address(settings, record, first=first),
                source=(config.source or "") if config else "",
                proposal=record.proposal,
                branch=record.branch or (config.branch if config and config.source is None else ""),
                expires=record.expires,
                note=_note(record, known=ruling is None or config is not None or bool(record.branch)),
            )
        )
    return found


def _address(settings: Settings, environment: Environment, *, first: bool) -> str:
    host = hosts(environment.project, environment.name, first=first)[0]
    return settings.public_url if host == "*" else f"http://{host}:{settings.public_port}"


def _note(environment: Environment, *, known: bool) -> str:
    if environment.ending:
        return f"it is being taken down: {environment.ending}"
    if not known:
        return (
            f"conveyor.toml does not declare it any more, and nothing new is released there; "
            f"`conveyor env rm {environment.name}` takes it down"
        )
    return ""
