"""A release and its receipt as tables for a terminal. Pure: lines from a view."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.cli.output import columns, span
from conveyor.domain.receipt import SPANS, Line, PhaseLine, Receipt
from conveyor.domain.release_view import ReleaseView
from conveyor.domain.shadow import Shadowed

_SHADOW = ("", "rows", "difference", "differ", "PSI/KS", "errors/unanswered", "NaN", "p50", "p99", "result")
_SIDES = {"old": "", "new": " (new)", "both": " (unchanged)"}


def lines(view: ReleaseView) -> Iterator[str]:
    release = view.release
    yield f"release {release.number} of {release.project} in {release.environment_name}: {view.state}"
    yield f"  made {release.created:%Y-%m-%d %H:%M:%S} UTC: {release.reason}"
    by = f" by {view.author}" if view.author else ""
    yield f"  commit {release.commit[:8]} {view.subject}{by}, build {release.build[:12]}"
    yield from (f"  {name} from tree {tree[:12]}" for name, tree in sorted(view.trees.items()))
    for name, version in sorted(release.models.items()):
        figures = ", ".join(f"{metric} {value:.4g}" for metric, value in sorted(view.metrics.get(name, {}).items()))
        yield f"  model {name} v{version}{f' ({figures})' if figures else ''}"
    for name, version in sorted(release.secrets.items()):
        yield f"  secret {name}, value {version}"
    if view.why:
        yield f"  rolled back because {view.why}"
    for verdict in view.verdicts:
        told = f": {verdict.reason}" if verdict.reason else ""
        yield f"  verdict at {verdict.percent} %: {verdict.verdict}{told}"
    if view.shadows:
        yield ""
        yield from columns(_SHADOW, [cells for each in view.shadows for cells in _shadow(each)])
    if view.receipt is None:
        yield "\nNo receipt: its rollout has not begun, or an older Conveyor made it."
        return
    yield ""
    yield from _receipt(view.receipt)


def _shadow(seen: Shadowed) -> Iterator[tuple[str, ...]]:
    """Live beside shadow: a line each."""
    yield (
        f"live v{seen.live_version}",
        f"{seen.rows:,}",
        "",
        "",
        "",
        "",
        "",
        *_ms(seen.live_p50_ms, seen.live_p99_ms),
        "",
    )
    yield (
        f"shadow v{seen.version}",
        f"{seen.rows:,}",
        f"{seen.mean:.4g}",
        f"{seen.share:.2%}",
        f"{seen.psi:.3f}/{seen.ks:.3f}",
        f"{seen.errors:,}/{seen.unanswered:,}",
        f"{seen.broken:,}",
        *_ms(seen.p50_ms, seen.p99_ms),
        seen.result,
    )


def _receipt(receipt: Receipt) -> Iterator[str]:
    yield from columns(("phase", "traffic", "took", "switch", "verdict"), [_phase(each) for each in receipt.phases])
    if receipt.ended is None:
        yield "\nThe rollout goes on; this is what was counted up to the last phase."
    yield ""
    rows = [
        (version.target, version.version + _SIDES[version.side], name, *_counts(getattr(version, name)))
        for version in receipt.versions
        for name in SPANS
        if getattr(version, name).outcomes.ended
    ]
    if receipt.ended is not None:
        rows += [("all", "", name, *_counts(getattr(receipt, name))) for name in SPANS]
    yield from columns(("target", "version", "when", "requests", "failed", "cut", "p50", "p99"), rows)
    yield ""
    for name, count in receipt.outcomes.causes.items():
        yield f"{name}: {count:,}"
    yield _summary(receipt)


def _phase(phase: PhaseLine) -> tuple[str, ...]:
    took = span((phase.ended - phase.began).total_seconds()) if phase.ended else "going on"
    switch = f"{phase.switch_ms:g} ms" if phase.switch_ms else ""
    return (
        phase.phase.replace("_", " "),
        f"{phase.percent} %",
        took,
        switch,
        phase.verdict + (f" ({phase.note})" if phase.note else ""),
    )


def _counts(line: Line) -> tuple[str, ...]:
    outcomes = line.outcomes
    times = _ms(line.p50_ms, line.p99_ms)
    return f"{outcomes.ended:,}", f"{outcomes.failed:,}", f"{outcomes.cut_streams:,}", *times


def _ms(*values: float | None) -> Iterator[str]:
    return ("-" if value is None else f"{value:.4g} ms" for value in values)


def _summary(receipt: Receipt) -> str:
    told = f"{receipt.outcomes.ended:,} requests during and after, {receipt.failed:,} failed, {receipt.cut:,} cut"
    unfinished = sum(version.unfinished for version in receipt.versions)
    more = [
        f"{unfinished:,} of them in flight when their process was told to end" if unfinished else "",
        f"{receipt.unrouted:,} found no version at their address" if receipt.unrouted else "",
        f"restarts of the proxy: {receipt.restarts}, {receipt.lost:,} in flight lost" if receipt.restarts else "",
        f"all traffic moved in {receipt.switch_ms:g} ms" if receipt.switch_ms else "",
    ]
    return "; ".join([told, *(each for each in more if each)])
