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
LARGE = 100_000
"""Rows of a part from which on sketches of its own are kept: they take some percent of its bytes then."""


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
    """Of a version some of whose rows were replaced: a sum of its parts', for a sum cannot be taken apart.

    Large parts keep sketches of their own; an earlier one that has none is measured now, and the second result names
    the file with its. Small parts are read again, which takes no longer than to merge sketches of theirs.
    """
    rewritten = {part.digest for part in changed}
    small: list[Path] = []
    measured: dict[str, str] = {}

    def each() -> Iterator[dict[str, Sketch]]:
        for part in spec.earlier:
            if part.digest in rewritten:
                continue
            found = _read(part.sketches)
            if found is None and part.rows < LARGE:
                small.append(Path(part.path))
            elif found is None:
                measured[part.digest] = f"{part.digest}.sketches"
                yield _measured(Path(part.path), out / measured[part.digest])
            else:
                yield found
        news: list[RewrittenPart | IngestedFile] = [*changed, *files]
        for new in news:
            if new.sketches is not None:
                yield _read(str(out / new.sketches)) or {}
            elif new.output is not None:
                small.append(out / new.output)
        yield describe.measure(small)

    return _keep(describe.merged(each()), out), measured


def sketches_of(output: str, rows: int, out: Path) -> str | None:
    """Sketches of one part in `OUT`, where it is large enough for them to be of use."""
    if rows < LARGE:
        return None
    _measured(out / output, out / f"{output}.sketches")
    return f"{output}.sketches"


def _measured(part: Path, target: Path) -> dict[str, Sketch]:
    found = describe.measure([part])
    process.write(target, sketch.to_bytes(found))
    return found


def _read(path: str | None) -> dict[str, Sketch] | None:
    return sketch.from_bytes(Path(path).read_bytes()) if path else None


def _keep(sketches: dict[str, Sketch], out: Path) -> DatasetProfile:
    process.write(out / SKETCHES, sketch.to_bytes(sketches))
    return replace(describe.profile(sketches), sketches=SKETCHES)
