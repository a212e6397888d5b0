"""The profile of a version as a whole, at the cost of what was added: the sketches of the version before grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conveyor.domain.dataset import DatasetProfile
from conveyor.domain.step import IngestSpec
from conveyor.sdk import describe, process, sketch

SKETCHES = "sketches.bin"


def whole(spec: IngestSpec, added: Sequence[Path], out: Path) -> DatasetProfile:
    """Writes `OUT/sketches.bin` and returns the profile that names it.

    A version without sketches, or with those of another Conveyor, is measured once from its parts.
    """
    before = sketch.from_bytes(Path(spec.sketches).read_bytes()) if spec.sketches else None
    if before is None:
        before = describe.measure([Path(path) for path in spec.earlier])
    sketches = describe.merged([before, describe.measure(added)])
    process.write(out / SKETCHES, sketch.to_bytes(sketches))
    return replace(describe.profile(sketches), sketches=SKETCHES)
