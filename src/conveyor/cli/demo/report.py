"""The demo's report: facts from the event log and the client's own counts; shown in the terminal, as a page, as
JSON."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from conveyor.cli.demo.chart import report_chart
from conveyor.domain.events import Event

if TYPE_CHECKING:
    from conveyor.cli.demo.story import Story

_RETRAINS = "governor.decided"


def gather(story: Story, counters: dict[str, Any], weeks: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is shown, as plain data; nothing here is set by hand."""
    told, events = story.told, story.events
    facts: dict[str, Any] = {
        **_requests(told.commits, counters),
        "weeks": weeks,
        **_decisions(events),
        "releases": _releases(events),
        "pushes": {what: commit[:8] for what, commit in told.commits.items()},
        "injected": {
            "drift_days": told.drifted,
            "what": "amounts twice as large, in what is served and what lands",
        },
        "killed": _killed(told.killed, events),
        "data": str(story.options.data or "simulated"),
        "seconds_to_first_release": round(told.first_live, 1),
        "seconds": round(time.monotonic() - told.started, 1),
    }
    facts["expectations"] = _expectations(facts)
    return facts


def _requests(commits: dict[str, str], counters: dict[str, Any]) -> dict[str, Any]:
    """Told apart by the version that answered; `-` is a failure without an answer."""
    bad, unstartable = (f"web@{commits.get(what, '-')[:8]}" for what in ("answers 500", "cannot start"))
    answered, failed = counters["answered"], counters["failed"]
    return {
        "requests_sent": counters["sent"],
        "requests_failed": sum(failed.values()) - failed.get(bad, 0),
        "requests_failed_bad_push": failed.get(bad, 0),
        "requests_answered_by_bad_push": answered.get(bad, 0) + failed.get(bad, 0),
        "requests_answered_by_push_that_cannot_start": answered.get(unstartable, 0) + failed.get(unstartable, 0),
        "failure_causes": counters["causes"],
        "latency_ms": {"p50": counters["p50_ms"], "p99": counters["p99_ms"]},
    }


def _decisions(events: list[Event]) -> dict[str, Any]:
    """What was retrained, refused and rolled back, and why."""
    decided = [event for event in events if event.type == _RETRAINS]
    return {
        "retrains": [
            {"trigger": e.data["trigger"], "reason": e.data["reason"], "run": e.data["run"], "at": e.time.isoformat()}
            for e in decided
            if e.data["train"]
        ],
        "not_retrained": [e.data["reason"] for e in decided if not e.data["train"]][-5:],
        "refused_models": [_of(e, "version", "reasons") for e in events if e.type == "model.refused"],
        "rollbacks": [_of(e, "release", "back_to", "reason") for e in events if e.type == "rollout.rolled_back"],
        "refused_files": [_of(e, "file", "error") for e in events if e.type == "data.refused"],
        "quarantined": [_of(e, "file", "rows") for e in events if e.type == "data.quarantined"],
    }


def _releases(events: list[Event]) -> list[dict[str, Any]]:
    outcome = {e.data["release"]: e.type.removeprefix("rollout.") for e in events if e.type in _ENDS}
    return [
        {
            "release": e.data["release"],
            "reason": e.data["reason"],
            "commit": e.data["commit"][:8],
            "models": e.data["models"],
            "outcome": outcome.get(e.data["release"], "open"),
        }
        for e in events
        if e.type == "release.created"
    ]


def _killed(killed: dict[str, Any], events: list[Event]) -> dict[str, Any]:
    """With how the runs ended that were in flight."""
    runs = {e.subject.removeprefix("run/"): e.type.removeprefix("run.") for e in events if e.type in _RUN_ENDS}
    return {**killed, "ended_as": {run: runs.get(run, "unknown") for run in killed["in_flight"]}} if killed else {}


_ENDS = ("rollout.completed", "rollout.rolled_back")
_RUN_ENDS = ("run.succeeded", "run.failed", "run.cancelled")


def _of(event: Event, *names: str) -> dict[str, Any]:
    return {name: event.data[name] for name in names}


def _expectations(facts: dict[str, Any]) -> list[tuple[str, bool]]:
    late = facts["weeks"][4:]
    reasons = {back["release"]: back["reason"] for back in facts["rollbacks"]}
    pushed = {release["commit"]: reasons.get(release["release"], "") for release in reversed(facts["releases"])}
    answers_500, cannot_start = (pushed.get(facts["pushes"].get(what), "") for what in ("answers 500", "cannot start"))
    return [
        ("no request failed but those that the bad push answered", facts["requests_failed"] == 0),
        ("the push that answers 500 was rolled back by itself", "5xx" in answers_500),
        ("the push that cannot start was rolled back, and got no traffic", "RuntimeError" in cannot_start
         and facts["requests_answered_by_push_that_cannot_start"] == 0),
        ("from week 5 on the current model is above the frozen one",
         all(w["ap_current"] > w["ap_frozen"] for w in late)),
        ("the truncated file was refused, the negative amounts were quarantined",
         bool(facts["refused_files"]) and bool(facts["quarantined"])),
        ("what was in flight at the kill ended as it would have",
         not facts["killed"] or all(end == "succeeded" for end in facts["killed"]["ended_as"].values())),
    ]  # fmt: skip


def show(facts: dict[str, Any], console: Console) -> None:
    console.print()
    console.print(
        f"Requests: {facts['requests_sent']:,} sent by the clients, {facts['requests_failed']} failed; besides, "
        f"{facts['requests_failed_bad_push']} of the {facts['requests_answered_by_bad_push']} "
        "that the bad push answered. "
        f"p50 {facts['latency_ms']['p50']} ms, p99 {facts['latency_ms']['p99']} ms."
    )
    title = "Average precision, scored before labels were known"
    table = Table("week", "AP current", "AP frozen", "", "versions", title=title)
    for week in facts["weeks"]:
        bar = "█" * round(week["ap_current"] * 30)
        versions = ", ".join(f"v{v}" for v in week["versions"])
        table.add_row(str(week["week"]), f"{week['ap_current']:.3f}", f"{week['ap_frozen']:.3f}", bar, versions)
    console.print(table)
    console.print("Retrained:")
    for retrain in facts["retrains"]:
        console.print(f"  {retrain['trigger']}: {retrain['reason'][:150]}", highlight=False, markup=False)
    console.print("Releases:")
    for release in facts["releases"]:
        line = f"  {release['release']:>3} {release['outcome']:<12} {release['reason']}"
        console.print(line, highlight=False, markup=False)
    for back in facts["rollbacks"]:
        console.print(f"  rolled back {back['release']}: {back['reason'][:200]}", highlight=False, markup=False)
    killed = facts["killed"]
    if killed:
        line = f"kill -9: back after {killed['back_after_seconds']} s; in flight ended as {killed['ended_as']}"
        console.print(line, markup=False)
    drift = facts["injected"]["drift_days"]
    if drift:
        console.print(f"Injected on {drift[0]} to {drift[-1]}: {facts['injected']['what']}.")
    console.print("The calendar is compressed and waits for trainings and rollouts; training itself is not compressed.")
    for what, held in facts["expectations"]:
        console.print(f"  {'holds' if held else 'DOES NOT HOLD'}: {what}", markup=False)
    first = facts["seconds_to_first_release"]
    console.print(f"Took {facts['seconds']:.0f} s, the first release was live after {first:.0f} s.")


def page(facts: dict[str, Any]) -> str:
    """A page that needs nothing else: charts are drawn into it."""
    releases = "".join(
        f"<tr><td>{r['release']}</td><td>{escape(r['outcome'])}</td><td>{escape(r['reason'])}</td></tr>"
        for r in facts["releases"]
    )
    retrains = "".join(
        f"<tr><td>{escape(str(r['trigger']))}</td><td>{escape(r['reason'])}</td></tr>" for r in facts["retrains"]
    )
    held = "".join(
        f"<li>{'holds' if ok else '<b>does not hold</b>'}: {escape(what)}</li>" for what, ok in facts["expectations"]
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Conveyor demo</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}}
table{{border-collapse:collapse;width:100%}}td,th{{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #ddd}}
svg{{max-width:100%;height:auto}}</style></head><body><h1>Conveyor demo</h1>
<p>{facts["requests_sent"]:,} requests, {facts["requests_failed"]} failed; {facts["requests_failed_bad_push"]} more
were answered with an error by the push that was broken on purpose. Data: {escape(facts["data"])}.</p>
<h2>Quality, week by week</h2>{report_chart(quality_chart(facts["weeks"]))}
<p>Injected: {escape(facts["injected"]["what"])}, {len(facts["injected"]["drift_days"])} days.</p>
<h2>What held</h2><ul>{held}</ul>
<h2>Retrained, and why</h2><table>{retrains}</table>
<h2>Releases</h2><table><tr><th>release</th><th>outcome</th><th>reason</th></tr>{releases}</table></body></html>"""


def quality_chart(weeks: list[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification: both models' average precision by week."""
    values = [
        {"week": week["week"], "model": name, "average precision": week[key]}
        for week in weeks
        for name, key in (("kept current", "ap_current"), ("frozen first", "ap_frozen"))
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": 720,
        "height": 280,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "week", "type": "ordinal", "axis": {"labelAngle": 0}},
            "y": {"field": "average precision", "type": "quantitative", "scale": {"domain": [0, 1]}},
            "color": {"field": "model", "type": "nominal", "title": None},
        },
    }
