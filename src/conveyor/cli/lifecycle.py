"""Starting and stopping: what `conveyor up` and `down` do, and where a command finds the Conveyor it talks to."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from conveyor.client import Client
from conveyor.config.settings import Settings, find_home, load_settings, settle
from conveyor.errors import Unavailable

_START_SECONDS = 60.0


def up(home: Path) -> Settings:
    """Starts everything under supervisord and returns when the API answers; does nothing for what runs already."""
    # Only this command needs the server's parts; a status must not pay for their import.
    from conveyor.app import base_programs, processes
    from conveyor.effects.ports import free_port

    settings = settle(home, os.environ, free_port)
    _token(settings)
    processes(settings).start_supervisor(base_programs(settings))
    _wait(settings)
    return settings


def down(home: Path) -> None:
    """Stops all processes; the state stays."""
    from conveyor.app import processes

    processes(load_settings(home)).shutdown()


def home() -> Path:
    return find_home(Path.cwd(), os.environ)


def client(at: Path | None = None) -> Client:
    """The client of the Conveyor of this folder, or of CONVEYOR_URL with CONVEYOR_TOKEN."""
    if url := os.environ.get("CONVEYOR_URL"):
        return Client(url, os.environ.get("CONVEYOR_TOKEN", ""))
    settings = load_settings(at or home())
    return Client(settings.api_url, settings.token_file.read_text().strip())


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
                raise Unavailable("the control plane does not answer", hint=f"See {log}.") from error
        time.sleep(0.05)
