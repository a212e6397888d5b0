"""The status as a person reads it in a terminal: rendered where it is known, so that the command has nothing to
import."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from conveyor.domain.rollout import Phase, Rollout
from conveyor.domain.run import DONE, Run
from conveyor.domain.views import DatasetView, EnvironmentView, ModelView, ProcessView, StatusView

_CALM = ("RUNNING", "STARTING", "STOPPING")


def render(view: StatusView, now: datetime) -> str:
    return "\n".join(_lines(view, now)) + "\n"


def _lines(view: StatusView, now: datetime) -> Iterator[str]:
    yield f"Conveyor {view.version}, {'working' if view.reconciling else 'NOT WORKING: see conveyor logs control'}"
    yield f"  traffic {view.public_url}   pages {view.api_url}"
    if not view.environments and not view.datasets:
        yield "\nNothing was pushed yet. In your project: git push <remote> main; `conveyor up` prints the remote."
    for environment in view.environments:
        yield from _environment(environment, now)
    for model in view.models:
        yield from _model(model)
    for data in view.datasets:
        yield _data(data)
    if view.runs:
        yield "\nunder way:"
    for run in view.runs:
        yield _run(run, now)
    yield _processes(view.processes)


def _environment(view: EnvironmentView, now: datetime) -> Iterator[str]:
    live = view.live
    models = "".join(f", {name} v{version}" for name, version in (live.models if live else {}).items())
    what = f"release {live.number}, commit {live.commit[:8]}{models}" if live else "nothing live"
    yield f"\n{view.project} {view.name}: {what}"
    if view.address and (live or view.branch):
        yield f"  {view.address}"
    if view.note:
        yield f"  {view.note}"
    if view.proposal is not None:
        yield f"  waits for approval: {view.proposal.text}; conveyor approve {view.name}"
    if view.rollout is not None:
        yield f"  {_rollout(view.rollout, now)}"
    if view.waiting:
        yield f"  waiting: {view.waiting}"
    for component, reason in list(view.rejected.items())[-3:]:
        yield f"  rejected {component[:40]}: {reason[:120]}"


def _rollout(rollout: Rollout, now: datetime) -> str:
    what, seconds = f"release {rollout.release}", f"{(now - rollout.entered).total_seconds():.0f} s"
    held = ", paused" if rollout.paused is not None else ""
    match rollout.phase:
        case Phase.CANARY:
            return f"{what} is a canary, step {rollout.step + 1}, for {seconds}{held}"
        case Phase.LIVE:
            return f"{what} has all traffic, watched for {seconds}; release {rollout.previous} is kept warm{held}"
        case Phase.ABORTING:
            return f"{what} is rolled back: {rollout.abort}"
        case phase:
            return f"{what} is rolling out: {phase}, for {seconds}{held}"


def _model(view: ModelView) -> Iterator[str]:
    live = view.live
    figures = ", ".join(f"{name} {value:.4g}" for name, value in live.metrics.items()) if live else ""
    yield f"\nmodel {view.name}: {f'v{live.version} live ({figures})' if live else 'none live'}"
    if view.newest is not None and (live is None or view.newest.version != live.version):
        yield f"  newest v{view.newest.version} {view.newest.status}, from {view.newest.reason}"
    if view.decision:
        yield f"  governor: {view.decision}"


def _data(view: DatasetView) -> str:
    newest = view.newest
    until = f", until {newest.last:%Y-%m-%d %H:%M}" if newest and newest.last else ""
    rows = f"v{newest.version}, {newest.rows:,} {newest.things}{until}" if newest else "empty"
    counts = (
        (view.waiting, "waiting"),
        (view.refused, "refused"),
        (view.quarantined_files, "with rows in quarantine"),
    )
    more = ", ".join(f"{count} {what}" for count, what in counts if count)
    stale = f"; STALE: nothing new since {view.stale.since:%Y-%m-%d %H:%M}" if view.stale else ""
    return f"\ndata {view.name}: {rows}{'; files: ' + more if more else ''}{stale}"


def _run(run: Run, now: datetime) -> str:
    done = sum(step.state in DONE for step in run.steps)
    seconds = (now - run.created).total_seconds()
    return f"  {run.id}  {run.kind:<8} {run.subject[:40]:<40} {done}/{len(run.steps)} steps, {seconds:.0f} s"


def _processes(processes: tuple[ProcessView, ...]) -> str:
    bad = ", ".join(f"{process.name} {process.state}" for process in processes if process.state not in _CALM)
    return f"\n{len(processes)} processes{': ' + bad if bad else ', all running'}"
