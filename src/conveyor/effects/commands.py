"""A shell command within a step: its output goes on to the step's log, and its end is remembered for the error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from conveyor.domain.masking import Masker, mask
from conveyor.effects.environment import given_secrets

_LOOK = 0.02  # seconds between two looks of the watcher
_TAIL = 8000
_LINE = 300


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    seconds: float
    tail: str

    @property
    def last(self) -> str:
        return last_lines(self.tail)


def run(
    line: str, cwd: Path, env: Mapping[str, str], watch: Callable[[float], None] | None = None, *, quiet: bool = False
) -> Ran:
    """`watch` is called all the while; what it raises ends the command. With `quiet` its stdout is kept, whole."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["/bin/sh", "-c", line],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if quiet else subprocess.STDOUT,
    )
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_pass_on, args=(process.stdout, kept, quiet), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            if watch is not None:
                watch(time.monotonic())
            time.sleep(_LOOK)
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.monotonic() - began
    reader.join(timeout=2.0)  # a daemon that it left behind may hold the pipe open
    return Ran(process.returncode, seconds, kept.decode(errors="replace"))


def last_lines(text: str, count: int = 1) -> str:
    """The last lines that say something: a line of marks under another one does not."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]
    return mask(" ".join(lines[-count:]), given_secrets())[-_LINE:]


def _pass_on(pipe: IO[bytes], kept: bytearray, quiet: bool) -> None:
    masker = Masker(given_secrets())
    with pipe:
        while piece := pipe.read1(65536):  # type: ignore[attr-defined]
            kept += piece
            if not quiet:
                del kept[:-_TAIL]
                _show(masker.feed(piece))
    _show(masker.feed(b"", last=True))


def _show(piece: bytes) -> None:
    sys.stdout.write(piece.decode(errors="replace"))
    sys.stdout.flush()
