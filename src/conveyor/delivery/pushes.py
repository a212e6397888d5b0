"""The controller of pushes: git's own refs are the durable record; a head that was not acted upon is a push."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conveyor.config.load import load
from conveyor.delivery import build
from conveyor.domain.project import ProjectConfig
from conveyor.domain.run import Run, RunState
from conveyor.domain.state import Project
from conveyor.effects import git
from conveyor.engine.context import Context
from conveyor.errors import ConfigInvalid, ConveyorError, NotFound
from conveyor.stores.collections import PROJECTS, RUNS
from conveyor.stores.records import Transaction

_EVERY = 1.0
_CONFIG = "conveyor.toml"


class Pushes:
    name = "pushes"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked: dict[Path, tuple[int, ...]] = {}  # the repositories as they were at the last look

    def turn(self) -> float:
        for repo in sorted(self._context.settings.repos.glob("*.git")):
            self._look(repo)
        return _EVERY

    def _look(self, repo: Path) -> None:
        context = self._context
        state = git.state(repo)
        if self._looked.get(repo) == state:
            return
        name = repo.name.removesuffix(".git")
        heads = {ref.removeprefix("refs/heads/"): sha for ref, sha in git.heads(repo).items() if "refs/heads/" in ref}
        with context.records.read() as tx:
            project = tx.get(PROJECTS, name)
        known = project.heads if project else {}
        if heads == known:
            self._looked[repo] = state
            return
        with context.transaction() as tx:
            if project is None:
                tx.append(context.event("project.registered", f"project/{name}", name))
                project = Project(name, context.clock.now())
            for branch, commit in sorted(heads.items()):
                if known.get(branch) != commit:
                    self._pushed(tx, repo, name, branch, commit)
            tx.put(PROJECTS, replace(project, heads=heads))

    def _pushed(self, tx: Transaction, repo: Path, project: str, branch: str, commit: str) -> None:
        context = self._context
        info = git.commit_info(repo, commit)
        subject = f"project/{project}"
        tx.append(
            context.event(
                "code.pushed", subject, project, branch=branch, commit=commit, author=info.author, message=info.subject
            )
        )
        try:
            config = load(git.read_file(repo, commit, _CONFIG).decode())
        except (ConfigInvalid, NotFound, UnicodeDecodeError) as error:
            self._invalid(tx, project, branch, commit, error)
            return
        if not any(environment.branch == branch for environment in config.environments.values()):
            return
        self._supersede(tx, project, commit)
        self._start(tx, build.plan(repo, project, branch, commit, info, config), config)

    def _start(self, tx: Transaction, params: build.Params, config: ProjectConfig) -> None:
        context = self._context
        run = build.new_run(context.new_id(), params, config, context.clock.now())
        tx.put(RUNS, run)
        tx.append(context.event("run.started", f"run/{run.id}", run.project, kind=run.kind, about=run.subject))

    def _invalid(self, tx: Transaction, project: str, branch: str, commit: str, error: Exception) -> None:
        """The push is refused with every problem named; a failed run keeps the address that the pusher saw alive."""
        context = self._context
        message = error.message if isinstance(error, ConveyorError) else f"{_CONFIG} is not UTF-8 text"
        problems = list(error.problems) if isinstance(error, ConfigInvalid) else [message]
        tx.append(
            context.event(
                "project.config_invalid", f"project/{project}", project, branch=branch, commit=commit, problems=problems
            )
        )
        now = context.clock.now()
        params = {"commit": commit, "branch": branch}
        run = Run(
            context.new_id(), project, build.KIND, commit, params, (), now, RunState.FAILED, ended=now, error=message
        )
        tx.put(RUNS, run)

    def _supersede(self, tx: Transaction, project: str, commit: str) -> None:
        """A newer push ends the build of an older one; nobody waits for what will not go live."""
        context = self._context
        for run in tx.find(RUNS, where={"project": project, "kind": build.KIND, "state": RunState.RUNNING}):
            tx.put(RUNS, replace(run, cancel=f"superseded by {commit[:8]}"))
            tx.append(
                context.event(
                    "code.superseded", f"project/{project}", project, commit=run.subject, newer=commit, run=run.id
                )
            )
