"""Commands that run once, to their end, whether or not the control plane lives: see `child.py`, which runs them.

A job lives in a folder. Starting it twice is harmless, at any moment and from any process: one wrapper wins the claim.
What became of it is read from the folder: the pid that claimed it is compared with its start time, so a reused pid
is never taken for the job.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from conveyor.effects import child
from conveyor.effects.files import write_atomic
from conveyor.effects.identity import end_group, group_alive, identity
from conveyor.effects.vault import VARIABLE
from conveyor.errors import InputRejected


@dataclass(frozen=True, slots=True)
class Job:
    """One of `argv` and `shell`. `env` is the whole environment. stdout and stderr are appended to `log`.

    `sealed`: the file of its secrets, see `sealed.py`; they are masked in the log. `memory_mb`: the command and all
    that it started are ended when they use more.
    """

    cwd: Path
    log: Path
    argv: tuple[str, ...] = ()
    shell: str = ""
    env: dict[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    sealed: str = ""
    memory_mb: int = 0


class JobPhase(StrEnum):
    ABSENT = "absent"  # nobody claimed it (yet): start it (again)
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # its wrapper was killed and left no result; nothing of it runs any more


@dataclass(frozen=True, slots=True)
class JobResult:
    """`exit_code` as a shell says it (128 + signal); None when it could not even be started (`error` says why)."""

    exit_code: int | None
    started: datetime
    ended: datetime
    timed_out: bool = False
    cancelled: bool = False
    signal: int | None = None
    max_rss_mb: float = 0.0
    cpu_seconds: float = 0.0
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out and not self.cancelled


@dataclass(frozen=True, slots=True)
class JobState:
    phase: JobPhase
    result: JobResult | None = None
    pid: int | None = None


def start(job_dir: Path, job: Job) -> None:
    """Returns when the wrapper was spawned; `observe` shows it RUNNING a few milliseconds later."""
    if bool(job.argv) == bool(job.shell):
        raise InputRejected(f"the job in {job_dir} needs a command, as argv or for the shell", hint="Give one of them.")
    job_dir.mkdir(parents=True, exist_ok=True)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    if not (job_dir / "job.json").exists():
        content = {**asdict(job), "cwd": str(job.cwd.resolve()), "log": str(job.log.resolve())}
        write_atomic(job_dir / "job.json", json.dumps(content).encode(), mode=0o600)
    # The shell ends at once and leaves the wrapper to init: no zombie for a server that never waits.
    wrapper = [sys.executable, "-I", "-S", str(Path(child.__file__).resolve()), str(job_dir.resolve())]
    subprocess.run(
        ["/bin/sh", "-c", '"$@" &', "sh", *wrapper],
        env={name: os.environ[name] for name in ("PATH", VARIABLE) if name in os.environ},
        cwd=job_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )


def observe(job_dir: Path) -> JobState:
    """What is true now. Of a LOST job the remaining processes are killed before it is called lost."""
    if (result := _result(job_dir)) is not None:
        return JobState(JobPhase.FINISHED, result)
    claim = _read(job_dir / "claim")
    if claim is None:
        return JobState(JobPhase.ABSENT)
    if identity(claim["pid"]) == claim["identity"]:
        return JobState(JobPhase.RUNNING, pid=claim["pid"])
    # It may have ended between the two looks.
    if (result := _result(job_dir)) is not None:
        return JobState(JobPhase.FINISHED, result)
    _end_remains(job_dir)
    return JobState(JobPhase.LOST)


def cancel(job_dir: Path) -> None:
    """TERM to the command's group, KILL five seconds later; the result says cancelled. One not yet begun never does."""
    job_dir.mkdir(parents=True, exist_ok=True)
    state = observe(job_dir)
    if state.phase is JobPhase.ABSENT and _claim_for_nobody(job_dir):
        return
    state = observe(job_dir)
    if state.phase is JobPhase.RUNNING and state.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


def end(job_dir: Path) -> None:
    """KILL to wrapper and command at once; it is LOST then. For a job that answers to nothing else."""
    state = observe(job_dir)
    if state.phase is JobPhase.RUNNING and state.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)


def _claim_for_nobody(job_dir: Path) -> bool:
    temp = job_dir / f"claim.cancel.{os.getpid()}"
    write_atomic(temp, json.dumps({"pid": 0, "identity": "cancelled"}).encode())
    try:
        os.link(temp, job_dir / "claim")
    except FileExistsError:
        return False
    finally:
        temp.unlink()
    now = datetime.now(UTC).timestamp()
    result = {"exit_code": None, "started": now, "ended": now, "cancelled": True}
    write_atomic(job_dir / "result.json", json.dumps(result).encode())
    return True


def _end_remains(job_dir: Path) -> None:
    """The kernel killed the command with its wrapper; what the command had started may still run in its group.

    A group's number is not given out again while a member lives. A leader with another start time is a stranger.
    """
    started = _read(job_dir / "started.json")
    if started is None:
        return
    leader = identity(started["pgid"])
    if leader in (None, started["identity"]) and group_alive(started["pgid"]):
        end_group(started["pgid"], seconds=0.0)


def _result(job_dir: Path) -> JobResult | None:
    raw = _read(job_dir / "result.json")
    if raw is None:
        return None
    times = {key: datetime.fromtimestamp(raw.pop(key), UTC) for key in ("started", "ended")}
    return JobResult(**{**raw, **times})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found
