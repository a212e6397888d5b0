"""`conveyor track`: tracked runs, of Conveyor's trainings and of MLflow's clients."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from conveyor.cli import lifecycle
from conveyor.cli.output import ago, say, say_json, table
from conveyor.domain import requests
from conveyor.domain.tracked import Pair, Point, TrackedRun

app = typer.Typer(help="Tracked runs: their params, metrics and tags.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHOWN = 4  # metrics and params in a row of a list


@app.command("experiments")
def experiments(as_json: Json = False) -> None:
    """What runs are tracked under. Example: conveyor track experiments"""
    found = lifecycle.client().tracked_experiments()
    if as_json:
        say_json(found)
        return
    table(
        ("id", "experiment", "made", "tags"),
        [(e.experiment_id, e.name, ago(_moment(e.creation_time)), _pairs(e.tags)) for e in found],
    )


@app.command("list")
def list_(
    experiment: Annotated[str, typer.Argument(help="Its name; all if not given.")] = "",
    filter_: Annotated[str, typer.Option("--filter", help="In MLflow's language, such as: metrics.auc > 0.9")] = "",
    sort: Annotated[list[str] | None, typer.Option(help='Such as "metrics.auc DESC"; the newest if not given.')] = None,
    limit: int = 20,
    as_json: Json = False,
) -> None:
    """Search runs. Example: conveyor track list shop/fraud --filter "metrics.auc > 0.9" --sort "metrics.auc DESC" """
    found = lifecycle.client().tracked(requests.TrackSearch(experiment, filter_, tuple(sort or ()), limit))
    if as_json:
        say_json(found)
        return
    table(
        ("run", "name", "status", "started", "metrics", "params"),
        [(r.info.run_id, r.info.run_name, r.info.status, ago(_moment(r.info.start_time)), *_figures(r)) for r in found],
    )


@app.command("show")
def show(run: str, as_json: Json = False) -> None:
    """All that a run logged, the newest value of each metric. Example: conveyor track show 3f2a1b9c8d7e"""
    found = lifecycle.client().tracked_run(run)
    if as_json:
        say_json(found)
        return
    say(f"{found.info.run_name} ({found.info.run_id}): {found.info.status}")
    for metric in sorted(found.data.metrics, key=lambda each: each.key):
        say(f"  metric {metric.key:<30} {_figure(metric)}  at step {metric.step}")
    for kind, pairs in (("param ", found.data.params), ("tag   ", found.data.tags)):
        for pair in pairs:
            say(f"  {kind} {pair.key:<30} {pair.value[:120]}")


@app.command("compare")
def compare(runs: list[str], as_json: Json = False) -> None:
    """Runs side by side: what differs in params, and every metric. Example: conveyor track compare 3f2a1b9c 8d7e6f5a"""
    client = lifecycle.client()
    found = [client.tracked_run(run) for run in runs]
    if as_json:
        say_json(found)
        return
    rows = []
    params = [{pair.key: pair.value for pair in each.data.params} for each in found]
    for key in sorted({key for each in params for key in each}):
        values = [each.get(key, "-") for each in params]
        if len(set(values)) > 1:
            rows.append((f"param {key}", *(value[:40] for value in values)))
    metrics = [{point.key: point for point in each.data.metrics} for each in found]
    for key in sorted({key for each in metrics for key in each}):
        rows.append((f"metric {key}", *(_figure(each[key]) if key in each else "-" for each in metrics)))
    table(("", *(each.info.run_name for each in found)), rows)


@app.command("curve")
def curve(run: str, metric: str, as_json: Json = False) -> None:
    """The values of a metric, 500 at most. Example: conveyor track curve 3f2a1b9c8d7e loss"""
    found = lifecycle.client().tracked_curve(run, metric)
    if as_json:
        say_json(found)
        return
    table(("step", metric, "time"), [(p.step, _figure(p), f"{_moment(p.timestamp):%H:%M:%S}") for p in found])


def trust(
    digest: Annotated[str, typer.Argument(help="The digest that the refusal named.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept on record.")],
) -> None:
    """Let a pickle be uploaded by its digest. Example: conveyor model trust 5f2b9c… --reason "made by our CI" """
    say(lifecycle.client().trust(requests.TrustFile(digest, reason)).message)


def try_pickle(
    what: Annotated[str, typer.Argument(help="NAME@VERSION of a model that an MLflow client registered.")],
    project: Annotated[str, typer.Option(help="In whose environment; needed where there are several.")] = "",
    as_json: Json = False,
) -> None:
    """Load a trusted pickle once, in a process of its own, and score its example; exit code 1 where it fails.

    Example: conveyor model try clf@1
    """
    name, at, version = what.rpartition("@")
    if not at:
        raise typer.BadParameter(f"{what} names no version; write it as {what}@1")
    client = lifecycle.client()
    done = client.try_pickle(requests.TryPickle(client.project(project), name, version))
    found = done.loaded
    if as_json:
        say_json(done)
    else:
        say(f"{what}  {found.problem or f'{found.kind}: loaded in process {done.pid}, which has ended'}")
        if found.rows:
            say(f"{found.rows} rows of its example scored: {', '.join(f'{score:.5g}' for score in found.scores)}")
        if not found.problem:
            could = f"as {found.form}; its scores differ by {found.parity:.2g} at most"
            say(f"Conveyor would serve it {could}" if found.form else f"Conveyor would not serve it: {found.unserved}")
    if found.problem:
        raise typer.Exit(1)


def _figures(run: TrackedRun) -> tuple[str, str]:
    metrics = sorted(run.data.metrics, key=lambda each: each.key)
    shown = ", ".join(f"{each.key} {_figure(each)}" for each in metrics if not each.key.startswith("system/"))
    return shown[:60], _pairs(run.data.params[:_SHOWN])


def _figure(point: Point) -> str:
    return f"{point.value:.5g}" if isinstance(point.value, float) else point.value


def _pairs(pairs: list[Pair]) -> str:
    return ", ".join(f"{pair.key} {pair.value}"[:24] for pair in pairs)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
