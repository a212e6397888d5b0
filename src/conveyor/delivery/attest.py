"""Provenance of what was trained: stated, signed and kept as an object; and verified against key, record and bytes."""

from __future__ import annotations

import hashlib
import json

from conveyor import __version__
from conveyor.config.settings import Settings
from conveyor.domain import wire
from conveyor.domain.model import ModelVersion
from conveyor.domain.provenance import PAYLOAD, Made, Material, contradicts, statement
from conveyor.domain.release import Build
from conveyor.domain.run import Run
from conveyor.effects.signing import Signer
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.stores.collections import DATASET_VERSIONS
from conveyor.stores.objects import Objects
from conveyor.stores.records import Transaction

BUILDER = "urn:conveyor:control-plane"


def signer(settings: Settings) -> Signer:
    return Signer(settings.home / "keys" / "provenance.pem")


def attest(context: Context, tx: Transaction, build: Build, run: Run, version: ModelVersion) -> str:
    """States how a version was made and signs that; the digest of the envelope."""
    config = build.config.models[version.name]
    made = Made(
        materials(tx, build, version),
        BUILDER,
        __version__,
        config.seed,
        run.created,
        {name: _sha256(context.objects, digest) for name, digest in version.artifact.items()},
    )
    return context.objects.put(signer(context.settings).sign(wire.to_json(statement(version, made)), PAYLOAD))


def materials(tx: Transaction, build: Build, version: ModelVersion) -> tuple[Material, ...]:
    """Commit, environment, the code that trains, and the manifests of the data."""
    project = version.project
    found = [
        Material(f"git+conveyor:{project}", {"gitCommit": build.commit}),
        Material(f"conveyor:{project}/environment", {"blake3": build.environment}),
        Material(f"conveyor:{project}/code/{version.name}", {"blake3": version.code}),
    ]
    for name, number in sorted(version.data.items()):
        dataset = name.partition("@")[0]
        data = tx.get(DATASET_VERSIONS, f"{project}/{dataset}@{number}")
        digest = {"blake3": data.manifest} if data is not None else {}
        found.append(Material(f"conveyor:{project}/data/{dataset}@{number}", digest))
    return tuple(found)


def problem(context: Context, version: ModelVersion) -> str:
    """What is wrong with a version's bytes or its provenance, as a clause; empty: both are what they were.

    Versions from before provenance was signed have none: of them the bytes alone are checked.
    """
    if not version.artifact:
        return "it has no artifact"
    try:
        for digest in version.artifact.values():
            context.objects.path(digest)
        if not version.provenance:
            return ""
        raw = context.objects.get(version.provenance)
        return contradicts(json.loads(signer(context.settings).verify(raw, PAYLOAD)), version)
    except ConveyorError as error:
        return error.message
    except (ValueError, KeyError, TypeError):
        return "its provenance cannot be read"


def _sha256(objects: Objects, digest: str) -> str:
    with objects.path(digest).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
