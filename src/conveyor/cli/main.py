"""The command line: one file a noun; heavy imports only inside the commands that need them."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor import __version__
from conveyor.cli import (
    alerts,
    data,
    demo_command,
    deploy,
    doctor,
    dora,
    environment,
    gc,
    labels,
    model,
    notify,
    parity,
    release,
    remote,
    replay,
    reproduce,
    rollout,
    run,
    score,
    secret,
    sweep,
    system,
    token,
    track,
)
from conveyor.cli.output import say, told

app = typer.Typer(
    help="Continuous delivery for software and for models. Start here: `conveyor up`, then `conveyor status`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
system.add(app)
demo_command.add(app)
doctor.add(app)
gc.add(app)
app.add_typer(alerts.app, name="alerts")
app.add_typer(data.app, name="data")
app.add_typer(labels.app, name="labels")
app.add_typer(model.app, name="model")
app.add_typer(model.why, name="why")
app.add_typer(notify.app, name="notify")
app.add_typer(release.app, name="release")
app.add_typer(remote.app, name="remote")
app.add_typer(rollout.app, name="rollout")
app.add_typer(run.app, name="run")
app.add_typer(secret.app, name="secret")
app.add_typer(sweep.app, name="sweep")
app.add_typer(token.app, name="token")
app.add_typer(track.app, name="track")
model.app.command("trust")(track.trust)
model.app.command("parity")(parity.parity)
model.app.command("try")(track.try_pickle)
release.add(app)
dora.add(app)
replay.add(app)
reproduce.add(app)
score.add(app)
environment.add(app)
deploy.add(app)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(__version__)
        raise typer.Exit


def main() -> None:
    with told():
        app()
