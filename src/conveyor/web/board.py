"""What the pages show beyond single records: views for people, read from the desk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from conveyor.delivery.desk import Desk
from conveyor.domain.dora import Dora, Spread
from conveyor.domain.events import Event
from conveyor.domain.metric import METRICS
from conveyor.domain.model import ModelVersion
from conveyor.domain.monitor import Quality
from conveyor.domain.narrative import sentence
from conveyor.domain.project import MonitorConfig
from conveyor.domain.release import Release
from conveyor.domain.run import Run, Step
from conveyor.domain.views import EnvironmentView
from conveyor.errors import NotFound
from conveyor.web.charts import Spec, drift_chart, quality_chart

TIMELINE = 50
LOG_LINES = 200
_LOG_CHUNKS = 64  # of 256 KB: what is read of a log to find its end

_BAD = ("failed", "refused", "rejected", "aborted", "rolled_back", "config_invalid", "error", "lost", "data_fault")
_WARN = ("drift", "decay", "estimated_decay", "quarantined", "waiting", "cancelled", "duplicate", "superseded")
_GOOD = ("succeeded", "completed", "ready", "version_created")


@dataclass(frozen=True, slots=True)
class Line:
    """One event on the timeline. `tone` is good, bad, warn or plain."""

    seq: int
    type: str
    time: datetime
    text: str
    tone: str
    link: str


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a step's log; `offset` is where what follows begins."""

    text: str
    offset: int
    cut: bool


def lines(events: list[Event]) -> list[Line]:
    return [Line(each.seq, each.type, each.time, sentence(each), tone(each), link(each)) for each in events]


def tone(event: Event) -> str:
    what = event.type.partition(".")[2]
    return "bad" if what in _BAD else "warn" if what in _WARN else "good" if what in _GOOD else "plain"


def link(event: Event) -> str:
    """Where more is told: the run's page, the model's, or the commit's."""
    kind, _, rest = event.subject.partition("/")
    if kind == "run":
        return f"/runs/{quote(rest)}"
    if kind == "model" and "/" in rest:
        return f"/models/{quote(rest)}"
    if event.type == "rollout.receipt" and kind == "environment" and rest.count("/") == 1:
        project, name = map(quote, rest.split("/"))
        return f"/projects/{project}/environments/{name}/releases/{event.data.get('release')}"
    commit = event.data.get("commit")
    if isinstance(commit, str) and event.project and event.type.startswith(("code.", "project.", "release.", "build.")):
        return f"/projects/{quote(event.project)}/commits/{quote(commit)}"
    return ""


def percents(desk: Desk) -> dict[str, int]:
    """Percent of the traffic on the newest release, by environment with an open rollout."""
    found = {}
    for view in desk.status().environments:
        id_ = f"{view.project}/{view.name}"
        if view.rollout is not None:
            events = desk.events(subject=f"environment/{id_}", types=("rollout.advanced",), limit=1, newest=True)
            mine = bool(events) and events[0].data.get("release") == view.rollout.release
            found[id_] = int(events[0].data.get("percent", 0)) if mine else 0
    return found


def key_metric(version: ModelVersion | None, measures: list[Quality]) -> str:
    """The metric that the model is judged by: the one it is monitored with; before that, the first known one."""
    if measures:
        return measures[0].metric
    named = version.metrics if version else {}
    return next((name for name in METRICS if name in named), next(iter(named), ""))


def charts(desk: Desk, project: str, model: str) -> dict[str, Spec]:
    """The charts of a model that there is something to draw for."""
    found: dict[str, Spec] = {}
    try:
        versions = desk.model_versions(project, model, 200)
        measures, windows = desk.quality(project, model), desk.windows(project, model)
    except NotFound:
        return found
    metric = key_metric(versions[0] if versions else None, measures)
    if measures or any(metric in each.metrics and each.labelled_until for each in versions):
        found["quality"] = quality_chart(measures, versions, metric, windows)
    if windows:
        found["drift"] = drift_chart(list(reversed(windows)), MonitorConfig().psi)
    return found


def log_tail(desk: Desk, run: Run, step: Step) -> Log:
    offset, text, cut = 0, "", False
    for _ in range(_LOG_CHUNKS):
        chunk = desk.log(run.id, step.name, offset)
        if not chunk.text or chunk.next_offset <= offset:
            break
        kept = (text + chunk.text).splitlines(keepends=True)
        cut = cut or len(kept) > LOG_LINES
        text, offset = "".join(kept[-LOG_LINES:]), chunk.next_offset
    return Log(text, offset, cut)


def releases_of(desk: Desk, project: str, commit: str) -> list[Release]:
    """The newest releases that a commit's build is part of."""
    environments = [view.name for view in desk.status().environments if view.project == project]
    return [r for name in environments for r in desk.releases(project, name) if r.commit == commit]


def previews_of(desk: Desk, project: str, push: Event | None) -> list[EnvironmentView]:
    """The preview that the branch of a push has, if it has one."""
    branch = push.data.get("branch") if push else None
    views = desk.status().environments if branch else ()
    return [v for v in views if v.project == project and v.branch == branch and v.expires is not None]


def seen_push(desk: Desk, project: str, commit: str) -> Event | None:
    events = desk.events(subject=f"project/{project}", types=("code.pushed",), limit=200, newest=True)
    return next((event for event in events if event.data.get("commit") == commit), None)


def superseded_by(desk: Desk, project: str, commit: str) -> str:
    """The newer push that this one gave way to; empty where it did not, or came again since."""
    types = ("code.superseded", "code.pushed")
    events = desk.events(subject=f"project/{project}", types=types, limit=200, newest=True)
    last = next((event for event in events if event.data.get("commit") == commit), None)
    return str(last.data["newer"]) if last is not None and last.type == "code.superseded" else ""


def dora(desk: Desk) -> list[Dora]:
    """The keys of every environment that is no preview and has a live release."""
    views = [view for view in desk.status().environments if view.live is not None and view.expires is None]
    return [desk.reports.recent_dora(view.project, view.name) for view in views]


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


def spread(value: Spread) -> str:
    """Median and 90th percentile of what took seconds; "-" where there was none."""
    if value.median is None or value.p90 is None:
        return "-"
    start = datetime.now(UTC)
    median, p90 = (took(start, start + timedelta(seconds=each)) for each in (value.median, value.p90))
    return f"{median} median, {p90} p90 ({value.count})"


def took(start: datetime | None, end: datetime | None) -> str:
    """How long, for people: "0.4 s", "12 s", "3 min 5 s"; empty before the start."""
    if start is None:
        return ""
    span: timedelta = (end or datetime.now(UTC)) - start
    seconds = max(0.0, span.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {seconds % 60:.0f} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
