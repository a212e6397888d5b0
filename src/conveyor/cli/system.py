"""`conveyor up | down | status | logs | events`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.client import Client
from conveyor.domain.run import DONE
from conveyor.domain.views import EnvironmentView, ModelView, StatusView
from conveyor.errors import NotFound

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
    app.command("logs")(logs)
    app.command("events")(events)


def up() -> None:
    """Start Conveyor here; what runs already is left alone. Example: conveyor up"""
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


def status(as_json: Json = False) -> None:
    """What is live, what is under way, what is waiting. Example: conveyor status"""
    view = lifecycle.client().status()
    if as_json:
        say_json(view)
        return
    say(f"Conveyor {view.version}, {'working' if view.reconciling else 'NOT WORKING: see conveyor logs control'}")
    say(f"  traffic {view.public_url}   pages {view.api_url}")
    if not view.environments and not view.datasets:
        say("\nNothing was pushed yet. In your project: git push <remote> main; `conveyor up` prints the remote.")
    for environment in view.environments:
        _environment(environment)
    for model in view.models:
        _model(model)
    _rest(view)


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


def _environment(view: EnvironmentView) -> None:
    live = view.live
    models = ", ".join(f"{name} v{version}" for name, version in (live.models if live else {}).items())
    what = (
        f"release {live.number}, commit {live.commit[:8]}{', ' + models if models else ''}" if live else "nothing live"
    )
    say(f"\n{view.project} {view.name}: {what}")
    if view.rollout is not None:
        say(f"  release {view.rollout.release} is rolling out: {view.rollout.phase} {view.rollout.abort}".rstrip())
    if view.waiting:
        say(f"  waiting: {view.waiting}")
    for component, reason in list(view.rejected.items())[-3:]:
        say(f"  rejected {component[:40]}: {reason[:120]}")


def _model(view: ModelView) -> None:
    live = view.live
    figures = ", ".join(f"{name} {value:.4g}" for name, value in live.metrics.items()) if live else ""
    say(f"\nmodel {view.name}: {f'v{live.version} live ({figures})' if live else 'none live'}")
    if view.newest is not None and (live is None or view.newest.version != live.version):
        say(f"  newest v{view.newest.version} {view.newest.status}, from {view.newest.reason}")
    if view.decision:
        say(f"  governor: {view.decision}")


def _rest(view: StatusView) -> None:
    for data in view.datasets:
        newest = data.newest
        rows = (
            f"v{newest.version}, {newest.rows:,} rows, until {newest.last:%Y-%m-%d %H:%M}"
            if newest and newest.last
            else "empty"
        )
        more = [
            f"{count} {what}"
            for count, what in (
                (data.waiting, "waiting"),
                (data.refused, "refused"),
                (data.quarantined_files, "with rows in quarantine"),
            )
            if count
        ]
        say(f"\ndata {data.name}: {rows}{'; files: ' + ', '.join(more) if more else ''}")
    if view.runs:
        say()
        done = [sum(step.state in DONE for step in run.steps) for run in view.runs]
        table(
            ("run", "kind", "about", "steps", "since"),
            [
                (r.id, r.kind, r.subject[:40], f"{d}/{len(r.steps)}", ago(r.created))
                for r, d in zip(view.runs, done, strict=True)
            ],
        )
    bad = [process for process in view.processes if process.state not in ("RUNNING", "STARTING", "STOPPING")]
    say(
        f"\n{len(view.processes)} processes"
        + (": " + ", ".join(f"{p.name} {p.state}" for p in bad) if bad else ", all running")
    )
