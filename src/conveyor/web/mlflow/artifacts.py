"""Artifacts over HTTP: raw bytes by path, kept as objects by digest. A pickle is refused unless an admin trusts it."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from conveyor.delivery.kept import keep_file, release_file, trusted
from conveyor.domain.tracked import File
from conveyor.effects.pickles import is_pickle
from conveyor.errors import InputRejected, NotFound, Refused
from conveyor.stores.objects import digest_file
from conveyor.stores.tracking import files, runs
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import logged_model_routes, needs
from conveyor.web.mlflow.service import Answer, Service
from conveyor.web.mlflow.versions import OWNER

_RUN = re.compile(r"(\d+)/([A-Za-z0-9][\w\-]{0,255})/artifacts(?:/(.+))?")
_MODEL = re.compile(r"(\d+)/models/(m-[0-9a-f]{32})/artifacts(?:/(.+))?")
_TRAINED = re.compile(rf"{OWNER}/([\w\-]+/[\w\-]+)/(\d+)(?:/(.+))?")


def listed(service: Service, path: str) -> Answer:
    if found := _TRAINED.fullmatch(path.strip("/")):
        names = service.trained.files(found[1], found[2])
        return {"files": [File(name, False) for name in sorted(names)] if not found[3] else []}
    owner, folder = _owner(path)
    with service.database.read() as session:
        return {"files": files.listed(session, owner, folder)}


def of_run(session: Session, run: str, folder: str) -> Answer:
    """As `artifacts/list` tells it: paths from the root of the run's artifacts."""
    info = runs.info(session, run)
    inside = files.checked(folder) if folder else ""
    found = files.listed(session, run, inside)
    for each in found:
        each.path = f"{inside}/{each.path}" if inside else each.path
    return {"root_uri": info.artifact_uri, "files": found}


def opened(service: Service, path: str) -> tuple[Path | bytes, str]:
    """Where the bytes are, verified, and their media type."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if found := _TRAINED.fullmatch(path):
        held = service.trained.files(found[1], found[2]).get(found[3] or "")
        if held is None:
            raise NotFound(f"No such artifact: '{path}'", hint="List what there is first.")
        return (held if isinstance(held, bytes) else service.context.objects.path(held)), kind
    owner, inside = _owner(path)
    with service.database.read() as session:
        digest = files.get(session, owner, inside)
    return service.context.objects.path(digest), kind


async def received(service: Service, path: str, body: AsyncIterator[bytes]) -> None:
    """Reads an upload to its end, then keeps it, or refuses it."""
    owner, inside = _owner(path)
    if not inside:
        raise InputRejected(f"Invalid path: {path[:200]!r}", hint="Name the file.")
    handle, name = tempfile.mkstemp(dir=service.context.settings.incoming, prefix="artifact-")
    try:
        with os.fdopen(handle, "wb") as file:
            async for chunk in body:
                file.write(chunk)
        await asyncio.to_thread(_keep, service, owner, inside, Path(name))
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def removed(service: Service, path: str) -> None:
    owner, inside = _owner(path)

    def work(session: Session) -> list[str]:
        needs.refuse_files(session, owner)
        return files.remove(session, owner, inside)

    for digest in service.database.write(work):
        release_file(service.context, digest)


def _keep(service: Service, owner: str, path: str, file: Path) -> None:
    with service.database.read() as session:
        if owner.startswith("m-"):
            logged_model_routes.need(session, owner)
        else:
            runs.info(session, owner)
    if is_pickle(path, file):
        digest = digest_file(file)
        if not trusted(service.context, digest):
            raise Refused(
                f"{path} is a pickle, and loading one runs whatever code is in it",
                hint="Save it another way (for scikit-learn, MLflow's default: serialization_format='skops'), "
                f"or let an admin trust exactly these bytes: conveyor model trust {digest}",
            )
    size = file.stat().st_size
    digest = service.context.objects.put_file(file)
    keep_file(service.context, digest)
    service.database.write(lambda session: files.put(session, owner, path, digest, size))


def _owner(path: str) -> tuple[str, str]:
    """(run or logged model, path in it)."""
    found = _MODEL.fullmatch(path.strip("/")) or _RUN.fullmatch(path.strip("/"))
    if found is None:
        raise InputRejected(
            f"Invalid path: {path[:200]!r}", hint="Artifacts belong to a run or a logged model; use its artifact_uri."
        )
    return found[2], files.checked(found[3]) if found[3] else ""
