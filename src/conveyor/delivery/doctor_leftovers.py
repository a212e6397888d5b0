"""Checks of what crashes leave on the disk. Only what is old enough to belong to nobody is called a leftover."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from conveyor.delivery.patient import Patient, Seen, warning, well
from conveyor.domain.run import RunState
from conveyor.effects.envs import ready
from conveyor.effects.identity import identity
from conveyor.stores.collections import RUNS

_OLD_SECONDS = 3600.0
_TEMPORARY = re.compile(r"\.(?:.+)\.(\d+)\.[0-9a-f]{8}|\.settings\.(\d+)")
"""As `effects.files.write_atomic` and `config.settings.save_settings` name them: with the pid of their writer."""
_UPLOAD = ".upload-"
_SWEEP = "`conveyor doctor --fix` removes them."


def envs(patient: Patient) -> Seen:
    return _said(_envs(patient), "half-built environments")


def remove_envs(patient: Patient) -> str:
    return _remove(_envs(patient))


def bad(patient: Patient) -> Seen:
    found = list(patient.settings.observations.glob("*/*/*/*.bad"))
    if found:
        return warning(f"{len(found)} segments are damaged, the first is {found[0]}", "Delete them once you looked.")
    return well("no damaged segment")


def work(patient: Patient) -> Seen:
    return _said(_work(patient), "folders of runs that have ended")


def remove_work(patient: Patient) -> str:
    return _remove(_work(patient))


def temporary(patient: Patient) -> Seen:
    return _said(_temporary(patient), "files that were never completed")


def remove_temporary(patient: Patient) -> str:
    return _remove(_temporary(patient))


def _envs(patient: Patient) -> list[Path]:
    return _old(patient, (path for path in _in(patient.settings.envs) if not ready(path)))


def _work(patient: Patient) -> list[Path]:
    with patient.records().read() as tx:
        opened = {run.id for run in tx.find(RUNS, where={"state": RunState.RUNNING}, limit=100_000)}
    candidates = (path for path in _in(patient.settings.work) if path.name not in opened)
    return _old(patient, [*candidates, *_in(patient.folder("trash"))])


def _temporary(patient: Patient) -> list[Path]:
    settings = patient.settings
    run = settings.run
    places = (settings.home, settings.envoy, run, run / "programs", run / "launch")
    files = [path for place in places for path in _in(place) if path.is_file()]
    dead = [path for path in files if (match := _TEMPORARY.fullmatch(path.name)) and _gone(match[1] or match[2])]
    uploads = (path for path in _in(settings.incoming) if path.name.startswith(_UPLOAD))
    return [*dead, *_old(patient, uploads)]


def _gone(pid: str) -> bool:
    return identity(int(pid)) is None


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _old(patient: Patient, paths: Iterable[Path]) -> list[Path]:
    now = patient.now().timestamp()
    return [path for path in paths if now - path.stat().st_mtime > _OLD_SECONDS]


def _said(found: list[Path], what: str) -> Seen:
    if found:
        return warning(f"{len(found)} {what}, the first is {found[0]}", _SWEEP)
    return well("none")


def _remove(found: list[Path]) -> str:
    for path in found:
        delete: Callable[[Path], None] = _tree if path.is_dir() and not path.is_symlink() else _file
        delete(path)
    return f"removed {len(found)}"


def _tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _file(path: Path) -> None:
    path.unlink(missing_ok=True)
