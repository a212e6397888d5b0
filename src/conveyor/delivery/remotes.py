"""The controller of remotes: fetches what projects follow elsewhere into the built-in repositories, as jobs.

The plan of fetches is in memory alone: after a restart everything is fetched at once, which is harmless and short.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from conveyor.domain.remote import SCHEMES, Remote, moves, refspecs, wait
from conveyor.effects import git, jobs
from conveyor.effects.environment import clean_environment
from conveyor.effects.files import write_atomic
from conveyor.engine.context import Context
from conveyor.errors import ConveyorError
from conveyor.stores.collections import REMOTES

TRACKED, SEEN = "refs/conveyor/remote/", "refs/conveyor/seen/"
_BUSY, _IDLE = 0.1, 1.0
_TIMEOUT_SECONDS = 3600.0
_LOGIN = "GIT_CONFIG_VALUE_0"
_SHOWN = 500  # characters of what git said


@dataclass(slots=True)
class _Fetch:
    """Of one project: the job under way, and when the next is due."""

    job: Path | None = None
    started: datetime | None = None
    due: datetime | None = None
    failures: int = 0


class Remotes:
    name = "remotes"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._revision = -1
        self._remotes: dict[str, Remote] = {}
        self._fetches: dict[str, _Fetch] = {}
        self._folder = context.settings.home / "remotes"
        self._swept = False

    def turn(self) -> float:
        if not self._swept:
            self._sweep()
        self._read()
        for remote in list(self._remotes.values()):
            self._turn(remote, self._fetches.setdefault(remote.project, _Fetch()))
        return _BUSY if any(fetch.job for fetch in self._fetches.values()) else _IDLE

    def _sweep(self) -> None:
        """What an earlier control plane left behind; a fetch that still runs is ended, and begun anew."""
        for job in self._folder.glob("*/*"):
            jobs.cancel(job)
            shutil.rmtree(job, ignore_errors=True)
        self._swept = True

    def _read(self) -> None:
        revision = self._context.records.revision
        if revision == self._revision:
            return
        with self._context.records.read() as tx:
            self._remotes = {each.project: each for each in tx.find(REMOTES, limit=1000)}
        self._revision = revision
        for project in set(self._fetches) - set(self._remotes):
            job = self._fetches.pop(project).job
            if job is not None:
                jobs.cancel(job)

    def _turn(self, remote: Remote, fetch: _Fetch) -> None:
        now = self._context.clock.now()
        if fetch.job is not None:
            self._look(remote, fetch, fetch.job)
            return
        asked = remote.asked is not None and (fetch.started is None or remote.asked > fetch.started)
        if asked or fetch.due is None or now >= fetch.due:
            fetch.job, fetch.started = self._folder / remote.project / self._context.new_id(), now
            self._start(remote, fetch.job)

    def _look(self, remote: Remote, fetch: _Fetch, job: Path) -> None:
        state = jobs.observe(job)
        if state.phase is jobs.JobPhase.RUNNING:
            return
        if state.phase is jobs.JobPhase.ABSENT:
            self._start(remote, job)
            return
        error = "its process vanished" if state.result is None else ""
        if state.result is not None and not state.result.ok:
            error = _said(job) or state.result.error or f"git ended with {state.result.exit_code}"
        if not error:
            error = self._apply(remote)
        fetch.job = None
        fetch.failures = fetch.failures + 1 if error else 0
        fetch.due = self._context.clock.now() + wait(remote.poll, fetch.failures)
        shutil.rmtree(job, ignore_errors=True)
        self._note(remote, error)

    def _start(self, remote: Remote, job: Path) -> None:
        """Into refs of its own: what moved there is applied when all of it is here."""
        settings = self._context.settings
        repo = settings.repos / f"{remote.project}.git"
        git.ensure_repo(repo, f"{settings.api_url}/projects/{remote.project}/commits")
        options = ("--no-tags", "--prune", "--no-write-fetch-head", "--quiet")
        words = ("git", "-C", str(repo), "fetch", *options, remote.url, *refspecs(remote.branches, TRACKED))
        env = clean_environment() | git.environment(
            GIT_ALLOW_PROTOCOL=":".join(SCHEMES), GIT_SSH_COMMAND="ssh -o BatchMode=yes -o ConnectTimeout=20"
        )
        sealed = ""
        if remote.login:
            parts = urlsplit(remote.url)
            env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader"}
            sealed = self._sealed(remote, job)
        task = jobs.Job(job, job / "log", words, env=env, timeout_seconds=_TIMEOUT_SECONDS, sealed=sealed)
        jobs.start(job, task)

    def _sealed(self, remote: Remote, job: Path) -> str:
        content = {
            "home": str(self._context.settings.home),
            "secrets": {_LOGIN: [bound_to(remote.project, "login"), remote.login]},
        }
        write_atomic(job / "sealed.json", msgspec.json.encode(content), mode=0o600)
        return str(job / "sealed.json")

    def _apply(self, remote: Remote) -> str:
        """All branches that moved at once, or none; why not, if it could not be."""
        repo = self._context.settings.repos / f"{remote.project}.git"
        heads = {ref.removeprefix("refs/heads/"): sha for ref, sha in git.heads(repo).items()}
        try:
            git.update_refs(repo, moves(git.tracked(repo, TRACKED), git.tracked(repo, SEEN), heads, SEEN))
        except ConveyorError as error:
            return error.message[:_SHOWN]
        return ""

    def _note(self, remote: Remote, error: str) -> None:
        """A streak of failures is told once."""
        context = self._context
        with context.transaction() as tx:
            current = tx.get(REMOTES, remote.project)
            if current is None or current.url != remote.url:
                return
            fetched = current.fetched if error else context.clock.now()
            tx.put(REMOTES, replace(current, error=error, fetched=fetched))
            if error and not current.error:
                subject = f"project/{remote.project}"
                tx.append(context.event("remote.failed", subject, remote.project, url=remote.url, error=error))


def bound_to(project: str, what: str) -> str:
    """What a sealed value of a remote is bound to: it cannot be passed off as another's."""
    return f"{project}/remote/{what}"


def _said(job: Path) -> str:
    try:
        return (job / "log").read_text(errors="replace").strip()[-_SHOWN:]
    except FileNotFoundError:
        return ""
