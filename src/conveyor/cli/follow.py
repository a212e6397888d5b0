"""Follows one push through the events of the control plane, and tells it line by line."""

from __future__ import annotations

import time
from dataclasses import replace

from conveyor.cli.output import say
from conveyor.client import Client
from conveyor.domain import wire
from conveyor.domain.deployment import Deployment, Outcome, follow
from conveyor.domain.junit import Report
from conveyor.domain.run import ENDED, Run, StepState
from conveyor.domain.views import EnvironmentView
from conveyor.errors import Unavailable

_EVERY = 0.25
_AWAY_SECONDS = 60.0  # how long a control plane may be gone, such as for an upgrade
_TAIL = 20  # lines of a failed step's log


class Follower:
    """`tests` is what the tests reported, once the build has ended."""

    def __init__(self, client: Client, deployment: Deployment, *, quiet: bool = False) -> None:
        self._client = client
        self._deployment = deployment
        self._quiet = quiet
        self._told: dict[str, StepState] = {}
        self._build_over = False
        self._expects = False
        self.tests: Report | None = None

    def run(self, after: int, *, moved: bool) -> Deployment:
        """Until it is live or never will be. `moved`: the push moved the branch; else its story began earlier."""
        after = after if moved else self._earlier(after)
        answered = time.monotonic()
        while True:
            try:
                after = self._turn(after)
                answered = time.monotonic()
            except Unavailable:
                if time.monotonic() - answered > _AWAY_SECONDS:
                    raise
            if self._deployment.outcome is not Outcome.OPEN:
                break
            time.sleep(_EVERY)
        if not moved and self._deployment.outcome is Outcome.LIVE:
            self._still()
        return self._deployment

    def _turn(self, after: int) -> int:
        events = self._client.events(after=after, limit=1000)
        for event in events:
            self._deployment, line = follow(self._deployment, event)
            self._say(line)
            self._expect()
            after = event.seq
        if self._deployment.run:
            self._steps(self._client.run(self._deployment.run))
        deployment = self._deployment
        if deployment.seen and not deployment.run and deployment.outcome is Outcome.OPEN:
            reason = f"no environment follows the branch {deployment.branch}"
            self._deployment = deployment.ended(Outcome.IGNORED, reason)
        elif deployment.waits and not events:
            self._there_already()
        return after

    def _expect(self) -> None:
        """Where it must be live is known once it was built: its configuration may be the first to say so."""
        wanted = self._deployment
        if self._expects or not wanted.build:
            return
        views = self._client.environments(wanted.project)
        names = tuple(view.name for view in views if view.branch == wanted.branch and not view.source)
        self._deployment = replace(wanted, environments=names)
        self._expects = True

    def _earlier(self, after: int) -> int:
        """Where the story of a commit that was pushed before begins in the log."""
        subject = f"project/{self._deployment.project}"
        for event in self._client.events(subject=subject, types=("code.pushed",), newest=True, limit=1000):
            if (event.data["commit"], event.data["branch"]) == (self._deployment.commit, self._deployment.branch):
                return event.seq - 1
        return after

    def _there_already(self) -> None:
        """Equal content makes no new release: it is live already, or it was rejected before."""
        for view in self._environments():
            component = f"build:{self._deployment.build}"
            if component in view.rejected:
                reason = f"the same content was rejected in {view.name} before: {view.rejected[component]}"
                self._deployment = self._deployment.ended(Outcome.ROLLED_BACK, reason)
                return
            if view.live is not None and view.live.build == self._deployment.build and view.rollout is None:
                self._say(f"Release {view.live.number} in {view.name} has this content already.")
                self._deployment = self._deployment.now_live(view.name)

    def _still(self) -> None:
        """What went live earlier may have been replaced since."""
        for view in self._environments():
            if view.live is not None and view.live.build != self._deployment.build:
                reason = f"it was live in {view.name}; release {view.live.number} of {view.live.commit[:8]} is live now"
                self._deployment = replace(self._deployment, outcome=Outcome.SUPERSEDED, reason=reason)

    def _environments(self) -> list[EnvironmentView]:
        wanted = self._deployment
        views = self._client.status().environments
        return [view for view in views if view.project == wanted.project and view.name in wanted.environments]

    def _steps(self, run: Run) -> None:
        """Each step as it begins and ends; of a failed one the failing tests and the end of its log."""
        if self._build_over:
            return
        for step in run.steps:
            if self._told.get(step.name, StepState.PENDING) is step.state:
                continue
            self._told[step.name] = step.state
            took = f" in {(step.ended - step.started).total_seconds():.1f} s" if step.started and step.ended else ""
            self._say(f"  {step.name}: {step.state}{took if step.state in ENDED else ''}")
        self._build_over = run.ended is not None
        if not self._build_over:
            return
        found = run.result.get("tests")
        self.tests = wire.from_builtins(found, Report) if found else None
        if self.tests is not None:
            self._say(f"  {self.tests.told}")
            for each in self.tests.failing:
                first = each.message.splitlines()[0] if each.message else ""
                self._say(f"    failed: {each.name}  {first}".rstrip())
        for step in run.steps:
            if step.state is StepState.FAILED:
                self._log(run, step.name)

    def _log(self, run: Run, step: str) -> None:
        text, offset = "", 0
        while (chunk := self._client.log(run.id, step, offset)).text:
            text, offset = (text + chunk.text)[-20_000:], chunk.next_offset
        lines = text.rstrip("\n").splitlines()
        self._say(f"  the end of {step}'s log (all of it: conveyor logs {run.id} --step {step}):")
        for line in lines[-_TAIL:]:
            self._say(f"    | {line}")

    def _say(self, line: str) -> None:
        if line and not self._quiet:
            say(line)
