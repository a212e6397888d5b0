"""Secrets of environments: set and removed by people, chosen by releases, given to processes sealed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from conveyor.delivery.lookup import latest_build
from conveyor.domain import wire
from conveyor.domain.masking import mask
from conveyor.domain.release import Build
from conveyor.domain.secret import (
    PREVIEW,
    TEST,
    Secret,
    SecretVersion,
    SecretView,
    available,
    component,
    scope,
    secret_id,
    wrong_name,
    wrong_value,
)
from conveyor.domain.views import Message
from conveyor.effects.files import write_if_changed
from conveyor.effects.vault import Vault, open_vault
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.collections import ENVIRONMENTS, SECRETS
from conveyor.stores.objects import digest_bytes
from conveyor.stores.records import Transaction

_LIMIT = 10_000
_OFFERED = 20
"""How many versions of a name a release may choose from: the newest that no rollout ruled out."""


def choices(tx: Transaction, project: str, environment_name: str, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """For each name the versions that a release may use, newest first; without those that have none."""
    held = f"{project}/{scope(environment_name)}"
    found = {name: available(_history(tx, held, name)) for name in names}
    return {name: versions for name, versions in found.items() if versions}


def of_tests(tx: Transaction, project: str) -> dict[str, int]:
    """The secrets of builds and test steps: all of the environment `test`."""
    return {record.name: record.version for record in _newest(tx, f"{project}/{TEST}") if record.sealed}


def sealed_file(
    context: Context, tx: Transaction, project: str, environment_name: str, versions: dict[str, int]
) -> Path | None:
    """The file that `effects.sealed` starts a command with; named by its content, which nobody can read without the
    key. None where there are no secrets."""
    if not versions:
        return None
    held = f"{project}/{scope(environment_name)}"
    records = [tx.need(SECRETS, secret_id(held, name, version)) for name, version in sorted(versions.items())]
    home = context.settings.home
    content = wire.to_json({"home": str(home), "secrets": {each.name: [each.id, each.sealed] for each in records}})
    path = home / "sealed" / f"{digest_bytes(content)[:16]}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_if_changed(path, content, mode=0o600)
    return path


def redacted(
    context: Context, tx: Transaction, text: str, project: str, environment_name: str, versions: dict[str, int]
) -> str:
    """Text that a process with these secrets wrote elsewhere than to its output, such as a test report."""
    if not versions or not text:
        return text
    vault = _vault(context)
    held = f"{project}/{scope(environment_name)}"
    records = [tx.need(SECRETS, secret_id(held, name, version)) for name, version in versions.items()]
    return mask(text, [vault.unseal(record.sealed, record.id) for record in records])


def told(
    context: Context, tx: Transaction, project: str, environment_name: str, versions: dict[str, int]
) -> dict[str, str]:
    """A digest of each value, by which a cache knows whether it is another; nobody without the key can guess at it."""
    if not versions:
        return {}
    vault, held = _vault(context), f"{project}/{scope(environment_name)}"
    records = [tx.need(SECRETS, secret_id(held, name, version)) for name, version in versions.items()]
    return {each.name: vault.digest(vault.unseal(each.sealed, each.id)) for each in records}


def revealed(
    context: Context, tx: Transaction, project: str, environment_name: str, prefixes: tuple[str, ...]
) -> dict[str, str]:
    """The newest values of an environment's secrets whose names begin so: for what the control plane itself reaches."""
    found = [each for each in _newest(tx, f"{project}/{scope(environment_name)}") if each.sealed]
    wanted = [each for each in found if each.name.startswith(prefixes)]
    vault = _vault(context) if wanted else None
    return {each.name: vault.unseal(each.sealed, each.id) for each in wanted if vault}


def put(context: Context, tx: Transaction, project: str, environment_name: str, name: str, value: Secret) -> Message:
    """A new version of a secret; equal to the newest one, nothing happens."""
    held = _held(tx, project, environment_name)
    if why := wrong_name(name):
        hint = "Use letters, digits and _, and not one of Conveyor's own variables."
        raise InputRejected(f"{name[:128]!r} {why}", hint=hint)
    if why := wrong_value(value.reveal()):
        raise InputRejected(f"the value of {name} {why}", hint="Give its value on standard input or in a file.")
    kept = [record for record in _newest(tx) if record.sealed]
    vault = _vault(context, make=not kept)
    if kept:
        vault.unseal(kept[0].sealed, kept[0].id)  # a second key must not creep in beside the one in use
    history = _history(tx, held, name)
    before = history[0] if history else None
    shown = environment_name
    if before and before.sealed and Secret(vault.unseal(before.sealed, before.id)) == value:
        return Message(f"secret {name} of {shown} has this value already, as version {before.version}")
    version = before.version + 1 if before else 1
    sealed = vault.seal(value.reveal(), secret_id(held, name, version))
    tx.put(SECRETS, SecretVersion(held, name, version, sealed, context.clock.now()))
    _tell(context, tx, project, held, name, version, "changed" if before and before.sealed else "set")
    return Message(f"secret {name} of {shown} is version {version} now; {_follows(tx, project, held, name)}")


def remove(context: Context, tx: Transaction, project: str, environment_name: str, name: str) -> Message:
    """From here on the name has no value. What runs keeps its own until a release without it."""
    held = _held(tx, project, environment_name)
    history = _history(tx, held, name)
    if not history or not history[0].sealed:
        raise NotFound(
            f"there is no secret {name[:128]!r} in {environment_name}", hint="`conveyor secret list` shows them."
        )
    version = history[0].version + 1
    tx.put(SECRETS, SecretVersion(held, name, version, "", context.clock.now()))
    _tell(context, tx, project, held, name, version, "removed")
    users = _users(latest_build(tx, project), name) if held != f"{project}/{TEST}" else ()
    after = f"; {', '.join(users)} needs it, so there is no next release until it is set again" if users else ""
    return Message(f"secret {name} of {environment_name} was removed{after}")


def listing(tx: Transaction, project: str, environment_name: str = "") -> list[SecretView]:
    """Names, versions and dates; never values."""
    build = latest_build(tx, project)
    if environment_name:
        scopes = [_held(tx, project, environment_name)]
    else:
        found = {record.environment for record in _newest(tx)}
        scopes = sorted(held for held in found if held.startswith(f"{project}/"))
    views = []
    for held in scopes:
        environment = tx.get(ENVIRONMENTS, held)
        rejected = environment.rejected if environment else {}
        for record in sorted(_newest(tx, held), key=lambda each: each.name):
            if record.sealed:
                users = _users(build, record.name) if held != f"{project}/{TEST}" else ()
                users += _steps(build, record.name) if held == f"{project}/production" else ()
                out = rejected.get(component(record.name, record.version), "")
                name = held.partition("/")[2]
                views.append(SecretView(name, record.name, record.version, record.created, users, out))
    return views


class Secrets:
    """What the desk takes and answers about secrets."""

    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def put(self, project: str, environment: str, name: str, value: Secret) -> Message:
        with self._context.records.transaction() as tx:
            said = put(self._context, tx, project, environment, name, value)
        self._poke()
        return said

    def remove(self, project: str, environment: str, name: str) -> Message:
        with self._context.records.transaction() as tx:
            said = remove(self._context, tx, project, environment, name)
        self._poke()
        return said

    def list(self, project: str, environment: str = "") -> Sequence[SecretView]:
        with self._context.records.read() as tx:
            return listing(tx, project, environment)


def _history(tx: Transaction, held: str, name: str) -> list[SecretVersion]:
    return tx.find(SECRETS, where={"environment": held, "name": name}, limit=_OFFERED)


def _newest(tx: Transaction, held: str = "") -> list[SecretVersion]:
    """The last word on every name, in one environment or in all."""
    found: dict[tuple[str, str], SecretVersion] = {}
    for record in tx.find(SECRETS, where={"environment": held} if held else None, limit=_LIMIT):
        found.setdefault((record.environment, record.name), record)
    return list(found.values())


def _held(tx: Transaction, project: str, environment_name: str) -> str:
    """The id of the environment that holds these secrets. Before the first push any name may be meant."""
    build = latest_build(tx, project)
    held = scope(environment_name)
    known = {*build.config.environments, TEST, PREVIEW} if build else {held}
    if held not in known:
        raise NotFound(
            f"project {project!r} has no environment {environment_name!r}",
            hint=f"There are: {', '.join(sorted(known))}.",
        )
    return f"{project}/{held}"


def _users(build: Build | None, name: str) -> tuple[str, ...]:
    if build is None:
        return ()
    config = build.config
    services = [f"service.{each.name}" for each in config.services.values() if name in each.secrets]
    return (*services, *(f"worker.{each.name}" for each in config.workers.values() if name in each.secrets))


def _steps(build: Build | None, name: str) -> tuple[str, ...]:
    steps = build.config.steps.values() if build else ()
    return tuple(f"step.{each.name}" for each in steps if name in each.secrets)


def _follows(tx: Transaction, project: str, held: str, name: str) -> str:
    if held == f"{project}/{TEST}":
        return "builds and tests get it from the next push on"
    if users := _users(latest_build(tx, project), name):
        return f"a release with it follows ({', '.join(users)})"
    if steps := _steps(latest_build(tx, project), name):
        return f"{', '.join(steps)} will run with it"
    return f'no service, worker or step declares it yet: secrets = ["{name}"]'


def _tell(context: Context, tx: Transaction, project: str, held: str, name: str, version: int, change: str) -> None:
    subject = f"environment/{held}"
    tx.append(context.event("secret.changed", subject, project, secret=name, version=version, change=change))


def _vault(context: Context, *, make: bool = False) -> Vault:
    return open_vault(context.settings.home, os.environ, make=make)
