"""Which objects something needs, by what the records say. Pure: documents in, digests and reasons out.

Known collections are read field by field; of all others every digest counts that their documents name. So what is not
understood is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from conveyor.domain.dataset import Part
from conveyor.domain.erasure import Erasure
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.run import Run, RunState
from conveyor.domain.source import versions_of
from conveyor.domain.state import Arrival, CachedStep, Quarantined

DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
INTO_DATASETS = ("ingest", "fetch")
LASTING = frozenset((*FILES.values(), MANIFEST, "training.json", "evaluation.json"))
"""Outputs of a training that hold no rows: what a model is, and what is said of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    digest: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectSum:
    """Objects that stay, or go, for one reason."""

    keep: bool
    reason: str
    count: int
    bytes: int


@dataclass(slots=True)
class References:
    """Digest -> why it is needed; the first reason stays."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, digests: Iterable[str], why: str) -> None:
        for digest in digests:
            self.reasons.setdefault(digest, why)


def of_part(part: Part) -> Iterator[str]:
    """All that a part names but the file it came from: that is for its arrival to keep."""
    yield from words(replace(part, source_digest=""))


def of_arrivals(arrivals: Iterable[Arrival]) -> Iterator[tuple[str, str]]:
    for arrival in arrivals:
        if not arrival.erased:
            waits = arrival.state in ("waiting", "ingesting")
            yield arrival.digest, "files that wait for ingest" if waits else "original files, as they arrived"


def of_quarantine(entries: Iterable[Quarantined]) -> Iterator[tuple[str, str]]:
    """What was released or dropped needs no bytes any more."""
    for entry in entries:
        yield entry.digest, "rows in quarantine"


def of_runs(
    runs: Iterable[Run], cached: Iterable[CachedStep], erasures: Iterable[Erasure]
) -> Iterator[tuple[str, str]]:
    """Outputs of runs and of cached steps, but those that hold rows which were erased since."""
    erasures = tuple(erasures)
    emptied: set[str] = set()
    for run in runs:
        touched = [erasure for erasure in erasures if reads(run, erasure)]
        if run.state is RunState.RUNNING:
            for erasure in touched:
                yield from ((digest, "erased, but an open run may read it") for digest in erasure.objects)
            yield from ((digest, "open runs") for digest in words(run))
        elif touched:
            emptied.add(run.id)
        for step in run.steps:
            for name, digest in step.outputs.items():
                if not touched or run.state is RunState.RUNNING or name in LASTING:
                    yield digest, "outputs of runs"
    for done in cached:
        for name, digest in done.outputs.items():
            if done.run not in emptied or name in LASTING:
                yield digest, "outputs of steps, which are not run again for the same inputs"


def void(runs: Iterable[Run], erasure: Erasure) -> Iterator[str]:
    """Outputs of ended runs that may hold the erased rows."""
    for run in runs:
        if run.state is not RunState.RUNNING and reads(run, erasure):
            yield from (digest for step in run.steps for name, digest in step.outputs.items() if name not in LASTING)


def reads(run: Run, erasure: Erasure) -> bool:
    """Whether the run may have had the erased rows before it: one into the dataset, or a training on such a version."""
    if run.created > erasure.at:
        return False
    if run.kind in INTO_DATASETS:
        return run.subject == erasure.dataset
    project, _, name = erasure.dataset.partition("/")
    data = run.params.get("data")
    return (
        run.project == project
        and isinstance(data, Mapping)
        and not versions_of(data, name).isdisjoint(erasure.versions)
    )


def words(value: object) -> Iterator[str]:
    """Every digest that a document names."""
    yield from DIGEST.findall(repr(value))


def sums(stored: Iterable[Stored], needed: Mapping[str, str], before: datetime) -> tuple[list[Stored], list[ObjectSum]]:
    """What goes, and all in sums by reason, the largest first."""
    gone: list[Stored] = []
    counts: dict[tuple[bool, str], tuple[int, int]] = {}
    for each in stored:
        keep, reason = True, needed.get(each.digest, "")
        if not reason and each.modified >= before:
            reason = "younger than the grace time"
        elif not reason:
            keep, reason = False, "nothing names them"
            gone.append(each)
        count, size = counts.get((keep, reason), (0, 0))
        counts[keep, reason] = (count + 1, size + each.bytes)
    made = [ObjectSum(keep, reason, count, size) for (keep, reason), (count, size) in counts.items()]
    return gone, sorted(made, key=lambda each: (each.keep, -each.bytes))
