"""One process of a service, started to be looked at: it must become healthy, and pass its smoke test."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from conveyor.domain.masking import Masker
from conveyor.effects import commands
from conveyor.effects.environment import given_secrets
from conveyor.effects.ports import free_port

_END_SECONDS = 3.0
_TAIL = 4000


def failing(
    run: str, health: str, smoke: str, cwd: Path, env: Mapping[str, str], log: Path, *, start_seconds: float
) -> str:
    """What is wrong with it, as the end of the sentence "web@1a2b3c4d …"; empty if nothing is."""
    port = free_port()
    log.touch()
    with _running(run, cwd, {**env, "PORT": str(port)}, log) as process:
        sick = _await(process, port, health, start_seconds)
        if sick:
            return f"{sick}{_said(log)}"
        if not smoke:
            return ""
        address = {"CONVEYOR_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
        ran = commands.run(smoke, cwd, {**env, **address})
        if ran.code == 0:
            return ""
        return f"fails its smoke test: {ran.last or f'exit code {ran.code}'}{_said(log)}"


@contextmanager
def _running(run: str, cwd: Path, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """In the caller's process group: whatever it leaves behind ends with the step."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {run}"],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    writer = threading.Thread(target=_keep, args=(process.stdout, log), daemon=True)
    writer.start()
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        process.kill()
        process.wait()
        writer.join(timeout=1.0)  # what it left behind may hold the pipe open


def _keep(pipe: IO[bytes], log: Path) -> None:
    """Into the log without the secrets: they are nowhere on disk."""
    masker = Masker(given_secrets())
    with pipe, log.open("wb", buffering=0) as output:
        while piece := pipe.read1(65536):  # type: ignore[attr-defined]
            output.write(masker.feed(piece))
        output.write(masker.feed(b"", last=True))


def _await(process: subprocess.Popen[bytes], port: int, health: str, seconds: float) -> str:
    deadline, last = time.monotonic() + seconds, "nothing listens on $PORT"
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            time.sleep(0.1)  # its last words are on their way to the log
            return f"ended with exit code {code} before it was healthy"
        last = ask(port, health)
        if not last:
            return ""
        time.sleep(0.05)
    return f"was not healthy after {seconds:g} s: {last}"


def ask(port: int, path: str, seconds: float = 5.0) -> str:
    """Why it is not healthy; empty when it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except ConnectionRefusedError:
        return "nothing listens on $PORT"
    except (OSError, http.client.HTTPException) as error:
        return f"GET {path} got no answer ({error})"
    finally:
        connection.close()
    return "" if response.status == http.client.OK else f"GET {path} answered {response.status}"


def _said(log: Path) -> str:
    text = commands.last_lines(log.read_bytes()[-_TAIL:].decode(errors="replace"), 2)
    return f". It said: {text}" if text else ""
