"""Provenance of a model version: an in-toto Statement v1 with an SLSA provenance v1 predicate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conveyor.domain.model import ModelVersion

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD = "urn:conveyor:training:v1"


@dataclass(frozen=True, slots=True)
class Material:
    """Something that went in, with the digest that pins it."""

    uri: str
    digest: dict[str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """How a version was made. `sha256` of each file of the artifact, for readers that do not know BLAKE3."""

    materials: tuple[Material, ...]
    builder: str
    conveyor: str  # the version that worked
    seed: int
    started: datetime
    sha256: Mapping[str, str]


def statement(version: ModelVersion, made: Made) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": made.sha256[name], "blake3": digest}}
            for name, digest in sorted(version.artifact.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "project": version.project,
                    "model": version.name,
                    "version": version.version,
                    "params": version.params,
                    "seed": made.seed,
                },
                "internalParameters": {"reason": version.reason, "code": version.code},
                "resolvedDependencies": [{"uri": each.uri, "digest": each.digest} for each in made.materials],
            },
            "runDetails": {
                "builder": {"id": made.builder, "version": {"conveyor": made.conveyor}},
                "metadata": {
                    "invocationId": version.run,
                    "startedOn": made.started.isoformat(),
                    "finishedOn": version.created.isoformat(),
                },
            },
        },
    }


def materials_of(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """uri -> digest, as a statement says it."""
    return {each["uri"]: each["digest"] for each in found["predicate"]["buildDefinition"]["resolvedDependencies"]}


def contradicts(found: Mapping[str, Any], version: ModelVersion) -> str:
    """Why a statement is not of this version and these bytes, as a clause; empty: it is."""
    if found.get("_type") != STATEMENT or found.get("predicateType") != PREDICATE:
        return "its provenance is of another kind"
    asked = found["predicate"]["buildDefinition"]["externalParameters"]
    named = f"{asked['project']}/{asked['model']}@{asked['version']}"
    if named != version.id:
        return f"its provenance is that of {named}"
    signed = {each["name"]: each["digest"]["blake3"] for each in found["subject"]}
    for name in sorted({*signed, *version.artifact}):
        if signed.get(name) != version.artifact.get(name):
            return f"its record names another {name} than was signed"
    return ""
