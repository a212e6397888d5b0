"""What the registry allows: which versions may go live, which names an alias may have, how versions differ. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conveyor.domain.gate import Outcome
from conveyor.domain.model import ModelStatus, ModelVersion

LIVE = "live"
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_NUMBER = re.compile(r"v?\d+", re.IGNORECASE)


def barred(version: ModelVersion) -> str:
    """Why a version must not go live, as a clause; empty: it may. Every way to `live` asks this."""
    if version.status is ModelStatus.REMOVED:
        return "it was removed"
    if version.status is ModelStatus.DAMAGED:
        return "it is damaged: its last verification failed"
    if not version.verdicts:
        return "no gate has judged it"
    failing = [verdict for verdict in version.verdicts if verdict.outcome is not Outcome.PASS]
    if failing:
        told = "; ".join(f"{verdict.gate} ({verdict.outcome}): {verdict.message}" for verdict in failing)
        return f"{len(failing)} of its gates did not pass. {told}"
    if version.status is ModelStatus.REFUSED:
        return "its gates refused it"
    return ""


def reserved(alias: str) -> bool:
    """Whether an alias follows what is live in an environment: it moves by releases only."""
    return alias == LIVE or alias.startswith(f"{LIVE}-")


def environment_of(alias: str) -> str:
    """The environment that a reserved alias follows."""
    return "production" if alias == LIVE else alias.removeprefix(f"{LIVE}-")


def unfit_alias(name: str) -> str:
    """Why a name cannot be an alias, as a clause; empty: it can."""
    if not _ALIAS.fullmatch(name):
        return "an alias begins with a letter and has letters, digits, '-' and '_', at most 100"
    if name.lower() == "latest" or _NUMBER.fullmatch(name):
        return f"{name} means a version already"
    return ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two versions differ."""

    what: str
    name: str
    one: Any
    other: Any


@dataclass(frozen=True, slots=True)
class ComparedVersions:
    """Two versions of a model side by side. `changed` names kinds of inputs that differ: code, data, params, ..."""

    one: ModelVersion
    other: ModelVersion
    differences: tuple[Difference, ...] = ()
    changed: tuple[str, ...] = field(default=())


_INPUTS = ("code", "data", "params", "features")


def compare(one: ModelVersion, other: ModelVersion) -> ComparedVersions:
    """Everything that differs: what went in first, then what came out."""
    sides: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("code", {"commit": one.commit, "digest": one.code}, {"commit": other.commit, "digest": other.code}),
        ("data", one.data, other.data),
        ("params", one.params, other.params),
        ("features", _places(one), _places(other)),
        ("metrics", one.metrics, other.metrics),
        ("gates", _gates(one), _gates(other)),
        ("artifact", one.artifact, other.artifact),
        ("status", {"": one.status}, {"": other.status}),
    ]
    found = [each for what, mine, its in sides for each in _differences(what, mine, its)]
    names = {each.what for each in found}
    if "code" in names and one.code == other.code and one.code:
        names.discard("code")  # another commit with the same code that trains
    return ComparedVersions(one, other, tuple(found), tuple(name for name in _INPUTS if name in names))


def _differences(what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*one, *other])
    return [Difference(what, n, one.get(n), other.get(n)) for n in names if one.get(n) != other.get(n)]


def _places(version: ModelVersion) -> dict[str, int]:
    return {name: place for place, name in enumerate(version.signature.features)}


def _gates(version: ModelVersion) -> dict[str, str]:
    return {verdict.gate: str(verdict.outcome) for verdict in version.verdicts}
