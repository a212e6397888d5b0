"""Secrets: a value that redacts itself, its versions, and which of them an environment may use. Pure."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

REDACTED = "***"
TEST, PREVIEW = "test", "preview"
"""Environments that only hold secrets: of builds and test steps, and of all previews together."""
LONGEST = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("PATH", "PORT", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Secret:
    """Text that no log, traceback or document shows; `reveal` gives it to the one who needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One value that a name had in an environment, sealed. It stays as it is: a rollback needs the old value."""

    environment: str  # id: project/production, project/test, project/preview
    name: str
    version: int
    sealed: str  # empty: from here on the name has no value
    created: datetime

    @property
    def id(self) -> str:
        return secret_id(self.environment, self.name, self.version)


@dataclass(frozen=True, slots=True)
class SecretView:
    """What may be told of a secret. `used_by`: services and workers of the newest build that declare it."""

    environment: str  # name
    name: str
    version: int
    created: datetime
    used_by: tuple[str, ...] = ()
    ruled_out: str = ""  # why its newest version is not used


def secret_id(environment: str, name: str, version: int) -> str:
    """A record's key, and what its sealed value is bound to: it cannot be passed off as another's."""
    return f"{environment}/{name}@{version}"


def scope(environment_name: str) -> str:
    """The environment that holds the secrets of this one: previews share theirs."""
    return PREVIEW if environment_name.startswith("preview-") else environment_name


def available(history: Iterable[SecretVersion]) -> tuple[int, ...]:
    """The versions that may be used, newest first, from the history newest first: none older than a removal."""
    found = []
    for record in history:
        if not record.sealed:
            break
        found.append(record.version)
    return tuple(found)


def component(name: str, version: int) -> str:
    """As releases and rejections name it."""
    return f"secret:{name}@{version}"


def missing(name: str, environment_name: str) -> str:
    """Why there is no release, and what to do."""
    held = scope(environment_name)
    return f"secret {name} has no value; set it with `conveyor secret set {name} --env {held}`"


def wrong_name(name: str) -> str:
    """Why this cannot name a secret; empty when it can."""
    if not _NAME.fullmatch(name) or len(name) > 128:
        return "cannot name a secret"
    return "is set by Conveyor itself" if name in _RESERVED or name.startswith("CONVEYOR_") else ""


def wrong_value(value: str) -> str:
    """Why this cannot be a secret's value; empty when it can. Never quotes it."""
    if not value:
        return "is empty"
    if "\0" in value:
        return "has a NUL byte, which no environment variable can hold"
    return f"is longer than {LONGEST // 1024} KiB" if len(value.encode()) > LONGEST else ""
