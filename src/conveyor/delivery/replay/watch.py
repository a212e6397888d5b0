"""What monitoring would have concluded from the rows that a version served: windows, and quality when labels come."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from conveyor.delivery.replay.history import Floats, History, Tick, micros, moment
from conveyor.delivery.replay.trainings import Trained
from conveyor.domain import monitor
from conveyor.domain.monitor import Signal, SignalKind
from conveyor.domain.observation import Prediction
from conveyor.domain.project import ModelConfig
from conveyor.monitoring.open_window import OpenWindow
from conveyor.monitoring.quality import quality
from conveyor.monitoring.windows import observe

_LONGEST = timedelta(days=7)  # as the monitor: quality is measured at least once in so much event time


class Watch:
    """Of one policy: the open window of the version that serves, and how far labels were joined."""

    def __init__(self, model: ModelConfig, history: History) -> None:
        self._model, self._history = model, history
        self._window: OpenWindow | None = None
        self._judged: datetime | None = None  # labels up to here were joined

    def windows(self, live: Trained, version: int, tick: Tick) -> tuple[list[Signal], bool]:
        """Signals of the windows that the tick's rows close; whether one was closed that shows no fault."""
        name, features = self._model.name, live.manifest.signature.features
        if self._window is None or self._window.version != version:
            self._window = OpenWindow(name, version)
        rows = tick.stop - tick.start
        if not rows:
            return [], False
        matrix = self._history.matrix(features)[tick.start : tick.stop]
        scores = live.of(tick.start, tick.stop).astype("<f4")
        times = (int(self._history.times[tick.start]), int(self._history.times[tick.stop - 1]))
        served = Prediction(
            f"tick-{tick.number}", tick.until.timestamp(), name, version, rows, matrix.tobytes(), scores.tobytes(),
            times=times,
        )  # fmt: skip
        self._window, closed = observe(
            self._window, [served], live.manifest.profile, features, self._model.monitor, live.manifest.rules
        )
        found = [signal for window in closed for signal in monitor.signals(window, self._model.monitor)]
        faulty = any(signal.kind is SignalKind.DATA_FAULT for signal in found)
        return found, bool(closed) and not faulty

    def quality(
        self, scores: Floats, versions: np.ndarray, until: datetime, live: int, holdouts: dict[int, float]
    ) -> list[Signal]:
        """Decay of the live version, once enough of what was served has its labels. `holdouts`: value by version."""
        times, labels = self._history.times, self._history.labels
        start = 0 if self._judged is None else int(np.searchsorted(times, micros(self._judged), side="right"))
        stop = int(np.searchsorted(times, micros(until), side="right"))
        served = np.flatnonzero(versions[start:stop]) + start
        if not len(served):
            return []
        long = until - (self._judged or moment(int(times[served[0]]))) >= _LONGEST
        if len(served) < self._model.monitor.rows and not long:
            return []
        self._judged = until
        mine = served[(versions[served] == live) & np.isfinite(labels[served])]
        if live not in holdouts or not len(mine):
            return []
        found = quality(scores[mine], labels[mine], metric=self._model.metric)
        found = replace(found, model=self._model.name, version=live)
        signal = monitor.decay(found, holdouts[live], self._model.monitor)
        return [signal] if signal is not None else []
