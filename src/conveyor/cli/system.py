"""`conveyor up | down | upgrade | status | logs | events`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json
from conveyor.client import Client
from conveyor.domain.run import DONE
from conveyor.domain.status_text import render
from conveyor.errors import NotFound

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("down")(down)
    app.command("upgrade")(upgrade)
    app.command("status")(status)
    app.command("logs")(logs)
    app.command("events")(events)


def up() -> None:
    """Start Conveyor here; what runs already is left alone. Example: conveyor up

    A control plane of another version than this command's is replaced; services and the proxy are not touched.
    """
    settings = lifecycle.up(lifecycle.home())
    token = settings.token_file.read_text().strip()
    say("Conveyor is up.")
    say(f"  traffic     {settings.public_url}")
    say(f"  pages, API  {settings.api_url}/?token={token}")
    say(f"  git remote  http://conveyor:{token}@{settings.host}:{settings.api_port}/git/<project>.git")
    say(f"  state       {settings.home}")


def down() -> None:
    """Stop every process; the state stays. Example: conveyor down"""
    lifecycle.down(lifecycle.home())
    say("Conveyor is down; `conveyor up` carries on where it was.")


def upgrade(as_json: Json = False) -> None:
    """Replace the control plane by the version installed now; services go on. Example: conveyor upgrade"""
    done = lifecycle.upgrade(lifecycle.home())
    if as_json:
        say_json(done)
        return
    if not done.replaced:
        say(f"The control plane is Conveyor {done.after} already; nothing was replaced.")
    elif done.before:
        say(f"The control plane was Conveyor {done.before} and is {done.after} now; it took {done.seconds:g} s.")
    else:
        say(f"No control plane ran; Conveyor {done.after} was started in {done.seconds:g} s.")
    say(f"  left alone  {len(done.untouched)} processes: {', '.join(done.untouched) or 'none'}")
    if done.changed:
        say(f"  ended or started again meanwhile  {', '.join(done.changed)}")
    for rollout in done.rollouts:
        say(f"  rollout of release {rollout} goes on")


def status(as_json: Json = False) -> None:
    """What is live, what is under way, what is waiting. Example: conveyor status"""
    view = lifecycle.client().status()
    if as_json:
        say_json(view)
        return
    say(render(view, datetime.now(UTC)).rstrip("\n"))


def logs(
    name: Annotated[str, typer.Argument(help="A run's id or a process; the newest run if not given.")] = "",
    step: Annotated[str, typer.Option(help="A step of the run; the one that matters most if not given.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
) -> None:
    """A run's or a process's log. Example: conveyor logs -f 3f2a1b9c8d7e"""
    client = lifecycle.client()
    if not name:
        newest = client.runs(limit=1)
        if not newest:
            raise NotFound("nothing has run yet", hint="Push a project; `conveyor up` prints the remote.")
        name = newest[0].id
    try:
        found = client.run(name)
    except NotFound:
        _process(client, name, follow=follow)
        return
    # The step that failed or runs says more than one that is done.
    telling = [each.name for each in found.steps if each.state not in DONE]
    step = step or (telling[0] if telling else found.steps[-1].name if found.steps else "")
    if follow:
        for text in client.follow(name, step):
            typer.echo(text, nl=False)
        return
    offset = 0
    while (chunk := client.log(name, step, offset)).text:
        typer.echo(chunk.text, nl=False)
        offset = chunk.next_offset


def events(
    limit: Annotated[int, typer.Option(help="How many.")] = 30,
    subject: Annotated[str, typer.Option(help="Only of this subject, such as model/shop/fraud.")] = "",
    as_json: Json = False,
) -> None:
    """The newest events, oldest first. Example: conveyor events --limit 50"""
    found = list(reversed(lifecycle.client().events(limit=limit, subject=subject, newest=True)))
    if as_json:
        say_json(found)
        return
    for event in found:
        details = " ".join(f"{key}={value}" for key, value in event.data.items() if value not in (None, "", [], {}))
        say(f"{event.time:%H:%M:%S}  {event.type:<24} {event.subject}  {details[:160]}")


def _process(client: Client, name: str, *, follow: bool) -> None:
    offset = 0
    while True:
        chunk = client.process_log(name, offset)
        typer.echo(chunk.text, nl=False)
        if not chunk.text and not follow:
            return
        if not chunk.text:
            time.sleep(0.3)
        offset = chunk.next_offset
