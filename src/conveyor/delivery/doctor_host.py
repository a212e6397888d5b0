"""Checks of the machine: programs, disk, permissions."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import uv as uv_wheel

from conveyor.delivery.patient import Patient, Seen, warning, well, wrong
from conveyor.effects.vault import KEY_FILE

_GIT = (2, 30)
_FREE_BYTES, _FREE_SHARE = 1 << 30, 0.05
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def python(_: Patient) -> Seen:
    version = ".".join(map(str, sys.version_info[:3]))
    if not Path(sys.executable).exists():
        return wrong(f"{sys.executable} is gone", "Install Conveyor again, then `conveyor up`.")
    return well(f"{version} at {sys.executable}")


def git(_: Patient) -> Seen:
    path = shutil.which("git")
    if path is None:
        return wrong("git is not in PATH", "Install git, then `conveyor up`.")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < _GIT:
        return wrong(f"{said or 'git says no version'}", f"Install git {'.'.join(map(str, _GIT))} or newer.")
    return well(said)


def uv(_: Patient) -> Seen:
    try:
        return well(str(uv_wheel.find_uv_bin()))
    except FileNotFoundError as error:
        return wrong(f"uv is not installed ({error})", 'pip install "conveyor[server]"')


def disk(patient: Patient) -> Seen:
    usage = shutil.disk_usage(patient.settings.home)
    said = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB are free at {patient.settings.home}"
    if usage.free < max(_FREE_BYTES, _FREE_SHARE * usage.total):
        return warning(said, "Free some space: `conveyor gc` deletes what nothing needs any more.")
    return well(said)


def permissions(patient: Patient) -> Seen:
    if missing := [path for path in _private(patient)[:2] if not path.exists()]:
        return wrong(f"{missing[0]} is not there", "`conveyor up` makes it.")
    if wide := _wide(patient):
        return wrong(f"others can read {', '.join(map(str, wide))}", "`conveyor doctor --fix`, then change the token.")
    return well("only their owner can read them")


def close(patient: Patient) -> str:
    wide = _wide(patient)
    for path in wide:
        path.chmod(path.stat().st_mode & ~_OTHERS)
    return f"took the rights of others away from {', '.join(map(str, wide))}"


def _private(patient: Patient) -> list[Path]:
    settings = patient.settings
    return [settings.home, settings.token_file, settings.home / KEY_FILE]


def _wide(patient: Patient) -> list[Path]:
    return [path for path in _private(patient) if path.exists() and path.stat().st_mode & _OTHERS]
