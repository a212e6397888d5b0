"""What gives way to a newer push of the same branch: builds under way, and finished ones that no release has yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conveyor.delivery import build
from conveyor.delivery.lookup import latest_build
from conveyor.domain.environment import followers
from conveyor.domain.release import Build, Environment
from conveyor.domain.run import RunState
from conveyor.engine.context import Context
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, RELEASES, RUNS
from conveyor.stores.records import Transaction

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Withdrawn:
    commit: str
    run: str


def reason(newer: str) -> str:
    return f"superseded by {newer[:8]}"


def older(context: Context, tx: Transaction, project: str, branch: str, newer: str) -> None:
    """The newest push of a branch counts; each one that gives way to it is told."""
    for gone in withdraw(context, tx, project, branch, reason(newer), keep=newer):
        tell(context, tx, project, branch, gone.commit, newer, gone.run)


def tell(context: Context, tx: Transaction, project: str, branch: str, commit: str, newer: str, run: str = "") -> None:
    told = {"branch": branch, "commit": commit, "newer": newer, "run": run}
    tx.append(context.event("code.superseded", f"project/{project}", project, **told))


def withdraw(context: Context, tx: Transaction, project: str, branch: str, why: str, keep: str = "") -> list[Withdrawn]:
    """Ends the branch's builds under way, and takes finished ones without a release from what is meant for anything.

    A build of the commit `keep` is ended too, but not named: it is the same push again.
    """
    found: dict[str, Withdrawn] = {}
    for run in tx.find(RUNS, where={"project": project, "kind": build.KIND, "state": RunState.RUNNING}, limit=_MOST):
        if run.params.get("branch") == branch and not run.cancel:
            tx.put(RUNS, replace(run, cancel=why))
            found[run.subject] = Withdrawn(run.subject, run.id)
    ruling = latest_build(tx, project)
    names = {each.name for each in followers(ruling.config, branch)} if ruling else set()
    for environment in tx.find(ENVIRONMENTS, where={"project": project}, limit=_MOST):
        if environment.name in names or environment.branch == branch:
            for made in _waiting(tx, environment, branch):
                environment = _without(environment, made)
                runs = tx.find(RUNS, where={"project": project, "kind": build.KIND, "subject": made.commit}, limit=1)
                found.setdefault(made.commit, Withdrawn(made.commit, runs[0].id if runs else ""))
            tx.put(ENVIRONMENTS, environment)
    return [each for commit, each in found.items() if commit != keep]


def _waiting(tx: Transaction, environment: Environment, branch: str) -> list[Build]:
    """The branch's builds that are meant for an environment and newer than all that it ever had a release of."""
    releases = tx.find(RELEASES, where={"environment": environment.id}, limit=20)
    released = {release.build for release in releases}
    found = []
    for digest in environment.builds:
        if digest in released:
            break
        made = tx.get(BUILDS, f"{environment.project}/{digest}")
        if made is not None and made.branch == branch:
            found.append(made)
    return found


def _without(environment: Environment, made: Build) -> Environment:
    builds = tuple(digest for digest in environment.builds if digest != made.digest)
    asked = environment.proposal is not None and environment.proposal.commit == made.commit
    return replace(environment, builds=builds, proposal=None if asked else environment.proposal)
