"""What arriving rows do to those that are there: the end of an ingest, by the dataset's `mode`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conveyor.domain.dataset import IngestedFile, IngestReport
from conveyor.domain.step import IngestSpec
from conveyor.sdk import upsert
from conveyor.sdk.version_profile import of_parts, sketches_of, whole


def finish(spec: IngestSpec, files: list[IngestedFile], schema: dict[str, str], out: Path) -> IngestReport:
    """The report on checked files, with the profile of the version that comes of them."""
    if spec.data.mode == "upsert":
        return _upserted(spec, files, schema, out)
    if spec.data.mode == "replace":
        files = _all_or_none(files, out)
        spec = replace(spec, sketches=None, earlier=())
    accepted = [out / file.output for file in files if file.output]
    profile = whole(spec, accepted, out) if accepted else None
    return IngestReport(tuple(files), schema, profile, base=spec.base)


def _upserted(spec: IngestSpec, files: list[IngestedFile], schema: dict[str, str], out: Path) -> IngestReport:
    assert spec.data.key is not None, "the configuration was checked"
    files, keys = upsert.newest(files, spec.data.key, spec.data.time, out)
    if keys.is_empty():
        return IngestReport(tuple(files), schema, base=spec.base)
    changed = upsert.rewrite(spec, keys, out)
    files = [
        replace(file, sketches=sketches_of(file.output, file.rows, out)) if file.output else file for file in files
    ]
    measured: dict[str, str] = {}
    if changed or spec.sketches is None:
        profile, measured = of_parts(spec, files, changed, out)
    else:
        profile = whole(spec, [out / file.output for file in files if file.output], out)
    return IngestReport(tuple(files), schema, profile, tuple(changed), measured, spec.base)


def _all_or_none(files: list[IngestedFile], out: Path) -> list[IngestedFile]:
    """A replacement lacking a file would lose rows in silence: with one refused, all of them are."""
    refused = next((file for file in files if file.error is not None), None)
    if refused is None:
        return files
    why = f"it came with {refused.name}, which was refused, and a replacement is taken whole or not at all"
    kept = []
    for file in files:
        for name in filter(None, (file.output, file.quarantine)):
            (out / name).unlink()
        hint = "Mend that file, and add all of them again."
        kept.append(file if file.error is not None else IngestedFile(file.name, error=f"{file.name}: {why}", hint=hint))
    return kept
