"""What becomes of one push, told from events: `conveyor deploy` follows it with this. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from conveyor.domain.events import Event
from conveyor.domain.narrative import sentence


class Outcome(StrEnum):
    OPEN = "open"
    LIVE = "live"
    FAILED = "failed"  # not built, or its tests failed
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"
    IGNORED = "ignored"  # nothing follows the branch


@dataclass(frozen=True, slots=True)
class Deployment:
    """`environments` are those that must be live for it to be; a preview adds itself. `releases`: number by name."""

    project: str
    branch: str
    commit: str
    environments: tuple[str, ...] = ()
    seen: bool = False
    run: str = ""
    build: str = ""
    releases: dict[str, int] = field(default_factory=dict)
    live: tuple[str, ...] = ()
    outcome: Outcome = Outcome.OPEN
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Built, and not in any release yet."""
        return bool(self.build) and not self.releases and self.outcome is Outcome.OPEN

    def ended(self, outcome: Outcome, reason: str = "") -> Deployment:
        return replace(self, outcome=outcome, reason=reason)

    def now_live(self, name: str) -> Deployment:
        live = tuple(dict.fromkeys((*self.live, name)))
        done = set(live) >= set(self.environments)
        return replace(self, live=live, outcome=Outcome.LIVE if done else self.outcome)


def follow(deployment: Deployment, event: Event) -> tuple[Deployment, str]:
    """The deployment after an event, and a line for who waits; empty where the event is of something else."""
    if event.project != deployment.project or deployment.outcome is not Outcome.OPEN:
        return deployment, ""
    if event.subject.startswith("environment/"):
        return _placed(deployment, event)
    mine = deployment.commit in (event.data.get("commit"), event.data.get("about"))
    mine = mine and event.data.get("branch", deployment.branch) == deployment.branch
    match event.type:
        case "code.pushed" if mine:
            return replace(deployment, seen=True), sentence(event)
        case "project.config_invalid" if mine:
            return deployment.ended(Outcome.FAILED, "; ".join(event.data["problems"])), ""
        case "run.started" if mine and deployment.seen and event.data["kind"] == "build" and not deployment.run:
            return replace(deployment, run=event.subject.removeprefix("run/")), sentence(event)
        case "run.failed" | "run.cancelled" if event.subject == f"run/{deployment.run}":
            return deployment.ended(Outcome.FAILED, event.data["error"]), ""
        case "code.superseded" if mine:
            return deployment.ended(Outcome.SUPERSEDED, sentence(event)), ""
        case "build.ready" if mine:
            return replace(deployment, build=event.data["build"]), sentence(event)
    return deployment, ""


def _placed(deployment: Deployment, event: Event) -> tuple[Deployment, str]:
    """An event of an environment."""
    name = event.subject.rpartition("/")[2]
    if (
        event.type == "release.created"
        and event.data["commit"] == deployment.commit
        and not deployment.releases.get(name)
    ):
        environments = deployment.environments if name in deployment.environments else (*deployment.environments, name)
        releases = {**deployment.releases, name: event.data["release"]}
        return replace(deployment, environments=environments, releases=releases), sentence(event)
    if event.type == "environment.created" and event.data["branch"] == deployment.branch:
        told = f"{sentence(event)} It answers at {event.data['address']}"
        return replace(deployment, environments=(*deployment.environments, name)), told
    rejected = event.type == "release.rejected" and f"build:{deployment.build}" in event.data["components"]
    if rejected and deployment.waits:
        return deployment.ended(Outcome.ROLLED_BACK, sentence(event)), sentence(event)
    if event.type == "environment.ended" and name in deployment.environments:
        return deployment.ended(Outcome.IGNORED, sentence(event)), sentence(event)
    if event.type in ("release.waiting", "release.proposed") and name in deployment.environments and deployment.waits:
        hint = f" Say: conveyor approve {name}" if event.type == "release.proposed" else ""
        return deployment, sentence(event) + hint
    if name not in deployment.releases or event.data.get("release") != deployment.releases[name]:
        return deployment, ""
    if event.type == "rollout.rolled_back":
        return deployment.ended(Outcome.ROLLED_BACK, event.data.get("reason") or sentence(event)), sentence(event)
    if event.type == "rollout.completed" or (event.type == "rollout.advanced" and event.data["phase"] == "live"):
        return deployment.now_live(name), sentence(event)
    return deployment, sentence(event)
