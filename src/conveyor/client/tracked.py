"""The part of the client that reads tracked runs, and has pickles trusted and tried."""

from __future__ import annotations

from copy import copy

from conveyor.client.transport import Transport, quote
from conveyor.domain import requests
from conveyor.domain.pickle_trial import PickleTrial
from conveyor.domain.tracked import Experiment, Point, TrackedRun
from conveyor.domain.views import Message

_PATIENT = 120.0  # seconds


class TrackedCalls(Transport):
    def tracked_experiments(self) -> list[Experiment]:
        return self._get("/v1/tracked/experiments", list[Experiment])

    def tracked(self, request: requests.TrackSearch) -> list[TrackedRun]:
        return self._post("/v1/tracked/search", request, list[TrackedRun])

    def tracked_run(self, run: str) -> TrackedRun:
        return self._get(f"/v1/tracked/runs/{quote(run)}", TrackedRun)

    def tracked_curve(self, run: str, metric: str) -> list[Point]:
        return self._get(f"/v1/tracked/runs/{quote(run)}/curve?metric={quote(metric)}", list[Point])

    def trust(self, request: requests.TrustFile) -> Message:
        return self._post("/v1/trusted", request, Message)

    def try_pickle(self, request: requests.TryPickle) -> PickleTrial:
        """Starts a process and waits for its end."""
        patient = copy(self)
        patient._timeout = _PATIENT
        return patient._post("/v1/pickles/try", request, PickleTrial)
