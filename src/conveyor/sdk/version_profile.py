"""The profile of a version as a whole, at the cost of what was added: the sketches of the version before grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from conveyor.domain.dataset import DatasetProfile, IngestedFile, RewrittenPart
from conveyor.domain.step import IngestSpec
from conveyor.sdk import describe, process, sketch
from conveyor.sdk.sketch import Sketch

SKETCHES = "sketches.bin"


def whole(spec: IngestSpec, added: Sequence[Path], out: Path) -> DatasetProfile:
    """Of a version that holds all earlier rows and those of the parts `added`.

    A version without sketches, or with those of another Conveyor, is measured once from its parts.
    """
    before = _read(spec.sketches)
    if before is None:
        before = describe.measure([Path(part.path) for part in spec.earlier])
    return _keep(describe.merged([before, describe.measure(added)]), out)


def of_parts(
    spec: IngestSpec, files: list[IngestedFile], changed: list[RewrittenPart], out: Path
) -> tuple[DatasetProfile, dict[str, str]]:
    """Of a version some of whose rows were replaced: the sum of its parts' sketches, for a sum cannot be taken apart.

    `files` and `changed` have theirs. An earlier part that has none is measured, once: its sketches are kept by the
    names of the second result.
    """
    rewritten = {part.digest: part.sketches for part in changed}
    measured: dict[str, str] = {}

    def each() -> Iterator[dict[str, Sketch]]:
        for part in spec.earlier:
            if part.digest in rewritten:
                continue
            found = _read(part.sketches)
            if found is None:
                found = describe.measure([Path(part.path)])
                measured[part.digest] = f"{part.digest}.sketches"
                process.write(out / measured[part.digest], sketch.to_bytes(found))
            yield found
        for name in [*rewritten.values(), *(file.sketches for file in files)]:
            if name is not None:
                yield _read(str(out / name)) or {}

    return _keep(describe.merged(each()), out), measured


def sketched(file: IngestedFile, out: Path) -> IngestedFile:
    """With sketches of its own in `OUT`."""
    if file.output is None:
        return file
    name = f"{file.output}.sketches"
    process.write(out / name, sketch.to_bytes(describe.measure([out / file.output])))
    return replace(file, sketches=name)


def _read(path: str | None) -> dict[str, Sketch] | None:
    return sketch.from_bytes(Path(path).read_bytes()) if path else None


def _keep(sketches: dict[str, Sketch], out: Path) -> DatasetProfile:
    process.write(out / SKETCHES, sketch.to_bytes(sketches))
    return replace(describe.profile(sketches), sketches=SKETCHES)
