"""What is to be added to a dataset, and where it stands there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conveyor.errors import InputRejected, NotFound
from conveyor.stores.data import state as states
from conveyor.stores.data.links import check_path
from conveyor.stores.data.scan import Source, show


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be added: files of `sources` become `project/name`. What the sources do not cover stays as it is."""

    project: str
    name: str
    sources: tuple[Source, ...]
    reason: str = ""
    by: str = ""


def sources_of(folders: Path, project: str, name: str, paths: Sequence[str], at: str = "") -> tuple[Source, ...]:
    """Where the user's paths stand in the dataset.

    One folder is the dataset. Files, and several paths, stand under their own names. What lies in a folder that is the
    dataset already stands there where it lies. `at` names a folder of the dataset to put everything into. Without
    paths it is what was added before. `folders` is where the states of working folders are.
    """
    known = [
        state.sources for path in states.listed(folders, project, name) if (state := states.load(path)) is not None
    ]
    if not paths:
        if len(known) != 1:
            raise InputRejected(
                f"{name} has {len(known)} working folders" if known else f"{name} has no working folder here",
                hint=f"Say what to add: conveyor data add {name} PATH",
            )
        return known[0]
    wholes = [source.path for sources in known for source in sources if not source.prefix]
    absolute = [os.fsencode(os.path.abspath(path)) for path in paths]
    sources = [_source(path, wholes, os.fsencode(at).strip(b"/"), alone=len(absolute) == 1) for path in absolute]
    return _apart(sources)


def _source(path: bytes, wholes: Sequence[bytes], at: bytes, *, alone: bool) -> Source:
    if not os.path.lexists(path):
        raise NotFound(f"there is no {show(path)}", hint="Look at the path; it is relative to this folder.")
    folder = os.path.isdir(path)
    if folder:
        path = os.path.realpath(path)  # a link that is named is meant; links inside a folder are not followed
    if at:
        check_path(at)
        return Source(at if folder and alone else at + b"/" + os.path.basename(path), path, folder)
    for whole in wholes:
        if path.startswith(whole + b"/"):
            return Source(path[len(whole) + 1 :], path, folder)
    return Source(b"", path, True) if folder and alone else Source(os.path.basename(path), path, folder)


def _apart(sources: list[Source]) -> tuple[Source, ...]:
    """Ordered as trees are; InputRejected where two would stand in the same place."""
    ordered = sorted(set(sources), key=lambda source: source.prefix.replace(b"/", b"\0"))
    for first, second in pairwise(ordered):
        if not first.prefix or first.prefix == second.prefix or second.prefix.startswith(first.prefix + b"/"):
            raise InputRejected(
                f"{show(first.path)} and {show(second.path)} would stand in the same place of the dataset",
                hint="Add them one after the other, each with --at FOLDER.",
            )
    return tuple(ordered)
