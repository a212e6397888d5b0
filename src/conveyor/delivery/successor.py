"""The version that comes after one: what its ingest must know of that, and which parts it is made of, by the mode."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery.lookup import manifest_of
from conveyor.domain.dataset import DatasetProfile, DatasetVersion, IngestReport, Manifest, Part, RewrittenPart
from conveyor.domain.project import DataConfig
from conveyor.domain.step import EarlierPart, IngestSpec
from conveyor.errors import CorruptObject, NotFound
from conveyor.stores.objects import Objects


def spec_after(objects: Objects, data: DataConfig, previous: DatasetVersion | None) -> IngestSpec:
    """What the ingest's process must know of the version before; without the files that arrived."""
    if previous is None or data.mode == "replace":
        base = previous.manifest if previous else ""
        return IngestSpec(data, (), previous.schema if previous else None, base=base)
    sketches = _file(objects, previous.profile.sketches if previous.profile else "")
    needed = data.mode == "upsert" or sketches is None
    return IngestSpec(
        data=data,
        files=(),
        schema=previous.schema,
        sketches=sketches,
        earlier=tuple(_earlier(objects, part) for part in manifest_of(objects, previous).parts) if needed else (),
        watermark=previous.watermark,
        base=previous.manifest,
    )


def manifest_after(
    objects: Objects, before: Manifest, report: IngestReport, outputs: dict[str, str], added: tuple[Part, ...]
) -> Manifest:
    """`before` is empty where all of it is replaced. A part that was written anew stays in its place."""
    old = {part.digest: part for part in before.parts}
    instead: dict[str, Part | None] = {
        digest: replace(old[digest], sketches=outputs[name]) for digest, name in report.sketched.items()
    }
    for new in report.rewritten:
        instead[new.digest] = _rewritten(objects, old[new.digest], new, outputs) if new.output else None
    return Manifest((*before.rewritten(instead).parts, *added))


def profile_of(report: IngestReport, outputs: dict[str, str]) -> DatasetProfile | None:
    profile = report.profile
    return replace(profile, sketches=outputs.get(profile.sketches, "")) if profile else None


def size(objects: Objects, digest: str) -> int:
    return objects.path(digest).stat().st_size


def _earlier(objects: Objects, part: Part) -> EarlierPart:
    return EarlierPart(str(objects.place(part.digest)), part.digest, part.rows, _file(objects, part.sketches))


def _file(objects: Objects, digest: str) -> str | None:
    """Sketches that are gone or damaged cost a measurement, and no ingest."""
    try:
        return str(objects.path(digest)) if digest else None
    except (NotFound, CorruptObject):
        return None


def _rewritten(objects: Objects, old: Part, new: RewrittenPart, outputs: dict[str, str]) -> Part:
    """What it came from is told as before."""
    digest = outputs[new.output or ""]
    sketches = outputs[new.sketches] if new.sketches else ""
    found = replace(old, digest=digest, rows=new.rows, bytes=size(objects, digest), sketches=sketches)
    return replace(found, first=new.first, last=new.last)
