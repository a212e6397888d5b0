"""`conveyor deploy`: pushes a commit and waits until it is live, or says why it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.follow import Follower
from conveyor.cli.output import say, say_json
from conveyor.client import Client
from conveyor.domain.deployment import Deployment, Outcome
from conveyor.errors import InputRejected, NotFound, Refused, Unavailable

_CONFIG = "conveyor.toml"


def add(root: typer.Typer) -> None:
    root.command("deploy")(deploy)


def deploy(
    ref: Annotated[str, typer.Argument(help="A commit, branch or tag of this repository.")] = "HEAD",
    branch: Annotated[str, typer.Option(help="The branch that it is pushed to.")] = "main",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it until it is live.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Also when the branch has other commits by now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Push a commit and follow it until it is live. Example: conveyor deploy HEAD --branch main

    Ends with 0 only when it is live. Ctrl-C leaves it running.
    """
    client = lifecycle.client()
    commit = _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", problem=f"{ref!r} is no commit").strip()
    project = _project(_git("show", f"{commit}:{_CONFIG}", problem=f"{commit[:8]} has no {_CONFIG} at its root"))
    _warn(ref)
    begun = client.events(newest=True, limit=1)
    moved = _push(client, project, commit, branch, force=force)
    page = f"{client.url}/projects/{project}/commits/{commit}"
    if not as_json:
        say(f"{commit[:8]} {'is' if moved else 'was already'} on {branch} of {project}: {page}")
    wanted = Deployment(project, branch, commit)
    if not wait:
        if as_json:
            say_json(wanted)
        return
    follower = Follower(client, wanted, quiet=as_json)
    try:
        ended = follower.run(begun[0].seq if begun else 0, moved=moved)
    except KeyboardInterrupt:
        say(f"\nIt goes on by itself: {page}")
        raise
    if as_json:
        say_json({"deployment": ended, "tests": follower.tests})
    else:
        _verdict(client, ended)
    if ended.outcome is not Outcome.LIVE:
        raise typer.Exit(1)


def _verdict(client: Client, ended: Deployment) -> None:
    if ended.outcome is Outcome.LIVE:
        say(f"{ended.commit[:8]} is live in {', '.join(ended.live)}.")
        for view in client.environments(ended.project):
            if view.name in ended.live:
                say(f"  {view.name}: {view.address}")
        return
    sys.stderr.write(f"error: {ended.commit[:8]} is not live ({ended.outcome.replace('_', ' ')}): {ended.reason}\n")


def _project(text: str) -> str:
    """All else that is in the file is judged by the control plane; this command needs none of its parts."""
    try:
        name = tomllib.loads(text)["project"]["name"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputRejected(
            f"{_CONFIG} does not name the project: {error}", hint='Write [project] name = "…".'
        ) from error
    return str(name)


def _warn(ref: str) -> None:
    changed = _git("status", "--porcelain", problem="this is no working tree").splitlines()
    if changed and ref == "HEAD":
        count = f"{len(changed)} file{' has' if len(changed) == 1 else 's have'}"
        sys.stderr.write(f"warning: {count} changes that are not committed; they are not deployed.\n")


def _push(client: Client, project: str, commit: str, branch: str, *, force: bool) -> bool:
    """False when the branch was there already. The token is in git's environment alone, in no list of processes."""
    given = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    env = os.environ | {
        "GIT_CONFIG_COUNT": str(given + 1),
        f"GIT_CONFIG_KEY_{given}": f"http.{client.url}/.extraHeader",
        f"GIT_CONFIG_VALUE_{given}": f"Authorization: {client.authorization}",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    options = ("--porcelain", *(("--force",) if force else ()))
    url = f"{client.url}/git/{project}.git"
    words = ("git", "push", *options, url, f"{commit}:refs/heads/{branch}")
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return not any(line.startswith("=") for line in done.stdout.splitlines())
    said = done.stderr + done.stdout
    if "non-fast-forward" in said or "fetch first" in said:
        raise Refused(
            f"{branch} of {project} has commits that {commit[:8]} does not have",
            hint="Merge them first; or replace them: conveyor deploy --force",
        )
    raise Unavailable(f"the push failed: {said.strip()}", hint="See what git says; `conveyor status` shows the server.")


def _git(*words: str, problem: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable("git is not installed", hint="Install git.") from error
    if done.returncode:
        if "not a git repository" in done.stderr:
            raise NotFound("this folder is in no git repository", hint="Run it inside the project's repository.")
        raise InputRejected(f"{problem}: {done.stderr.strip()}".rstrip(": "), hint="`git log` shows what there is.")
    return done.stdout
