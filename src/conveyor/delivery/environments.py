"""What is meant for an environment: builds that passed are offered to it, promoted to it, approved or rejected by a
person. Every function here writes records only; `releases.py` composes from them."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery.lookup import latest_build, live_release
from conveyor.domain.environment import followers, previewed, trunk
from conveyor.domain.project import EnvironmentConfig, ProjectConfig
from conveyor.domain.release import Build, Content, Environment, Proposal
from conveyor.domain.state import Project
from conveyor.engine.context import Context
from conveyor.errors import Conflict, NotFound, Refused
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, PROJECTS
from conveyor.stores.records import Transaction


def wanted(tx: Transaction, project: str, branch: str, config: ProjectConfig) -> bool:
    """Whether a push is built: an environment follows its branch, or it gets a preview.

    The trunk's newest build says so, and on the trunk also what is pushed; before there is one, the push itself.
    """
    ruling = latest_build(tx, project)
    configs = [ruling.config] if ruling else [config]
    if ruling is not None and branch == _trunk(tx, project, ruling):
        configs.append(config)
    return any(followers(each, branch) or previewed(each, branch) for each in configs)


def offer(tx: Transaction, build: Build) -> None:
    """A build that passed is meant for every environment that follows its branch, and for the branch's preview."""
    ruling = _define(tx, build)
    for config in followers(ruling, build.branch):
        environment = tx.get(ENVIRONMENTS, f"{build.project}/{config.name}") or Environment(build.project, config.name)
        tx.put(ENVIRONMENTS, environment.meant(build.digest))
    for environment in tx.find(ENVIRONMENTS, where={"project": build.project}, limit=1000):
        if environment.branch == build.branch and not environment.ending:
            tx.put(ENVIRONMENTS, environment.meant(build.digest))


def _define(tx: Transaction, build: Build) -> ProjectConfig:
    """The configuration that rules the project; that of this build if it is of the trunk, or the first one."""
    project = tx.get(PROJECTS, build.project) or Project(build.project, build.created)
    ruling = latest_build(tx, build.project)
    if not project.definition:
        # Records from before there was a trunk: their newest build rules.
        others = tx.find(BUILDS, where={"project": build.project}, limit=2)
        ruling = next((other for other in others if other.digest != build.digest), None)
    if ruling is not None and build.branch != _trunk(tx, build.project, ruling):
        return ruling.config
    tx.put(PROJECTS, replace(project, definition=build.digest, trunk=trunk(build.config)))
    return build.config


def _trunk(tx: Transaction, project: str, ruling: Build) -> str:
    record = tx.get(PROJECTS, project)
    return (record.trunk if record else "") or trunk(ruling.config)


def promote(context: Context, tx: Transaction, project: str, source: str, target: str, *, again: bool = False) -> str:
    """What is live in `source` becomes what the next release of `target` must be, digest for digest."""
    config = declared(tx, project, target)
    if config.source is None:
        raise Refused(
            f"{target} takes what is pushed to {config.branch}; nothing is promoted to it",
            hint=f'For promotion only, write under [environment.{target}]: from = "{source}".',
        )
    if config.source != source:
        raise Refused(
            f"{target} is promoted from {config.source}, not from {source}",
            hint=f"`conveyor promote {config.source} {target}` does that.",
        )
    origin, place = _environment(tx, project, source), _environment(tx, project, target)
    live, there = live_release(tx, origin), live_release(tx, place)
    if live is None:
        raise Conflict(f"nothing is live in {source}", hint=f"Wait for the first release of {source}.")
    if origin.rollout is not None:
        raise Conflict(
            f"{source} is in the middle of a rollout, so it has not shown yet that it works",
            hint=f"Promote once it is over; `conveyor status` shows how far it is, `conveyor env show {source}` too.",
        )
    if there is not None and (there.build, there.models) == (live.build, live.models):
        raise Conflict(
            f"release {live.number} of {source} is live in {target} already, as release {there.number}",
            hint="There is nothing to promote.",
        )
    content = Content(live.build, live.models, f"promoted from {source}, release {live.number}")
    if place.exact == content:
        raise Conflict(
            f"release {live.number} of {source} was promoted to {target} already",
            hint=f"`conveyor env show {target}` says what it waits for.",
        )
    ruled_out = [component for component in content.components if component in place.rejected]
    if ruled_out and not again:
        raise Refused(
            f"{ruled_out[0][:40]} was rejected in {target}: {place.rejected[ruled_out[0]]}",
            hint="Push a mended version, or try this one again with --again.",
        )
    rejected = {component: why for component, why in place.rejected.items() if component not in content.components}
    tx.put(ENVIRONMENTS, replace(place.meant(live.build), exact=content, rejected=rejected))
    subject = f"environment/{place.id}"
    told = {"source": source, "release": live.number, "commit": live.commit, "build": live.build}
    tx.append(context.event("release.promoted", subject, project, **told, models=live.models))
    then = " once the open rollout there is over" if place.rollout else ""
    word = "; it waits for approval" if config.approve else ""
    return f"release {live.number} of {source} (commit {live.commit[:8]}) goes to {target}{then}{word}"


def approve(context: Context, tx: Transaction, environment_id: str, key: str = "") -> str:
    environment, proposal = _proposed(tx, environment_id, key)
    tx.put(ENVIRONMENTS, replace(environment, approved=proposal.key, proposal=None))
    subject = f"environment/{environment_id}"
    tx.append(context.event("release.approved", subject, environment.project, reason=proposal.text))
    return f"approved: {proposal.text}"


def reject(context: Context, tx: Transaction, environment_id: str, reason: str, key: str = "") -> str:
    """What the proposal would change is ruled out here, and only here: a model version stays what it is elsewhere."""
    environment, proposal = _proposed(tx, environment_id, key)
    live = live_release(tx, environment)
    new = set(proposal.components) - set(live.components if live else ())
    exact = None if environment.exact and set(environment.exact.components) & new else environment.exact
    rejected = environment.rejected | dict.fromkeys(sorted(new) or [proposal.key], reason)
    tx.put(ENVIRONMENTS, replace(environment, proposal=None, exact=exact, rejected=rejected))
    subject = f"environment/{environment_id}"
    what = sorted(new) or list(proposal.components)
    tx.append(context.event("release.rejected", subject, environment.project, reason=reason, components=what))
    return f"rejected: {proposal.text}"


def declared(tx: Transaction, project: str, name: str) -> EnvironmentConfig:
    ruling = latest_build(tx, project)
    if ruling is None:
        raise NotFound(f"no build of {project!r} has passed yet", hint="Environments are known once one has.")
    if name not in ruling.config.environments:
        names = ", ".join(ruling.config.environments)
        raise NotFound(f"{project} declares no environment {name!r}", hint=f"Declared are: {names}.")
    return ruling.config.environments[name]


def _environment(tx: Transaction, project: str, name: str) -> Environment:
    declared(tx, project, name)
    return tx.get(ENVIRONMENTS, f"{project}/{name}") or Environment(project, name)


def _proposed(tx: Transaction, environment_id: str, key: str) -> tuple[Environment, Proposal]:
    environment = tx.need(ENVIRONMENTS, environment_id)
    proposal = environment.proposal
    if proposal is None:
        raise Conflict(
            f"nothing waits for approval in {environment_id}", hint="`conveyor status` shows what is under way."
        )
    if key and key != proposal.key:
        raise Conflict(
            f"something newer waits in {environment_id} now: {proposal.text}",
            hint="Look at it, and decide on that.",
        )
    return environment, proposal
