"""The files that steps make: kept in the object store under the step's key, and put back from there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from conveyor.domain.plan import EXECUTABLE
from conveyor.domain.project import StepConfig
from conveyor.domain.state import CachedStep
from conveyor.engine import step_notes
from conveyor.engine.local.digests import Digests
from conveyor.errors import NotFound, StepFailed
from conveyor.stores.objects import Objects


class Outputs:
    """`objects` is shared: with the control plane of this folder, or, by its URL, with other machines."""

    def __init__(self, root: Path, objects: Objects, digests: Digests) -> None:
        self._root = root
        self._objects = objects
        self._digests = digests

    def now(self, step: StepConfig) -> dict[str, str]:
        """What is there of all that the step makes: path -> digest."""
        found: dict[str, str] = {}
        for path in step.made:
            found |= self._digests.files(path) or {}
        return found

    def stored(self, key: str) -> CachedStep | None:
        """The outputs of a key, where all of them can be had."""
        found = step_notes.read(self._objects, key)
        whole = found and all(self._objects.has(_plain(digest)) for digest in found.outputs.values() if digest)
        return found if whole else None

    def clear(self, step: StepConfig) -> None:
        """Before a step runs, nothing of what it makes is there; but for what it goes on with."""
        for path in step.made:
            place = self._root / path
            if path not in step.persist:
                _remove(place)
            place.parent.mkdir(parents=True, exist_ok=True)

    def keep(self, step: StepConfig, key: str, result: Mapping[str, str] | None = None) -> dict[str, str]:
        """Stores what the step made, and `result` (files that are in the store already)."""
        missing = [path for path in step.made if not (self._root / path).exists()]
        if missing:
            raise StepFailed(
                f"step {step.name} did not make {', '.join(missing)}", hint="Mend its command, or its outs."
            )
        found = self.now(step)
        whole = not step.uncached and not step.always
        for path, digest in found.items():
            if whole and digest:
                self._put(self._root / path, _plain(digest))
        outputs = {**found, **(result or {})}
        if whole:
            step_notes.write(self._objects, CachedStep(key, outputs, ""))
        return outputs

    def restore(self, step: StepConfig, outputs: Mapping[str, str]) -> None:
        """Puts the outputs of the store into the working folder; what is there as it should be is left alone."""
        there = self.now(step)
        for path in there:
            if path not in outputs:
                _remove(self._root / path)
        for path, digest in outputs.items():
            if there.get(path) == digest or not _within(path.rstrip("/"), step.made):
                continue
            place = self._root / path
            if path.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            temp = place.with_name(f".{place.name}.restored")
            shutil.copyfile(self._objects.path(_plain(digest)), temp)
            temp.chmod(0o755 if digest.endswith(EXECUTABLE) else 0o644)
            temp.replace(place)

    def kept(self, step: StepConfig, outputs: Mapping[str, str]) -> dict[str, str]:
        """Those of some outputs that lie in the store only, and are there."""
        return {
            path: digest
            for path, digest in outputs.items()
            if not _within(path.rstrip("/"), step.made) and self._objects.has(_plain(digest))
        }

    def path(self, digest: str) -> Path:
        return self._objects.path(_plain(digest))

    def put(self, path: Path) -> str:
        return self._objects.put_file(path)

    def _put(self, place: Path, digest: str) -> None:
        if not self._objects.has(digest) and self._objects.put_file(place) != digest:
            raise NotFound(f"{place} changed while it was stored", hint="Run it again when nothing else writes it.")


def _plain(digest: str) -> str:
    return digest.removesuffix(EXECUTABLE)


def _within(path: str, made: tuple[str, ...]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in made)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
