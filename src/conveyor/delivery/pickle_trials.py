"""A pickle that an admin trusts is loaded in a process of its own: never by the control plane or a model server."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import MsgspecError

from conveyor.delivery.collect import need_built
from conveyor.delivery.kept import trusted
from conveyor.delivery.lookup import latest_build
from conveyor.delivery.targets import project_server
from conveyor.domain import wire
from conveyor.domain.pickle_trial import Loaded, PickleTrial
from conveyor.domain.release import Build
from conveyor.domain.requests import TryPickle
from conveyor.effects.pickles import is_pickle
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound, Refused
from conveyor.serving.check import Limits, Server, confined

_MOST_SAID = 1 << 16  # bytes of a report


class PickleTrials:
    """One at a time: each may take the memory of a large model."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._busy = threading.Lock()

    def run(self, asked: TryPickle, files: Mapping[str, str], limits: Limits | None = None) -> PickleTrial:
        """`files`: the version's, by path, with their digests. The outcome is on record as `model.pickle_tried`."""
        context, limits = self._context, limits or Limits()
        server = project_server(context.settings, self._build(asked.project))
        here = {path: context.objects.path(digest) for path, digest in files.items()}
        pickles = self._trusted(asked, files, here)
        if not self._busy.acquire(blocking=False):
            raise Conflict("another pickle is being tried", hint="Wait until it is done; it takes a minute at most.")
        try:
            done = self._tried(asked, here, pickles, server, limits)
        finally:
            self._busy.release()
        about = {"version": asked.version, "digests": sorted(pickles), "pid": done.pid, "reason": done.problem}
        with context.records.transaction() as tx:
            tx.append(context.event("model.pickle_tried", f"model/{asked.model}", asked.project, **about))
        return done

    def _build(self, project: str) -> Build:
        with self._context.records.read() as tx:
            build = latest_build(tx, project)
        if build is None:
            raise NotFound(
                f"{project} has no build in whose environment a pickle could be loaded",
                hint="Push the project first: its environment must have what the pickle was made with.",
            )
        need_built(self._context.settings, build)
        return build

    def _trusted(self, asked: TryPickle, files: Mapping[str, str], here: Mapping[str, Path]) -> set[str]:
        """The digests of its pickles, all of which an admin trusts."""
        pickles = {files[path]: path for path, place in here.items() if is_pickle(path, place)}
        if not pickles:
            raise InputRejected(
                f"{asked.model} version {asked.version} holds no pickle",
                hint="There is nothing that needs a process of its own; load it with the MLflow client.",
            )
        for digest, path in pickles.items():
            if not trusted(self._context, digest):
                raise Refused(
                    f"{path} is a pickle that nobody trusts, and loading one runs whatever code is in it",
                    hint=f"An admin may trust exactly these bytes: conveyor model trust {digest}",
                )
        return set(pickles)

    def _tried(
        self, asked: TryPickle, here: Mapping[str, Path], pickles: set[str], server: Server, limits: Limits
    ) -> PickleTrial:
        found = PickleTrial(asked.model, asked.version, 0, 0.0, Loaded())
        size = sum(place.stat().st_size for place in here.values())
        if size > limits.most_mb * 2**20:
            problem = f"its files have {size / 2**30:.1f} GB; at most {limits.most_mb:,} MB are loaded"
            return replace(found, loaded=Loaded(problem))
        with tempfile.TemporaryDirectory(dir=self._context.settings.work, ignore_cleanup_errors=True) as scratch:
            given, report = Path(scratch) / "files.json", Path(scratch) / "report.json"
            given.write_bytes(wire.to_json({path: str(place.resolve()) for path, place in here.items()}))
            argv = [server.python, "-m", "conveyor.sdk.pickled", "--files", str(given), "--report", str(report)]
            argv += ["--memory-mb", str(limits.memory_mb), "--seconds", str(limits.seconds)]
            argv += ["--parent", str(os.getpid())]
            argv += [word for digest in sorted(pickles) for word in ("--trusted", digest)]
            ended = confined(argv, server, limits)
            loaded = Loaded(ended.problem) if ended.problem else _said(report)
        return replace(found, pid=ended.pid, seconds=ended.seconds, loaded=loaded)


def _said(report: Path) -> Loaded:
    """What the process wrote, which whatever was in the pickle may have written: a small plain file, or nothing."""
    try:
        number = os.open(report, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return Loaded("it left no report of what it did")
            return wire.from_json(file.read(_MOST_SAID), Loaded)
    except (OSError, MsgspecError, ValueError):
        return Loaded("it left no report of what it did")
