"""`python -m conveyor.serving.check --artifact DIR --name fraud --version 3`: loads a model as its server does, and
scores its example, in a process of its own with an end to its time and memory.

Exit 0 when it may be served; 1 when not, and stderr says why, as does `error.json` in the folder of `--out`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from conveyor.domain import wire
from conveyor.domain.step import StepError
from conveyor.errors import ConveyorError
from conveyor.serving import digests

MEMORY_MB, SECONDS, MOST_MB = 4096, 60.0, 2048
_TOLD = 400  # characters of what it said last
_READ = 1 << 16  # bytes of what it said, from each end
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate", "out of memory", "Failed to allocate")


@dataclass(frozen=True, slots=True)
class Limits:
    memory_mb: int = MEMORY_MB  # beyond what the libraries take by themselves
    seconds: float = SECONDS
    most_mb: int = MOST_MB  # of the artifact's files


@dataclass(frozen=True, slots=True)
class Checked:
    """`problem` is empty when it may be served, else a sentence without its subject's name."""

    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is over; `problem` as in `Checked`."""

    pid: int
    problem: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """What the model server of an artifact is started with: another interpreter, variables, words for it."""

    python: str
    cwd: Path
    env: Mapping[str, str]
    words: Sequence[str] = ()


def check(
    artifact: Path,
    name: str,
    version: int,
    expected: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    server: Server | None = None,
) -> Checked:
    """Whether the artifact can be served. Returns within the limits, whatever the artifact does."""
    limits, server = limits or Limits(), server or Server(sys.executable, Path.cwd(), os.environ)
    size = sum(path.stat().st_size for path in artifact.iterdir() if path.is_file()) if artifact.is_dir() else 0
    if size > limits.most_mb * 2**20:
        return Checked(f"its artifact has {size / 2**30:.1f} GB; a model server takes at most {limits.most_mb:,} MB")
    argv = [server.python, "-m", "conveyor.serving.check", "--inner", "--artifact", str(artifact), "--name", name]
    argv += ["--version", str(version), "--memory-mb", str(limits.memory_mb), *server.words]
    argv += [word for pair in (expected or {}).items() for word in ("--digest", "=".join(pair))]
    ended = confined(argv, server, limits)
    return Checked(ended.problem, ended.seconds)


def confined(argv: Sequence[str], server: Server, limits: Limits) -> Ended:
    """Runs it in a session of its own, with an end to its time; what it left behind in its group ends with it.

    What it says goes to a file: a pipe that a child of its own holds open would be waited for without end.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv,
            cwd=server.cwd,
            env=dict(server.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            problem = f"it did not load and score within {limits.seconds:g} s, and was ended"
            return Ended(process.pid, problem, limits.seconds)
        finally:
            _end(process)
        return Ended(process.pid, _problem(code, _told(said), limits), time.monotonic() - began)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _told(said: IO[bytes]) -> str:
    """How it begins and ends, however much it is."""
    size = said.seek(0, os.SEEK_END)
    said.seek(0)
    head = said.read(_READ)
    said.seek(max(size - _READ, len(head)))
    return (head + said.read(_READ)).decode(errors="replace")


def _problem(code: int, said: str, limits: Limits) -> str:
    if code == 0:
        return ""
    if code != 1 and any(word in said for word in _OUT_OF_MEMORY):
        return f"it needs more than {limits.memory_mb:,} MB of memory to load and score"
    if code < 0:
        return f"it crashed while it loaded or scored ({signal.Signals(-code).name})"
    if code != 1:
        return f"it ended with exit code {code} while it loaded or scored: {said.strip()[-_TOLD:]}"
    return said.strip().partition("\n")[0]


def _inner(given: argparse.Namespace) -> int:
    """Loads and scores, in this process."""
    from conveyor.serving.model import load  # its libraries' own memory is not the model's

    _limit(given.memory_mb)
    try:
        digests.verify(given.artifact, digests.parsed(given.digest))
        load(given.artifact, name=given.name, version=given.version, trusted=tuple(given.trust))
    except ConveyorError as error:
        out_of_memory = any(word in error.message for word in _OUT_OF_MEMORY)
        print(error.message.replace("\n", " "), file=sys.stderr)
        return 3 if out_of_memory else 1
    except MemoryError:
        print("MemoryError", file=sys.stderr)
        return 3
    return 0


def _limit(memory_mb: int) -> None:
    statm = Path("/proc/self/statm")
    used = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_mb * 2**20, resource.RLIM_INFINITY))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conveyor.serving.check", description="Load and score a model.")
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", type=int, default=0)
    parser.add_argument("--digest", action="append", default=[], metavar="FILE=BLAKE3")
    parser.add_argument("--memory-mb", type=int, default=MEMORY_MB)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--most-mb", type=int, default=MOST_MB)
    parser.add_argument("--out", type=Path, help="a folder for error.json")
    parser.add_argument("--trust", action="append", default=[], help="a type that a model in skops' form may hold")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner:
        return _inner(given)
    limits = Limits(given.memory_mb, given.seconds, given.most_mb)
    here = Server(sys.executable, Path.cwd(), os.environ, [w for type_ in given.trust for w in ("--trust", type_)])
    done = check(given.artifact, given.name, given.version, digests.parsed(given.digest), limits, here)
    if done.problem:
        print(done.problem, file=sys.stderr)
        if given.out is not None:
            hint = "Nothing that is live was touched. Mend the model; the step's log says more."
            (given.out / "error.json").write_bytes(wire.to_json(StepError(f"{given.name}: {done.problem}", hint)))
        return 1
    print(f"loaded and scored within {done.seconds:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
