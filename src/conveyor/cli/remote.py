"""`conveyor remote`: repositories elsewhere that are followed."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests

app = typer.Typer(help="Repositories elsewhere that projects follow.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(
    project: str,
    url: Annotated[str, typer.Argument(help="https, ssh, git or file; a login in it is kept sealed.")],
    branch: Annotated[list[str] | None, typer.Option(help="Only these; may have one *. All if not given.")] = None,
    poll: Annotated[str, typer.Option(help="How often to look when no webhook tells of a push.")] = "1m",
    as_json: Json = False,
) -> None:
    """Follow a repository. Example: conveyor remote add shop https://github.com/acme/shop.git --branch main"""
    made = lifecycle.client().add_remote(project, requests.AddRemote(url, tuple(branch or ()), poll))
    if as_json:
        say_json(made)
        return
    say(f"{project} follows {made.url}, and looks every {poll}.")
    say("To have a push built at once, add a webhook for push events there (content type application/json):")
    say(f"  GitHub  {made.github}")
    say(f"  GitLab  {made.gitlab}")
    say(f"  secret  {made.secret}")
    say("The secret is shown only now. For GitLab it serves as signing token and as secret token.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """What is followed, and how the last fetch went. Example: conveyor remote list"""
    found = lifecycle.client().remotes()
    if as_json:
        say_json(found)
        return
    table(
        ("project", "url", "branches", "fetched", "error"),
        [(r.project, r.url, " ".join(r.branches), ago(r.fetched), " ".join(r.error.split())[-80:]) for r in found],
    )


@app.command("rm")
def rm(project: str) -> None:
    """Follow it no more; what was fetched stays. Example: conveyor remote rm shop"""
    say(lifecycle.client().remove_remote(project).message)
