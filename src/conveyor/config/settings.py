"""Where an installation keeps its state, and on which ports it listens: found at the first `conveyor up`, then kept.

The folder and the environment variables are arguments; nothing here looks at the process that it runs in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from conveyor.config.read import Reader
from conveyor.domain import wire
from conveyor.errors import ConfigInvalid, NotFound

HOME_NAME = ".conveyor"
_VARIABLES = {
    "CONVEYOR_HOST": "host",
    "CONVEYOR_PUBLIC_PORT": "public_port",
    "CONVEYOR_API_PORT": "api_port",
    "CONVEYOR_DATABASE_URL": "database_url",
    "CONVEYOR_OBJECTS_URL": "objects_url",
    "CONVEYOR_OPENLINEAGE_URL": "openlineage_url",
    "CONVEYOR_ROWS_BACKLOG_MB": "rows_backlog_mb",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`home` is the state folder, `.conveyor/`; its layout is told by the properties. Ports of 0 are not found yet."""

    home: Path
    host: str = "127.0.0.1"
    public_port: int = 0  # traffic to services and models
    api_port: int = 0  # API, pages and git remote
    database_url: str = ""  # empty: SQLite in `home`
    objects_url: str = ""  # empty: files in `home`
    openlineage_url: str = ""  # where runs are told of: http://…, or file:///… ; empty: nowhere
    rows_backlog_mb: int = 1024  # of rows that were sent and are not yet part of a version; more are refused

    @property
    def root(self) -> Path:
        """The folder that holds `home`: watched folders are relative to it."""
        return self.home.parent

    @property
    def database(self) -> Path:
        return self.home / "conveyor.db"

    @property
    def tracking(self) -> Path:
        """Tracked runs, where they are not in the database of `database_url`."""
        return self.home / "tracking.db"

    @property
    def objects(self) -> Path:
        return self.home / "objects"

    @property
    def repos(self) -> Path:
        return self.home / "repos"

    @property
    def builds(self) -> Path:
        return self.home / "builds"

    @property
    def envs(self) -> Path:
        return self.home / "envs"

    @property
    def work(self) -> Path:
        """Scratch folders of attempts and of model servers."""
        return self.home / "work"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def envoy(self) -> Path:
        return self.home / "envoy"

    @property
    def observations(self) -> Path:
        return self.home / "observations"

    @property
    def incoming(self) -> Path:
        """Uploaded files, durable before anything else is done with them."""
        return self.home / "incoming"

    @property
    def rows(self) -> Path:
        """Rows that were sent and are not yet part of a version."""
        return self.home / "rows"

    @property
    def token_file(self) -> Path:
        return self.home / "token"

    @property
    def settings_file(self) -> Path:
        return self.home / "settings.json"

    @property
    def run(self) -> Path:
        """Pid files and sockets; `effects.sockets` knows what to do where this is too deep for a socket's path."""
        return self.home / "run"

    @property
    def public_url(self) -> str:
        return f"http://{self.host}:{self.public_port}"

    @property
    def api_url(self) -> str:
        return f"http://{self.host}:{self.api_port}"

    def folders(self) -> tuple[Path, ...]:
        within = (self.objects, self.repos, self.builds, self.envs, self.work, self.logs)
        return (self.home, *within, self.envoy, self.observations, self.incoming, self.rows, self.run)


def find_home(start: Path, env: Mapping[str, str]) -> Path:
    """`CONVEYOR_HOME`, else the nearest `.conveyor` from `start` upward, else the one that `start` would get."""
    if named := env.get("CONVEYOR_HOME"):
        return (start / Path(named).expanduser()).resolve()
    start = start.resolve()
    folders = (start, *start.parents)
    return next((folder / HOME_NAME for folder in folders if (folder / HOME_NAME).is_dir()), start / HOME_NAME)


def load_settings(home: Path) -> Settings:
    """The settings that the first `conveyor up` wrote: NotFound where there are none, ConfigInvalid if damaged."""
    return _read(home, _kept(home), str(home / "settings.json"))


def settle(home: Path, env: Mapping[str, str], free_port: Callable[[str], int]) -> Settings:
    """The settings to start with: those kept, over them `env`, and for each port not found yet a free one of `host`.

    Makes the folders and writes the result, so that the next start finds the same.
    """
    home = home.resolve()
    try:
        kept = _kept(home)
    except NotFound:
        kept = {}
    settings = _read(home, kept | _said(env), "settings")
    if not settings.public_port:
        settings = replace(settings, public_port=free_port(settings.host))
    while not settings.api_port or settings.api_port == settings.public_port:
        settings = replace(settings, api_port=free_port(settings.host))
    make_folders(settings)
    save_settings(settings)
    return settings


def save_settings(settings: Settings) -> None:
    kept = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "home"}
    temp = settings.settings_file.with_name(f".settings.{os.getpid()}")
    with temp.open("wb") as file:
        file.write(msgspec.json.format(wire.to_json(kept), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temp.replace(settings.settings_file)


def make_folders(settings: Settings) -> None:
    """All folders, readable by their owner only."""
    for folder in settings.folders():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _kept(home: Path) -> dict[str, Any]:
    path = home / "settings.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise NotFound(f"There is no Conveyor in {home.parent}.", hint="Start one there with `conveyor up`.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid((str(error),), path=str(path)) from error


def _said(env: Mapping[str, str]) -> dict[str, Any]:
    said = {name: env[variable] for variable, name in _VARIABLES.items() if env.get(variable)}
    numbers = ("_port", "_mb")
    return {name: int(text) if name.endswith(numbers) and text.isdecimal() else text for name, text in said.items()}


def _read(home: Path, raw: dict[str, Any], source: str) -> Settings:
    reader = Reader()
    settings = reader.table(Settings, raw, (), {"home": home}, {})
    for name in ("public_port", "api_port"):
        if not 0 <= getattr(settings, name) < 65536:
            reader.add((name,), f"expected a port from 1 to 65535, found {getattr(settings, name)}")
    if settings.openlineage_url and not settings.openlineage_url.startswith(("http://", "https://", "file:///")):
        reader.add(
            ("openlineage_url",), f'expected http://…, https://… or file:///…, found "{settings.openlineage_url}"'
        )
    if settings.rows_backlog_mb < 1:
        reader.add(("rows_backlog_mb",), f"must be at least 1, found {settings.rows_backlog_mb}")
    if reader.problems:
        raise ConfigInvalid(tuple(map(str, reader.problems)), path=source)
    return settings
