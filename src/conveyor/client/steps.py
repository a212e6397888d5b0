"""The part of the client that asks for a project's own steps, and for scoring."""

from __future__ import annotations

from conveyor.client.transport import Transport, quote
from conveyor.domain import requests
from conveyor.domain.plan import Decision
from conveyor.domain.run import Run
from conveyor.domain.scoring import Scoring


class StepCalls(Transport):
    def plan_steps(self, project: str, request: requests.RunSteps) -> list[Decision]:
        return self._post(f"/v1/projects/{quote(project)}/steps/plan", request, list[Decision])

    def run_steps(self, project: str, request: requests.RunSteps) -> Run:
        """The run that was started; over already where nothing had to run."""
        return self._post(f"/v1/projects/{quote(project)}/steps/run", request, Run)

    def score(self, project: str, model: str, request: requests.ScoreDataset) -> Scoring:
        return self._post(f"/v1/projects/{quote(project)}/models/{quote(model)}/score", request, Scoring)

    def check_parity(self, project: str, model: str, request: requests.CheckParity) -> Run:
        return self._post(f"/v1/projects/{quote(project)}/models/{quote(model)}/parity", request, Run)
