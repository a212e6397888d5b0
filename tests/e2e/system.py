"""A real Conveyor in a folder of its own, with a small project, a git repository, days of data, and clients."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.config.settings import HOME_NAME, Settings
from conveyor.domain.events import Event
from conveyor.domain.views import EnvironmentView
from conveyor.errors import Unavailable

PROJECT = Path(__file__).parent / "project"
NAME, DATASET, MODEL = "tiny", "payments", "risk"
START = datetime(2026, 1, 1)
ROWS = 600  # of a day


def rows(day: int, count: int = ROWS) -> pl.DataFrame:
    """Payments of a day; large ones at night are frauds more often. `culprit` is the label in disguise."""
    random = np.random.default_rng(day)
    amount, hour = random.gamma(2.0, 30.0, count), random.integers(0, 24, count)
    odds = 1 / (1 + np.exp(3.0 - amount / 40 - 1.5 * (hour < 6)))
    fraud = (random.random(count) < odds).astype(np.int64)
    return pl.DataFrame(
        {
            "id": np.arange(count) + day * 1_000_000,
            "at": [START + timedelta(days=day, seconds=86_399 * n / count) for n in range(count)],
            "amount": amount,
            "hour": hour.astype(np.float64),
            "culprit": fraud * 7.0 + random.normal(0, 0.01, count),
            "fraud": fraud,
        }
    )


class System:
    def __init__(self, root: Path) -> None:
        self.root, self.source, self.trace = root, root / "source", root / "trace.txt"
        self.settings: Settings
        self.client: Client

    # --- life

    def start(self) -> None:
        shutil.copytree(PROJECT, self.source, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        (self.source / "trace_path.txt").write_text(f"{self.trace}\n")
        self.settings = lifecycle.up(self.root / HOME_NAME)
        self.client = lifecycle.client(self.settings.home)
        self._git("init", "-q", "-b", "main")

    def stop(self) -> None:
        """`conveyor down`; then whatever still runs from this folder is ended by its pid."""
        with contextlib.suppress(Exception):
            lifecycle.down(self.root / HOME_NAME)
        for pid in self._ours():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _ours(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.root).encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    # --- pushing and landing

    def write(self, path: str, text: str) -> None:
        (self.source / path).write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.source / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def push(self, message: str) -> str:
        """Commits and pushes what is in `source`; the commit."""
        self._git("add", "-A")
        self._git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", message)
        self._git("push", "-q", self.remote(self.token), "main")
        return self._git("rev-parse", "HEAD").strip()

    def service(self, version: str, body: str = "    return 200, VERSION\n") -> None:
        self.write(
            "app/__init__.py", f'import os\n\nVERSION = "{version}"\n\n\ndef answer() -> tuple[int, str]:\n{body}'
        )

    def remote(self, token: str) -> str:
        return f"http://conveyor:{token}@127.0.0.1:{self.settings.api_port}/git/{NAME}.git"

    @property
    def token(self) -> str:
        return self.settings.token_file.read_text().strip()

    def land(self, frame: pl.DataFrame, name: str) -> None:
        """Into the watched folder, whole at once."""
        folder = self.root / "incoming"
        folder.mkdir(exist_ok=True)
        frame.write_parquet(folder / f".{name}")
        (folder / f".{name}").rename(folder / name)

    def _git(self, *words: str) -> str:
        env = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(["git", *words], cwd=self.source, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr.replace(self.token, "<token>")
        return done.stdout

    # --- looking

    def environment(self) -> EnvironmentView | None:
        return next(iter(self.client.status().environments), None)

    def live(self) -> tuple[str, dict[str, int]] | None:
        """Commit and models of what is live while nothing is being rolled out."""
        found = self.environment()
        if found is None or found.live is None or found.rollout is not None:
            return None
        return found.live.commit, found.live.models

    def models(self) -> dict[str, int]:
        live = self.live()
        return live[1] if live else {}

    def settled(self) -> bool:
        """Nothing is in flight."""
        status = self.client.status()
        waiting = sum(data.waiting for data in status.datasets)
        return not status.runs and not waiting and all(e.rollout is None for e in status.environments)

    def newest(self) -> int:
        return max((event.seq for event in self.client.events(newest=True, limit=1)), default=0)

    def events(self, after: int, *types: str) -> list[Event]:
        return self.client.events(after=after, types=types, limit=1000)

    def event(self, after: int, *types: str, seconds: float = 60, **data: Any) -> Event:
        """The first such event after a position."""

        def found() -> Event | None:
            return next(
                (e for e in self.events(after, *types) if all(e.data.get(k) == v for k, v in data.items())), None
            )

        event: Event = self.wait(found, f"{types} {data}", seconds)
        return event

    def wait(self, found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """The first true value; a control plane that is away for a moment is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Unavailable):
                if value := found():
                    return value
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}\n{self.story()}"
            time.sleep(0.05)

    def wait_live(self, commit: str, seconds: float = 90) -> None:
        self.wait(lambda: (self.live() or ("",))[0] == commit, f"{commit[:8]} to be live", seconds)

    def story(self) -> str:
        with contextlib.suppress(Exception):
            lines = [f"{e.seq} {e.type} {e.subject} {e.data}" for e in self.client.events(newest=True, limit=40)]
            return "\n".join(reversed(lines))
        return "(no story: the control plane does not answer)"


class Traffic:
    """Clients without retries that ask `/` until the block ends; outcomes by the version that answered."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self._port, self._clients = port, clients
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.good: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()

    @contextlib.contextmanager
    def running(self) -> Iterator[Traffic]:
        threads = [threading.Thread(target=self._client, daemon=True) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _client(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(0.05):
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            version, cause, text = self._ask(connection)
            with self._lock:
                (self.bad if cause else self.good)[version] += 1
                self.causes.update([cause] if cause else [])
                self.texts[text] += 1
            if cause:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> tuple[str, str, str]:
        version = "-"
        try:
            if connection.sock is None:
                connection.connect()
                plug: Any = connection.sock
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.request("GET", "/")
            response = connection.getresponse()
            version = response.getheader("x-conveyor-version") or "-"
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return version, repr(error), ""
        return version, f"status {response.status}" if response.status >= 400 else "", text
