"""Trainings of a replay: each distinct one is done once, for all policies, and kept by its content."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from blake3 import blake3

from conveyor.delivery.replay.history import Floats, History
from conveyor.delivery.replay.workers import Workers
from conveyor.domain import wire
from conveyor.domain.evaluation import Evaluation
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.model import ModelManifest
from conveyor.domain.project import ModelConfig
from conveyor.domain.step import EvaluateSpec, LiveModel, TrainingReport, TrainSpec
from conveyor.errors import StepFailed
from conveyor.sdk.replay import ScoresSpec

_KEPT_SECONDS = 30 * 86400.0
_TOOK, _FAILED = "took.json", "failed.json"


class Trained:
    """A finished training: its folder, and the scores of the history's rows from `start` on, made as they are asked.

    Most versions serve a few ticks and one may serve to the end, so each further stretch is twice as long.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        manifest: ModelManifest,
        seconds: float,
        start: int,
        more: Callable[[Trained, int, int], Floats],
    ) -> None:
        self.folder, self.key, self.manifest, self.seconds, self.start = folder, key, manifest, seconds, start
        self._scores: Floats = np.zeros(0)
        self._more = more
        self._lock = threading.Lock()

    def of(self, start: int, stop: int) -> Floats:
        """Of the rows [start, stop)."""
        with self._lock:
            done = len(self._scores)
            if self.start + done < stop:
                to = max(stop, self.start + 2 * done)
                self._scores = np.concatenate([self._scores, self._more(self, self.start + done, to)])
        return self._scores[start - self.start : stop - self.start]


@dataclass(slots=True)
class Cost:
    done: int = 0  # trainings
    seconds: float = 0.0  # that they took, each as long as its process says
    kept: int = 0  # found from an earlier replay
    judged: float = 0.0  # seconds of evaluations and of scoring
    used: float = 0.0  # seconds of all distinct trainings, those that were found as well


class Trainings:
    """`spec` is the training at the end of history; others are the same at earlier times. Threads may ask together."""

    def __init__(
        self, spec: TrainSpec, model: ModelConfig, history: History, workers: Workers, cache: Path, code: str
    ) -> None:
        self._spec, self._model, self._history = spec, model, history
        self._workers, self._cache, self._code = workers, cache, code
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._found: dict[str, Trained | StepFailed] = {}
        self.cost = Cost()

    def train(self, known_until: datetime) -> Trained:
        """Raises StepFailed as often as it is asked where the training itself failed."""
        spec = replace(self._spec, known_until=known_until)
        key = self._key(spec)
        with self._alone(key):
            if key not in self._found:
                self._found[key] = self._training(key, spec)
            found = self._found[key]
        if isinstance(found, StepFailed):
            raise found
        return found

    def judge(self, candidate: Trained, live: Trained | None, version: int) -> Evaluation:
        """What the gates read; by the same code, on the same holdout, as at the server."""
        gates = self._model.gates
        against = None
        if live is not None:
            against = LiveModel(version, str(live.folder / FILES[live.manifest.form]), str(live.folder / MANIFEST))
        spec = EvaluateSpec(
            metric=self._model.metric,
            candidate=str(candidate.folder),
            holdout=str(candidate.folder / "holdout.parquet"),
            training=str(candidate.folder / "training.json"),
            live=against,
            confidence=gates.metric.confidence,
            seed=self._model.seed,
            slices=self._model.slices,
            latency_calls=1,
            group=self._model.group,
            trusted=self._model.trusted,
            metrics=self._model.metrics,
            gates=gates,
        )
        how = wire.to_json([gates, spec.confidence, spec.seed, spec.slices, spec.group, spec.metrics]).decode()
        key = _digest("evaluate", candidate.key, live.key if live else "", how, self._code)
        out = candidate.folder / f"evaluation-{key}.json"
        with self._alone(key):
            if not out.exists():
                seconds = self._workers.ask("evaluate", spec, out)
                with self._lock:
                    self.cost.judged += seconds
        found = wire.from_json(out.read_bytes(), Evaluation)
        return replace(found, comparison=replace(found.comparison, live_version=version)) if found.comparison else found

    def prune(self) -> None:
        """What no replay has used for a month goes."""
        for folder in self._cache.glob("training-*"):
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _training(self, key: str, spec: TrainSpec) -> Trained | StepFailed:
        folder = self._cache / f"training-{key}"
        if (folder / _FAILED).exists():
            said = wire.from_json((folder / _FAILED).read_bytes(), dict[str, str])
            return StepFailed(said["message"], hint=said["hint"])
        fresh = not (folder / _TOOK).exists()
        if fresh:
            error = self._do(spec, folder)
            if error is not None:
                return error
        folder.touch()
        seconds = wire.from_json((folder / _TOOK).read_bytes(), float)
        with self._lock:
            self.cost.used += seconds
            if fresh:
                self.cost.done, self.cost.seconds = self.cost.done + 1, self.cost.seconds + seconds
            else:
                self.cost.kept += 1
        report = wire.from_json((folder / "training.json").read_bytes(), TrainingReport)
        manifest = wire.from_json((folder / MANIFEST).read_bytes(), ModelManifest)
        return Trained(folder, key, manifest, seconds, self._history.place(report.training.until), self._scores)

    def _do(self, spec: TrainSpec, folder: Path) -> StepFailed | None:
        """In a folder beside, renamed when all is there: a training that was cut off is done again."""
        temporary = folder.with_name(f".{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            seconds = self._workers.ask("train", spec, temporary)
        except StepFailed as error:
            temporary.mkdir(parents=True, exist_ok=True)
            (temporary / _FAILED).write_bytes(wire.to_json({"message": error.message, "hint": error.hint}))
            temporary.rename(folder)
            return error
        shutil.rmtree(temporary / ".inputs", ignore_errors=True)
        (temporary / _TOOK).write_bytes(wire.to_json(seconds))
        temporary.rename(folder)
        return None

    def _scores(self, trained: Trained, start: int, stop: int) -> Floats:
        stop = min(stop, len(self._history.times))
        path = trained.folder / f"scores-{self._history.digest[:24]}-{start}-{stop}.npy"
        if not path.exists():
            spec = ScoresSpec(str(trained.folder), str(self._history.path), start, stop, self._model.trusted)
            taken = self._workers.ask("scores", spec, path)
            with self._lock:
                self.cost.judged += taken
        found: Floats = np.load(path).astype(np.float64)
        return found

    def _key(self, spec: TrainSpec) -> str:
        """Of the rows that it can read, and of all that it is told."""
        holdout, window = spec.holdout, spec.window
        after = None
        if holdout is not None and window is not None:
            after = spec.known_until - holdout - spec.gap - window - timedelta(microseconds=1)
        rows = self._history.content(after, spec.known_until)
        told = wire.to_json(replace(spec, inputs=())).decode()
        others = [wire.to_json(one).decode() for one in spec.inputs[1:]]
        return _digest("train", rows, told, self._code, *others)

    def _alone(self, key: str) -> threading.Lock:
        with self._lock:
            return self._busy.setdefault(key, threading.Lock())


def _digest(*parts: str) -> str:
    return blake3("\0".join(parts).encode()).hexdigest()[:32]
