"""A project in a working folder: its steps, from conveyor.toml or from dvc.yaml, and which files say so."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conveyor.config.dvc.read import steps_of
from conveyor.config.load import load
from conveyor.domain.plan import edges_of
from conveyor.domain.project import StepConfig
from conveyor.errors import InputRejected


@dataclass(frozen=True, slots=True)
class LocalProject:
    """`dvc`: the steps are those of a dvc.yaml, which knows neither the code of functions nor environments."""

    root: Path
    steps: dict[str, StepConfig]
    edges: dict[str, tuple[str, ...]]
    dvc: bool


def open_project(root: Path, see: Callable[[str], object]) -> LocalProject:
    """The project of a folder. `see` is told every file that was read, or looked for."""

    def read(path: str) -> bytes | None:
        place = root / path
        see(str(place))
        return place.read_bytes() if place.is_file() else None

    text = read("conveyor.toml")
    steps: dict[str, StepConfig] = {}
    if text is not None and "step" in _sections(text.decode()):
        steps = load(text.decode()).steps
    dvc = not steps
    if dvc:
        read("dvc.yaml")
        steps = steps_of(read)
    if not steps:
        raise InputRejected(
            "this project has no steps", hint="Declare one: [step.NAME] in conveyor.toml, or a dvc.yaml."
        )
    return LocalProject(root, steps, edges_of(steps), dvc)


def _sections(text: str) -> set[str]:
    try:
        return set(tomllib.loads(text))
    except ValueError:
        return {"step"}  # `load` says what is wrong with it
