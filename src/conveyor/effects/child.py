"""Runs one command for the control plane and outlives it: `python -I -S child.py JOB_DIR`. Standard library only.

    job.json     {argv | shell, cwd, env, timeout_seconds, log, sealed, memory_mb}
    claim        created once, by the one wrapper that may run it: {pid, identity}
    started.json the command's process group: {pgid, identity}
    result.json  {exit_code, started, ended, timed_out, cancelled, max_rss_mb, cpu_seconds, signal, error}

The timeout holds when the control plane is dead. TERM to the wrapper cancels. When the wrapper itself is killed, the
kernel kills the command (PR_SET_PDEATHSIG, Linux), and whoever looks next kills what is left of its group.
Imports are few on purpose: it starts in the time of a bare interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would cost a tenth of the start
    pass

GRACE_SECONDS = 5.0
MEMORY_SECONDS = 0.1
YIELDS = 5
"""The niceness of a command: it takes what the services that answer requests leave."""
PR_SET_PDEATHSIG = 1


def identity(pid: int) -> str:
    """As `conveyor.effects.identity.identity`; this file stands alone."""
    if sys.platform.startswith("linux"):
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - pathlib costs a third of the start
            fields = file.read().rpartition(")")[2].split()
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
            return f"{file.read().strip()}:{fields[19]}"
    import subprocess

    text = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout
    return text.strip().partition(" ")[2].strip()


def write(path: str, value: dict[str, object]) -> None:
    temp = f"{path}.{os.getpid()}"
    with open(temp, "w") as file:  # noqa: PTH123
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, path)  # noqa: PTH105


def claim() -> bool:
    """True for exactly one of all wrappers that are started on this folder.

    The content is complete before the name exists: a link of a finished file, which fails when the name is taken.
    """
    temp = f"claim.{os.getpid()}"
    write(temp, {"pid": os.getpid(), "identity": identity(os.getpid())})
    try:
        os.link(temp, "claim")
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(temp)  # noqa: PTH108


def die_with(parent: int) -> None:
    """In the command's process, before exec: be killed when the wrapper is."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def give_way() -> None:
    """After setsid: of a session's niceness the kernel looks at the group's (autogroup) first, where it has any."""
    os.nice(YIELDS)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:  # noqa: PTH123
        file.write(str(YIELDS))


def command(job: dict, held: int, env: dict) -> list[str]:  # type: ignore[type-arg]
    """Its argv. With secrets it is started by `sealed.py`, whose masker keeps `held` open until all is in the log."""
    argv: list[str] = job.get("argv") or ["/bin/sh", "-c", job["shell"]]
    if not job.get("sealed"):
        return argv
    if key := os.environ.get("CONVEYOR_SECRET_KEY"):
        env["CONVEYOR_SECRET_KEY"] = key
    os.set_inheritable(held, True)
    launcher = [sys.executable, "-I", "-m", "conveyor.effects.sealed", job["sealed"]]
    return [*launcher, "--held", str(held), "--", *argv]


def drained(read: int) -> None:
    """Wait until the masker of a command that has ended has written its last words; not for ever."""
    import select

    select.select([read], [], [], GRACE_SECONDS)


def launch(job: dict, log: int, held: int) -> int:  # type: ignore[type-arg]
    """Fork and exec the command in its own session; returns its pid. A failed exec ends it with 127."""
    parent = os.getpid()
    if sys.platform.startswith("linux"):
        import ctypes  # noqa: F401 - imported before the fork, so that the child only calls

    ready, go = os.pipe()
    pid = os.fork()
    if pid:
        write("started.json", {"pgid": pid, "identity": identity(pid)})
        os.write(go, b"1")
        os.close(go)
        os.close(ready)
        return pid
    try:
        os.close(go)
        os.setsid()
        give_way()
        die_with(parent)
        # Nothing runs before its group is on record.
        if os.read(ready, 1) != b"1":
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.chdir(job["cwd"])
        argv = command(job, held, job["env"])
        os.execvpe(argv[0], argv, job["env"])
    except OSError as problem:
        os.write(2, f"cannot start {job.get('argv') or job.get('shell')}: {problem}\n".encode())
    finally:
        os._exit(127)


def end(pgid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def resident_mb(session: int) -> int:
    """What all processes of a session have in memory, by /proc; 0 where that is not."""
    pages = 0
    try:
        names = os.listdir("/proc")  # noqa: PTH208
    except OSError:
        return 0
    for name in names:
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat") as file:  # noqa: PTH123
                    fields = file.read().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    pages += int(fields[21])
    return pages * resource.getpagesize() // 2**20


def wait(
    pid: int, timeout_seconds: float | None, cancelled: list[bool], memory_mb: int, over: list[int]
) -> tuple[int, resource.struct_rusage, bool]:
    """(status, usage, timed_out): waits with signals as the clock, so that an idle wrapper costs nothing.

    A command with a limit of memory is looked at several times a second; `over` gets what it used beyond it.
    """
    deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
    timed_out = False
    kill_at: float | None = None
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            # What the command left behind in its group ends with it.
            end(pid, signal.SIGKILL)
            return status, usage, timed_out
        now = time.monotonic()
        if kill_at is None and (cancelled or (deadline is not None and now >= deadline)):
            timed_out, kill_at = not cancelled, now + GRACE_SECONDS
            end(pid, signal.SIGTERM)
        elif kill_at is not None and now >= kill_at:
            end(pid, signal.SIGKILL)
            kill_at = now + GRACE_SECONDS
        elif kill_at is None and memory_mb and (used := resident_mb(pid)) > memory_mb:
            over.append(used)
            end(pid, signal.SIGKILL)
            kill_at = now + GRACE_SECONDS
        wake = kill_at if kill_at is not None else deadline
        most = MEMORY_SECONDS if memory_mb else 60.0
        if nap(most if wake is None else min(most, max(0.0, wake - now))) == signal.SIGTERM:
            cancelled.append(True)


def nap(seconds: float) -> int | None:
    """Sleep until a child ended or TERM came; both are blocked, so neither gets lost between two looks."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, seconds)
        return info.si_signo if info else None
    time.sleep(min(seconds, 0.05))
    return signal.sigwait({signal.SIGTERM}) if signal.SIGTERM in signal.sigpending() else None


def main(job_dir: str) -> None:
    os.chdir(job_dir)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    if os.path.exists("result.json") or not claim():  # noqa: PTH110
        return
    started = time.time()
    result: dict[str, object] = {
        "exit_code": None,
        "started": started,
        "timed_out": False,
        "cancelled": False,
        "error": None,
    }
    try:
        with open("job.json") as file:  # noqa: PTH123
            job = json.load(file)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        cancelled: list[bool] = []
        read, held = os.pipe()
        pid = launch(job, log, held)
        os.close(held)
        over: list[int] = []
        status, usage, timed_out = wait(pid, job.get("timeout_seconds"), cancelled, job.get("memory_mb") or 0, over)
        if over:
            result["error"] = f"it used {over[0]} MB of memory, and its memory_mb is {job['memory_mb']}"
        drained(read)
        code = os.waitstatus_to_exitcode(status)
        scale = 2**20 if sys.platform == "darwin" else 2**10
        result.update(
            exit_code=code if code >= 0 else 128 - code,
            signal=-code if code < 0 else None,
            timed_out=timed_out,
            cancelled=bool(cancelled),
            max_rss_mb=round(usage.ru_maxrss / scale, 1),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
        )
    except (OSError, ValueError, KeyError) as problem:
        result["error"] = f"{type(problem).__name__}: {problem}"
    write("result.json", {**result, "ended": time.time()})


if __name__ == "__main__":
    main(sys.argv[1])
