from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

TESTS = Path(__file__).parents[1]


@dataclass
class Site:
    address: str
    token: str
    process: subprocess.Popen[str]

    def tell(self, type_: str, subject: str, **data: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{type_} {subject} {json.dumps(data)}\n")
        self.process.stdin.flush()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    started: list[subprocess.Popen[str]] = []

    home = tmp_path / ".conveyor"

    def start(kind: str) -> Site:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [sys.executable, "-m", "browser.serve", str(home), str(port), kind]
        process = subprocess.Popen(argv, cwd=TESTS, stdin=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{address}/livez", timeout=5)
                return Site(address, (home / "token").read_text(), process)
            except httpx.TransportError:
                assert process.poll() is None, "the site ended"
                assert time.monotonic() < deadline, "the site does not answer"
                time.sleep(0.05)

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdin:
            process.stdin.close()
