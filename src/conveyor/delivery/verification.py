"""READY means loaded and scored just now: verification of model versions, by the day, before a release, on demand."""

from __future__ import annotations

import shutil
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

from conveyor.delivery import attest
from conveyor.delivery.known import known
from conveyor.delivery.targets import artifact_dir, server_of
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.release import Release
from conveyor.domain.retention import Policy, model_path, of_models
from conveyor.domain.state import Cursor
from conveyor.domain.verification import Verification, after
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.serving import digests
from conveyor.serving.check import Limits, Server, check
from conveyor.stores.collections import BUILDS, CURSORS, MODEL_VERSIONS, RUNS, VERIFICATIONS

EVERY = timedelta(days=1)
_LOOK = 60.0  # seconds between looks whether it is time
_CURSOR = "verifier"
_ALL = 10_000_000


def verify(context: Context, version: ModelVersion, limits: Limits | None = None) -> Verification:
    """Bytes by digest, signature, and a load and score in a process of its own; the outcome is on record.

    Live traffic is not touched, whatever is found: a damaged version that is live goes on as it runs.
    """
    problem, seconds = attest.problem(context, version), 0.0
    if not problem:
        _mend(context, version)
        problem, seconds = _load(context, version, limits)
    return record(context, version, problem, seconds)


def record(context: Context, version: ModelVersion, problem: str, seconds: float = 0.0) -> Verification:
    """Writes down what was found; a version's change for the worse, or back, is told by an event."""
    signed = bool(version.provenance) and not problem
    found = Verification(version.id, version.model, context.clock.now(), problem, signed, seconds)
    with context.records.transaction() as tx:
        current = tx.need(MODEL_VERSIONS, version.id)
        if current.status is ModelStatus.REMOVED:
            return found
        moved, kept = after(current, tx.get(VERIFICATIONS, version.id), found)
        tx.put(VERIFICATIONS, kept)
        if moved.status is not current.status:
            tx.put(MODEL_VERSIONS, moved)
            type_ = "model.damaged" if problem else "model.recovered"
            about = {"version": version.version, "reason": problem, "status": moved.status}
            tx.append(context.event(type_, f"model/{version.model}", version.project, **about))
    return kept


def before_release(context: Context, project: str, models: dict[str, int], live: Release | None) -> bool:
    """Whether the bytes and signatures of what a release would bring are right; a version whose are not is damaged.

    The model server that the rollout starts loads and scores it before it gets any traffic.
    """
    fine = True
    for name, number in models.items():
        if live is not None and live.models.get(name) == number:
            continue
        with context.records.read() as tx:
            version = tx.need(MODEL_VERSIONS, f"{project}/{name}@{number}")
        if problem := attest.problem(context, version):
            record(context, version, problem)
            fine = False
    return fine


class Verifier:
    """The controller: once a day every version that something needs, in a thread of its own."""

    name = "verifier"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._thread: threading.Thread | None = None
        self._errors: list[Exception] = []

    def turn(self) -> float:
        context, now = self._context, self._context.clock.now()
        if self._thread is not None and self._thread.is_alive():
            return _LOOK
        if self._errors:
            error, self._errors = self._errors[0], []
            raise error
        with context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR)
        last = cursor.until if cursor else None
        if last is not None and now - last < EVERY:
            return _LOOK
        with context.transaction() as tx:
            tx.put(CURSORS, Cursor(_CURSOR, until=now))
        if last is not None:
            self._thread = threading.Thread(target=self._all, name="verifier", daemon=True)
            self._thread.start()
        return _LOOK

    def _all(self) -> None:
        """Each version, also after one that could not be looked at: a full disk is no fault of the model."""
        for version in needed(self._context):
            try:
                verify(self._context, version)
            except Exception as error:  # told by the reconciler, as any controller's error is
                self._errors.append(error)


def needed(context: Context) -> list[ModelVersion]:
    """The versions that an alias, a release or a rollback needs."""
    with context.records.read() as tx:
        paths = {path for path, _ in of_models(known(tx), Policy())}
        found = [version for version in tx.find(MODEL_VERSIONS, limit=_ALL) if version.artifact]
    return [each for each in found if model_path(each.project, each.name, each.version) in paths]


def _mend(context: Context, version: ModelVersion) -> None:
    """What model servers start from goes where it is not what the record says; it is made anew from objects."""
    folder = artifact_dir(context.settings, version)
    if not folder.exists():
        return
    try:
        digests.verify(folder, version.artifact)
    except ConveyorError as error:
        shutil.rmtree(folder)
        with context.records.transaction() as tx:
            tx.append(context.event("system.mended", f"model/{version.model}", version.project, what=error.message))


def _load(context: Context, version: ModelVersion, limits: Limits | None) -> tuple[str, float]:
    with tempfile.TemporaryDirectory(dir=context.settings.work) as scratch:
        folder = Path(scratch)
        for name, digest in version.artifact.items():
            shutil.copyfile(context.objects.path(digest), folder / name)
        done = check(folder, version.name, version.version, version.artifact, limits, _server(context, version))
    return done.problem, done.seconds


def _server(context: Context, version: ModelVersion) -> Server | None:
    """As the model server of the build that trained it."""
    with context.records.read() as tx:
        run = tx.get(RUNS, version.run)
        build = tx.get(BUILDS, run.params.get("build", "")) if run else None
    return None if build is None else server_of(context.settings, build, version)
