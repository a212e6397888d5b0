"""The controller of pushes: git's own refs and their logs are the durable record; a move not acted upon is a push.

A newer push of a branch takes the place of an older one that has not begun its rollout, and it is told. Other branches
are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from conveyor.delivery import build, previews, supersede
from conveyor.delivery.environments import wanted
from conveyor.delivery.parts import Layout, layout, read_config
from conveyor.domain.project import ProjectConfig
from conveyor.domain.run import Run, RunState
from conveyor.domain.state import Project
from conveyor.effects import git
from conveyor.engine.context import Context
from conveyor.errors import ConfigInvalid, ConveyorError, LeaseLost
from conveyor.stores.collections import PROJECTS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Push:
    """A commit that a branch came to, as read from the repository.

    With `newer` the branch has moved on from it since; all but its `info` is that of the newest one then.
    """

    project: str
    branch: str
    info: git.CommitInfo
    newer: str = ""
    config: ProjectConfig | None = None
    layout: Layout | None = None
    problems: tuple[str, ...] = ()

    @property
    def commit(self) -> str:
        return self.info.sha


class Pushes:
    name = "pushes"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked: dict[Path, tuple[int, ...]] = {}  # the repositories as they were at the last look

    def turn(self) -> float:
        failed: Exception | None = None
        for repo in sorted(self._context.settings.repos.glob("*.git")):
            try:
                self._look(repo)
            except LeaseLost:
                raise
            except ConveyorError as error:  # one damaged repository holds up no other
                failed = error
        if failed is not None:
            raise failed
        return _EVERY

    def _look(self, repo: Path) -> None:
        context = self._context
        state = git.state(repo)
        if self._looked.get(repo) == state:
            return
        name = repo.name.removesuffix(".git")
        heads = {ref.removeprefix("refs/heads/"): sha for ref, sha in git.heads(repo).items()}
        with context.records.read() as tx:
            project = tx.get(PROJECTS, name)
        known, logs = (project.heads, project.logs) if project else ({}, {})
        pushes, read = self._moves(repo, name, heads, known, logs)
        gone = sorted(set(known) - set(heads))
        if not pushes and not gone and read == logs:
            self._looked[repo] = state
            return
        with context.transaction() as tx:
            if tx.get(PROJECTS, name) is None:
                tx.append(context.event("project.registered", f"project/{name}", name))
                tx.put(PROJECTS, Project(name, context.clock.now()))
            for push in pushes:
                self._take(tx, push)
            for branch in gone:
                self._deleted(tx, name, branch, known[branch])
            tx.put(PROJECTS, replace(tx.need(PROJECTS, name), heads=heads, logs=read))

    def _moves(
        self, repo: Path, project: str, heads: Mapping[str, str], known: Mapping[str, str], logs: Mapping[str, int]
    ) -> tuple[list[Push], dict[str, int]]:
        """Every commit that each branch came to, those between two looks too; and how far its log was read."""
        pushes: list[Push] = []
        read: dict[str, int] = {}
        for branch, head in sorted(heads.items()):
            commits, size = git.moves(repo, branch, logs.get(branch, 0))
            if head in commits:
                # What the log says beyond the head was written after the heads were read: the next look takes it.
                last = len(commits) - commits[::-1].index(head)
                if last < len(commits):
                    size = logs.get(branch, 0)
                commits = commits[:last]
            else:
                commits = [] if known.get(branch) == head else [head]
            read[branch] = size
            if not commits:
                continue
            newest = self._read(repo, project, branch, commits[-1])
            for commit, newer in pairwise(commits):
                pushes.append(replace(newest, info=git.commit_info(repo, commit), newer=newer))
            pushes.append(newest)
        return pushes, read

    def _read(self, repo: Path, project: str, branch: str, commit: str) -> Push:
        push = Push(project, branch, git.commit_info(repo, commit))
        try:
            config = read_config(repo, commit)
            return replace(push, config=config, layout=layout(repo, commit, config))
        except ConfigInvalid as error:
            return replace(push, problems=error.problems)

    def _take(self, tx: Transaction, push: Push) -> None:
        context = self._context
        subject, info = f"project/{push.project}", push.info
        told = {"branch": push.branch, "commit": push.commit, "author": info.author, "message": info.subject}
        tx.append(context.event("code.pushed", subject, push.project, **told))
        if push.newer:
            if push.config is None or wanted(tx, push.project, push.branch, push.config):
                self._ended(tx, push, RunState.CANCELLED, supersede.reason(push.newer))
                supersede.tell(context, tx, push.project, push.branch, push.commit, push.newer)
            return
        if push.config is None or push.layout is None:
            supersede.older(context, tx, push.project, push.branch, push.commit)
            self._invalid(tx, push)
            return
        if not wanted(tx, push.project, push.branch, push.config):
            return
        supersede.older(context, tx, push.project, push.branch, push.commit)
        previews.pushed(context, tx, push.project, push.branch, push.config)
        params = build.Params(
            push.project, push.branch, push.commit, info.author, info.subject, push.config, push.layout
        )
        run = build.new_run(context.new_id(), params, context.clock.now())
        tx.put(RUNS, run)
        tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))

    def _invalid(self, tx: Transaction, push: Push) -> None:
        """The push is refused with every problem named."""
        told = {"branch": push.branch, "commit": push.commit, "problems": list(push.problems)}
        subject = f"project/{push.project}"
        tx.append(self._context.event("project.config_invalid", subject, push.project, **told))
        self._ended(tx, push, RunState.FAILED, ConfigInvalid(push.problems).message)

    def _ended(self, tx: Transaction, push: Push, state: RunState, error: str) -> None:
        """A run that never began: it keeps the address that the pusher saw alive."""
        now = self._context.clock.now()
        params = {"commit": push.commit, "branch": push.branch}
        id_ = self._context.new_id()
        tx.put(RUNS, Run(id_, push.project, build.KIND, push.commit, params, (), now, state, ended=now, error=error))

    def _deleted(self, tx: Transaction, project: str, branch: str, commit: str) -> None:
        """What is live stays; what was on its way there from this branch goes with it."""
        context = self._context
        told = {"branch": branch, "commit": commit}
        tx.append(context.event("code.branch_deleted", f"project/{project}", project, **told))
        supersede.withdraw(context, tx, project, branch, f"branch {branch} was deleted")
