"""Starting, stopping, upgrading: `conveyor up`, `down` and `upgrade`, and where a command finds its Conveyor."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conveyor.client import Client, connect
from conveyor.config.settings import Settings, find_home, load_settings, settle
from conveyor.errors import Unavailable

if TYPE_CHECKING:
    from conveyor.effects.processes import ProcessInfo

_START_SECONDS = 60.0
_TAIL = 2000  # bytes of the control plane's log that an error quotes


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `conveyor upgrade` did: the stamps of the control plane, and which other processes are still the same."""

    before: str  # empty: none ran
    after: str
    replaced: bool
    untouched: tuple[str, ...]
    changed: tuple[str, ...]  # those that ended or were started again meanwhile, by themselves or by a rollout
    rollouts: tuple[str, ...]  # in flight, and carried on with
    seconds: float  # that it took


def up(home: Path) -> Settings:
    """Starts everything under supervisord and returns when the API answers.

    What runs is left alone, except a control plane of another Conveyor than this one: it is replaced.
    """
    # Only this command needs the server's parts; a status must not pay for their import.
    from conveyor.app import control_program, processes, proxy_program, records
    from conveyor.effects.ports import free_port

    settings = settle(home, os.environ, free_port)
    _token(settings)
    with contextlib.closing(records(settings, prepare=False)) as kept:
        kept.applied()  # refused before anything that works is stopped
    processes(settings).start_supervisor([control_program(settings)], kept=[proxy_program(settings)])
    _wait(settings)
    return settings


def upgrade(home: Path) -> Upgrade:
    """`up`, with an account of what it replaced and what it left alone."""
    from conveyor.app import processes
    from conveyor.effects.installed import stamp

    settings = load_settings(home)
    running = processes(settings)
    processes_before = running.list() if running.alive() else {}
    before, started = control_stamp(processes_before), time.monotonic()
    up(home)
    seconds = time.monotonic() - started
    same, other = _compared(processes_before, running.list())
    flying = [e.rollout.id for e in client(home).status().environments if e.rollout is not None]
    return Upgrade(before, stamp(), before != stamp(), same, other, tuple(flying), round(seconds, 1))


def control_stamp(running: Mapping[str, ProcessInfo]) -> str:
    """Which Conveyor the control plane that runs was started from; empty when none runs."""
    from conveyor.effects.identity import environment
    from conveyor.effects.installed import STAMP
    from conveyor.effects.processes import CONTROL

    info = running.get(CONTROL)
    words = environment(info.pid) if info is not None and info.pid is not None else None
    return next((word.partition("=")[2] for word in words or () if word.startswith(f"{STAMP}=")), "")


def down(home: Path) -> None:
    """Stops all processes; the state stays."""
    from conveyor.app import processes

    processes(load_settings(home)).shutdown()


def home() -> Path:
    return find_home(Path.cwd(), os.environ)


def client(at: Path | None = None) -> Client:
    """The client of the Conveyor at a home; without one of CONVEYOR_URL, or of this folder."""
    return connect(at)


def _token(settings: Settings) -> str:
    """Made once, readable by its owner only."""
    try:
        handle = os.open(settings.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return settings.token_file.read_text().strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    return token


def _wait(settings: Settings) -> None:
    deadline = time.monotonic() + _START_SECONDS
    answering = client(settings.home)
    while True:
        try:
            answering.projects()
            return
        except Unavailable as error:
            if time.monotonic() > deadline:
                log = settings.logs / "processes" / "control.log"
                said = log.read_bytes()[-_TAIL:].decode(errors="replace").strip() if log.exists() else "nothing"
                raise Unavailable(
                    f"the control plane does not answer; services go on. It said last:\n{said}",
                    hint=f"See {log}; `conveyor doctor` looks at every part.",
                ) from error
        time.sleep(0.05)


def _compared(
    before: Mapping[str, ProcessInfo], after: Mapping[str, ProcessInfo]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = sorted(before.keys() - {"control"})
    same = tuple(name for name in names if name in after and after[name].pid == before[name].pid)
    return same, tuple(name for name in names if name not in same)
