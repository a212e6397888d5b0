"""What an event says, as one plain sentence for people. Pure; the dashboard's timeline and `conveyor log` read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conveyor.domain.events import CATALOGUE, Event

Told = Callable[[Event], str]


def sentence(event: Event) -> str:
    """Always a sentence: an event whose data lacks what is told of (an older writer's) says what its type says."""
    try:
        told = SENTENCES[event.type](event)
    except (KeyError, TypeError, ValueError, AttributeError):
        told = f"{_name(event)}: {CATALOGUE[event.type]}"
    told = " ".join(told.split())
    return told if told.endswith((".", "!", "?", "…")) else f"{told}."


def _name(event: Event) -> str:
    """The subject without its kind: "model/shop/fraud" is "fraud", "run/1a2b" is "1a2b"."""
    return event.subject.rpartition("/")[2] or event.subject


def _commit(value: Any) -> str:
    return str(value)[:8]


def _rows(value: Any) -> str:
    return f"{int(value):,} row{'' if int(value) == 1 else 's'}"


def _because(event: Event, key: str = "reason") -> str:
    reason = str(event.data.get(key) or "").rstrip(".")
    return f": {reason}" if reason else ""


def _figure(value: Any) -> str:
    return "undefined" if value is None else f"{float(value):.3f}"


def _work(event: Event) -> str:
    kind, about = event.data["kind"], str(event.data["about"])
    what = _commit(about) if kind == "build" else about.partition("/")[2] or about
    names = {
        "build": "The build of",
        "ingest": "The ingest into",
        "fetch": "The fetch for",
        "train": "The training of",
        "run": "The run of",
        "migrate": "The migration for",
        "rollback": "The check before a rollback of",
        "cleanup": "The removal of the copies for",
        "preview": "The setup of",
    }
    return f"{names.get(kind, f'The {kind} run of')} {what}"


def _pushed(event: Event) -> str:
    data = event.data
    said = f" “{data['message']}”" if data.get("message") else ""
    by = f" by {data['author']}" if data.get("author") else ""
    return f"{data['branch']} of {_name(event)} moved to {_commit(data['commit'])}{said}{by}"


def _invalid(event: Event) -> str:
    problems = event.data["problems"]
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    first = problems[0] if problems else ""
    return f"The conveyor.toml of {_commit(event.data['commit'])} has {count}; nothing was built. First: {first}"


def _version_created(event: Event) -> str:
    data = event.data
    if data.get("kind") == "files":
        files = f"{int(data['rows']):,} files; {int(data['new_rows']):,} came, changed or went"
        return f"Version {data['version']} of {_name(event)} has {files}"
    until = f", up to {str(data['until'])[:10]}" if data.get("until") else ""
    rows = f"{_rows(data['rows'])}, {int(data['new_rows']):,} of them new"
    gone = f"; {_rows(data['replaced'])} gave way" if data.get("replaced") else ""
    late = f"; {_rows(data['late'])} came late" if data.get("late") else ""
    return f"Version {data['version']} of {_name(event)} has {rows}{until}{gone}{late}"


def _tagged(event: Event) -> str:
    data = event.data
    before = f", before version {data['previous']}" if data.get("previous") else ""
    now = f"is version {data['version']} now" if data["version"] else "is no more"
    return f"The tag {data['tag']} of {_name(event)} {now}{before}{_because(event)}"


def _released(event: Event) -> str:
    data = event.data
    how = "as they are" if data["force"] else "through the present contract"
    return f"{data['by']} put {_rows(data['rows'])} of {data['file']} back {how}{_because(event, 'why')}"


def _erased(event: Event) -> str:
    data = event.data
    what = f"{_rows(data['rows'])} of a subject ({data['column']}) from {_name(event)}"
    models = f"; trained on them: {', '.join(data['models'])}" if data["models"] else ""
    return f"{data['by']} erased {what}{models}{_because(event, 'why')}"


def _quarantined(event: Event) -> str:
    rules = ", ".join(f"{rule} ({count})" for rule, count in sorted(event.data["reasons"].items()))
    return f"{_rows(event.data['rows'])} of {event.data['file']} went to quarantine: {rules}"


def _refused_file(event: Event) -> str:
    why = f"{event.data['error']} {event.data.get('hint', '')}"
    return f"{event.data['file']} was not taken into {_name(event)}, and is kept: {why}"


def _decided(event: Event) -> str:
    return f"{_name(event)} {event.data['reason']}"


def _model_created(event: Event) -> str:
    metrics = ", ".join(f"{name} {_figure(value)}" for name, value in sorted(event.data["metrics"].items())[:2])
    return f"Version {event.data['version']} of {_name(event)} passed its gates ({metrics})"


def _model_refused(event: Event) -> str:
    reasons = " ".join(event.data["reasons"])
    return f"Version {event.data['version']} of {_name(event)} was refused by its gates. {reasons}"


def _alias(event: Event) -> str:
    data = event.data
    before = f", from version {data['previous']}" if data.get("previous") else ""
    return f"{data['alias']} of {_name(event)} is version {data['version']} now{before}{_because(event)}"


def _advanced(event: Event) -> str:
    data = event.data
    share = f" with {data['percent']} % of the traffic" if data["phase"] in ("canary", "live") else ""
    note = f" ({data['note']})" if data.get("note") else ""
    return f"Release {data['release']} in {_name(event)} entered {str(data['phase']).replace('_', ' ')}{share}{note}"


def _shadowed(event: Event) -> str:
    data = event.data
    apart = f"{_rows(data['rows'])} compared, mean difference {_figure(data['difference'])}"
    far = f"{float(data['differing']):.1%} of rows beyond the tolerance"
    whose = f"The shadow of {data['target']} in release {data['release']} of {_name(event)}"
    return f"{whose}: {apart}, {far}; {data['result']}"


def _rolled_back(event: Event) -> str:
    back = event.data.get("back_to")
    to = f"traffic is back on release {back}" if back else "no release was live before it"
    return f"Release {event.data['release']} in {_name(event)} was rolled back; {to}{_because(event)}"


def _quality(event: Event) -> str:
    data = event.data
    if data["value"] is None:
        return f"{data['metric']} of version {data['version']} of {_name(event)} is undefined on {_rows(data['rows'])}"
    spread = f" ({_figure(data['low'])} to {_figure(data['high'])})" if data.get("low") is not None else ""
    told = f"{data['metric']} {_figure(data['value'])}{spread} on {_rows(data['rows'])} with labels"
    before = data.get("estimate")
    told += f"; {_figure(before)} was expected before they came" if before is not None else ""
    return f"Version {data['version']} of {_name(event)} has {told}"


def _window(event: Event) -> str:
    data = event.data
    worst = max(data["psi"].items(), key=lambda item: item[1], default=None)
    moved = f"; largest PSI {worst[1]:.2f}, of {worst[0]}" if worst else ""
    which = f"Window {data['window']} of version {data['version']} of {_name(event)}"
    return f"{which} closed over {_rows(data['rows'])}{moved}"


def _created(event: Event) -> str:
    return f"Release {event.data['release']} was composed for {_name(event)}{_because(event)}"


def _verdict(event: Event) -> str:
    data = event.data
    return f"Release {data['release']} in {_name(event)} at {data['percent']} %: {data['verdict']}{_because(event)}"


def _receipt(event: Event) -> str:
    data = event.data
    told = f"{data['requests']:,} requests, {data['failed']:,} failed, {data['cut']:,} streams cut"
    return f"The rollout of release {data['release']} in {_name(event)} saw {told}"


def _proxy(event: Event) -> str:
    lost = event.data.get("lost")
    flying = "" if lost is None else f"; in flight shortly before: {lost}"
    return f"The proxy ended and was started again{_because(event)}{flying}"


def _migrated(event: Event) -> str:
    data = event.data
    kept = "after a backup" if data["backup"] else "without a change"
    return f"Release {data['release']} migrated {data['database']} of {_name(event)} in {data['seconds']} s, {kept}"


def _swept(event: Event) -> str:
    value, version = event.data["value"], event.data["version"]
    best = "" if value is None else f"; the best trial reached {_figure(value)}"
    made = f" and became version {version}" if version else ""
    return f"The sweep {_name(event)} {event.data['state']}{best}{made}{_because(event, 'error')}"


def _alert(event: Event) -> str:
    data = event.data
    effect = f" ({data['effect']})" if data.get("effect") else ""
    since = f" Seen {data['since']}." if data.get("since") else ""
    what = f"{data['severity']}, {str(data['kind']).replace('_', ' ')} of {_name(event)}"
    return f"Alert, {what}{effect}: {data['message']}{since}"


def _digest(event: Event) -> str:
    return f"{event.data['count']} more alerts of {_name(event)} in a day: {'; '.join(event.data['alerts'])}"


def _pickle_tried(event: Event) -> str:
    became = "was of no use" if event.data["reason"] else "loaded"
    return f"The pickle of {_name(event)} v{event.data['version']} {became} in a process of its own{_because(event)}"


SENTENCES: dict[str, Told] = {
    "project.registered": lambda e: f"Project {_name(e)} was seen for the first time",
    "project.config_invalid": _invalid,
    "code.pushed": _pushed,
    "code.branch_deleted": lambda e: f"{e.data['branch']} of {_name(e)} was deleted; what is live stays",
    "code.superseded": lambda e: f"{_commit(e.data['commit'])} gave way to the newer push {_commit(e.data['newer'])}",
    "run.started": lambda e: f"{_work(e)} began",
    "run.succeeded": lambda e: f"{_work(e)} succeeded",
    "run.failed": lambda e: f"{_work(e)} failed{_because(e, 'error')}",
    "run.cancelled": lambda e: f"{_work(e)} was cancelled{_because(e, 'error')}",
    "step.lost": lambda e: f"The process of step {e.data['step']} in run {_name(e)} vanished without a result",
    "build.ready": lambda e: f"{_commit(e.data['commit'])} was built and its tests passed",
    "data.arrived": lambda e: f"{e.data['file']} arrived for {_name(e)}",
    "data.version_created": _version_created,
    "data.quarantined": _quarantined,
    "data.released": _released,
    "data.dropped": lambda e: f"{e.data['by']} dropped {_rows(e.data['rows'])} of {e.data['file']}{_because(e, 'why')}",
    "data.erased": _erased,
    "data.erasure_lifted": lambda e: (
        f"{e.data['by']} lifted erasure {e.data['erasure']} of {_name(e)}: such rows may come again{_because(e, 'why')}"
    ),
    "data.refused": _refused_file,
    "data.held": lambda e: f"{e.data['file']} is not taken for {_name(e)} yet: {e.data['reason']}",
    "data.skipped": lambda e: f"{e.data['file']} is not taken for {_name(e)}: {e.data['reason']}",
    "data.duplicate": lambda e: f"{e.data['file']} has the content of {e.data['same_as']}; it was not taken twice",
    "data.tagged": _tagged,
    "governor.decided": _decided,
    "governor.gave_up": lambda e: f"{_name(e)}: {e.data['message']}",
    "model.version_created": _model_created,
    "model.refused": _model_refused,
    "model.rejected": lambda e: f"Version {e.data['version']} of {_name(e)} failed in its rollout{_because(e)}",
    "model.alias_moved": _alias,
    "model.promoted": lambda e: f"{_name(e)} v{e.data['version']} was promoted in {e.data['environment']}{_because(e)}",
    "model.removed": lambda e: f"Version {e.data['version']} of {_name(e)} was removed{_because(e)}",
    "model.damaged": lambda e: f"Version {e.data['version']} of {_name(e)} does not verify any more{_because(e)}",
    "model.recovered": lambda e: f"Version {e.data['version']} of {_name(e)} verifies again",
    "model.file_trusted": lambda e: f"{e.data['by']} trusts the pickle {e.data['digest'][:12]}{_because(e)}",
    "model.pickle_tried": _pickle_tried,
    "sweep.started": lambda e: f"A sweep of {e.data['trials']} trials over {e.data['model']} began",
    "sweep.ended": _swept,
    "build.rejected": lambda e: f"Build {_commit(e.data['build'])} failed in its rollout in {_name(e)}{_because(e)}",
    "release.created": _created,
    "release.waiting": lambda e: f"{_name(e)} has no next release yet{_because(e, 'waiting_for')}",
    "rollout.advanced": _advanced,
    "rollout.aborted": lambda e: f"The rollout of release {e.data['release']} in {_name(e)} was aborted{_because(e)}",
    "rollout.rolled_back": _rolled_back,
    "release.proposed": lambda e: f"A release for {_name(e)} waits for approval{_because(e)}",
    "release.approved": lambda e: f"A release for {_name(e)} was approved{_because(e)}",
    "release.rejected": lambda e: f"The release that waited for approval in {_name(e)} was rejected{_because(e)}",
    "release.promoted": lambda e: f"What is live in {e.data['source']} was promoted to {_name(e)}",
    "environment.created": lambda e: f"Branch {e.data['branch']} has its own environment, {_name(e)}, now",
    "environment.ended": lambda e: f"The environment {_name(e)} was taken down{_because(e)}",
    "database.migrated": _migrated,
    "database.restored": lambda e: (
        f"{e.data['database']} of {_name(e)} is as it was before release {e.data['release']}"
    ),
    "secret.changed": lambda e: f"Secret {e.data['secret']} of {_name(e)} was {e.data['change']}",
    "token.changed": lambda e: f"Token {_name(e)} with the role {e.data['role']} was {e.data['change']}",
    "remote.changed": lambda e: (
        f"{_name(e)} {'follows ' + e.data['url'] if e.data.get('url') else 'follows no remote'}"
    ),
    "remote.failed": lambda e: f"The remote of {_name(e)} could not be fetched{_because(e, 'error')}",
    "rollout.paused": lambda e: f"The rollout of release {e.data['release']} in {_name(e)} was paused{_because(e)}",
    "rollout.resumed": lambda e: f"The rollout of release {e.data['release']} in {_name(e)} goes on{_because(e)}",
    "rollout.shadowed": _shadowed,
    "rollout.verdict": _verdict,
    "rollout.receipt": _receipt,
    "rollout.completed": lambda e: f"Release {e.data['release']} is live in {_name(e)}, and the one before was drained",
    "signal.drift": lambda e: f"Drift: {e.data['message']}",
    "signal.decay": lambda e: f"Decay: {e.data['message']}",
    "signal.observations_lost": lambda e: f"Observations lost: {e.data['message']}",
    "signal.estimated_decay": lambda e: f"Estimated decay: {e.data['message']}",
    "signal.stale": lambda e: f"Stale: {e.data['message']}, longer than {e.data['fresh']}",
    "signal.fresh": lambda e: (
        f"Something new came for {_name(e)}" if e.data["asked"] else f"{_name(e)} is not asked to be fresh any more"
    ),
    "signal.data_fault": lambda e: f"Data fault: {e.data['message']}",
    "monitor.window_closed": _window,
    "monitor.quality": _quality,
    "alert.opened": _alert,
    "alert.resolved": lambda e: f"The {str(e.data['kind']).replace('_', ' ')} of {_name(e)} is over",
    "alert.digest": _digest,
    "notify.failed": lambda e: (
        f"{_name(e)} could not be told “{e.data['title']}”: {e.data['error']}"
        f"{'; it is sent again' if e.data['again'] else '; it is given up'}"
    ),
    "alert.acked": lambda e: f"{e.data['by']} looks at the {str(e.data['kind']).replace('_', ' ')} of {_name(e)}",
    "alert.muted": lambda e: (
        f"{e.data['by']} muted alerts of {_name(e)} until {str(e.data['until'])[:16]}{_because(e, 'why')}"
    ),
    "system.started": lambda e: "The control plane started",
    "system.recovered": lambda e: f"The control plane carried on with work that it found in flight{_because(e)}",
    "process.died": lambda e: f"{_name(e)} ended by itself and was started again{_because(e)}",
    "proxy.restarted": _proxy,
    "system.mended": lambda e: f"{e.subject} was mended{_because(e)}",
    "system.collected": lambda e: f"{e.data['megabytes']:,} MB that nothing needs any more were deleted",
    "lineage.failed": lambda e: (
        f"Lineage could not be told: {e.data['error']}{'; it is sent again' if e.data['again'] else ''}"
    ),
    "system.error": lambda e: f"{e.subject} met an error and tries again: {e.data['error']}",
}
