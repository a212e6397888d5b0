"""`conveyor why prediction`: what one answer was made of."""

from __future__ import annotations

from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import say, say_json, table


def why_prediction(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of the answer, or the key of the request.")],
    model: Annotated[str, typer.Option(help="Look among the predictions of this model only.")] = "",
    project: Annotated[str, typer.Option("--project", help="Look in this project only.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What was asked, answered, by which version, made of what. Example: conveyor why prediction 8c1f-2a"""
    found = lifecycle.client().prediction(id_, project, model)
    if as_json:
        say_json(found)
        return
    release = f", release {found.release}" if found.release is not None else ""
    say(f"{found.id} was answered at {found.at:%Y-%m-%d %H:%M:%S} UTC by {found.model}@{found.version}{release}")
    say(f"  score {'-' if found.score is None else format(found.score, 'g')}{', ' + found.mark if found.mark else ''}")
    if found.key:
        say(f"  key {found.key}, event time {found.time:%Y-%m-%d %H:%M:%S}")
    trained = ", ".join(f"{name} v{number}" for name, number in found.data.items())
    say(f"  trained on {trained or 'data that is not on record'}, commit {found.commit[:12]}: {found.trained}")
    told = f"{found.label}, told {found.told:%Y-%m-%d %H:%M:%S}" if found.label and found.told else "none came yet"
    say(f"  label: {told}")
    table(("feature", "value"), [(n, "-" if v is None else format(v, "g")) for n, v in found.features.items()])
