"""The files that a step declares, at the control plane: what its `deps` hold, and the folder that it works in."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from conveyor.domain.plan import EXECUTABLE, edges_of
from conveyor.domain.project import ProjectConfig, StepConfig
from conveyor.domain.run import Run
from conveyor.effects import workspace
from conveyor.effects.files import write_atomic
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, Command
from conveyor.errors import Conflict
from conveyor.stores.objects import digest_bytes, digest_file


class StepFiles:
    """Of one step of one run, whose source is in `tree`."""

    def __init__(self, context: Context, config: ProjectConfig, run: Run, step: StepConfig, tree: Path) -> None:
        self._context = context
        self._step = step
        self._tree = tree
        self._made: dict[str, str] = {}
        for need in edges_of(config.steps)[step.name]:
            outputs = run.step(need).outputs
            made = config.steps[need].made
            self._made |= {path: digest for path, digest in outputs.items() if _within(path, made)}

    def made(self, path: str) -> dict[str, str]:
        """What earlier steps made there."""
        return {name: digest for name, digest in self._made.items() if _within(name, (path,))}

    def around(self, command: Command, job: Path) -> Command:
        """The command, in a copy of the tree where it reads or makes files; otherwise as it is."""
        step = self._step
        if not step.made and not step.deps and step.workdir == ".":
            return replace(command, env={**command.env, **step.env})
        placed = {path: digest for path, digest in self._made.items() if _within(path, step.deps)}
        spec = {
            "tree": str(self._tree),
            "place": {
                path: str(self._context.objects.path(digest.removesuffix(EXECUTABLE)))
                for path, digest in placed.items()
            },
            "workdir": step.workdir,
            "argv": list(command.argv) or ["/bin/sh", "-c", command.shell],
            "out": str(job / OUT),
            "collect": list(step.made),
        }
        path = job / "workspace.json"
        write_atomic(path, json.dumps(spec).encode())
        argv = (sys.executable, "-I", "-S", str(Path(workspace.__file__).resolve()), str(path))
        return replace(command, argv=argv, shell="", cwd=job, env={**command.env, **step.env})

    def digest(self, path: str) -> str:
        """Of a file or folder: what earlier steps made there, over what the tree has. As a working folder tells it."""
        found = self.made(path)
        place = self._tree / path
        files = [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.is_file())
        for each in files:
            name = str(each.relative_to(self._tree))
            if name not in found:
                found[name] = digest_file(each) + (EXECUTABLE if os.access(each, os.X_OK) else "")
        if list(found) == [path]:
            return found[path].removesuffix(EXECUTABLE)
        if not found:
            raise Conflict(
                f"step {self._step.name} reads {path}, which is neither in the repository nor made by a step",
                hint="Commit it, or mend `deps`.",
            )
        return digest_bytes(json.dumps([[name, found[name]] for name in sorted(found)]).encode())


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
