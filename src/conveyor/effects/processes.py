"""Long-running processes on this host, kept alive by supervisord, which outlives the control plane.

run_dir/supervisord.conf   programs/<name>.conf   launch/<name>-<digest>.sh   pids/<name>   supervisord.log
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conveyor.effects import supervisor_config
from conveyor.effects.files import write_if_changed
from conveyor.effects.identity import end_group, environment
from conveyor.effects.sockets import UnixConnection, socket_path
from conveyor.effects.supervisor_config import Program
from conveyor.errors import NotFound, Unavailable

__all__ = ["CONTROL", "ENVOY", "ProcessInfo", "Processes", "Program"]

CONTROL, ENVOY = "control", "envoy"
"""The two programs that are Conveyor's own; every other one is an instance of a release."""

# https://supervisord.org/api.html, class Faults
_SHUTDOWN_STATE, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED = 6, 10, 60, 70, 90
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_SLACK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """`state` is supervisord's: STARTING RUNNING BACKOFF STOPPING STOPPED EXITED FATAL.

    RUNNING means that it has stayed up for a second. `pid`, `started_at` while it runs; `exit` after it ended.
    """

    state: str
    pid: int | None
    started_at: datetime | None
    exit: int | None

    @property
    def up(self) -> bool:
        return self.state in ("STARTING", "RUNNING")


class Processes:
    def __init__(self, run_dir: Path, *, env: dict[str, str] | None = None) -> None:
        """`env`: what every program gets besides PATH, HOME, LANG and TMPDIR of who starts supervisord."""
        self._dir = run_dir.resolve()
        self._env = dict(env or {})
        self._applied: dict[str, str] = {}

    @property
    def socket(self) -> Path:
        return socket_path(self._dir, "supervisor.sock")

    @property
    def log(self) -> Path:
        """supervisord's own log: which process ended, when and how."""
        return self._dir / "supervisord.log"

    @property
    def mark(self) -> str:
        """What every process under this supervisord has in its environment, and no other process has."""
        return f"SUPERVISOR_SERVER_URL=unix://{self.socket}"

    def start_supervisor(
        self, programs: Sequence[Program] = (), *, kept: Sequence[Program] = (), timeout: float = 15.0
    ) -> None:
        """Idempotent: a supervisord that answers is kept. Programs left behind by a killed one are ended first.

        `kept`: as `programs`, but what runs of them is left as it is, also where its content would be another today.
        """
        if not self.alive():
            for name in ("programs", "launch", "pids"):
                (self._dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._end_leftovers()
            for program in (*kept, *programs):
                self._write(program)
            self._spawn(timeout)
        running = self.list()
        for program in kept:
            self.hold(program, running.get(program.name))
        for program in programs:
            self.ensure(program)

    def alive(self) -> bool:
        try:
            return bool(self._call("getState", timeout=2.0)["statename"] in ("RUNNING", "RESTARTING"))
        except Unavailable:
            return False

    def pid(self) -> int:
        """supervisord's own."""
        return int(self._call("getPID"))

    def shutdown(self, *, timeout: float = 60.0) -> None:
        """Stop every program, last started first, then supervisord itself; returns when it is gone."""
        try:
            pid = self.pid()
            self._call("shutdown")
        except Unavailable:
            self._end_leftovers()
            return
        deadline = time.monotonic() + timeout
        while environment(pid) is not None:
            if time.monotonic() > deadline:
                raise Unavailable(f"supervisord (pid {pid}) is still stopping programs", hint="Run it again.")
            time.sleep(0.02)
        self._applied.clear()

    def ensure(self, program: Program) -> None:
        """The program runs with exactly this content: added, replaced (stopped first) or started as needed."""
        info = self._info(program.name)
        launch = self._write(program)
        if info is None or self._applied.get(program.name) != launch:
            info = self._reload(program)
            self._applied[program.name] = launch
            self._sweep(program.name, keep=launch)
        stopped = ("STOPPED", "FATAL", "EXITED") if program.autorestart else ("STOPPED",)
        if info is not None and info.state in stopped:
            self._call("startProcess", program.name, False, accept=(_ALREADY_STARTED,))

    def hold(self, program: Program, info: ProcessInfo | None) -> bool:
        """The program runs, whatever content it was started with; `info` is what `list` said of it.

        A newer Conveyor may write another launch script for the same release: what runs must not be restarted for
        that. True if its files on disk had to be mended, or it had to be started again.
        """
        if info is None or not info.up:
            self.ensure(program)
            return info is None or info.state == "STOPPED"
        supervisor_config.check(program)
        launch = self._launch_in_use(program.name) or self._write_launch(program)
        return self._write_section(program, launch)

    def stop(self, name: str) -> None:
        """Ask it to end and return at once; `list` shows STOPPED when it has."""
        self._call("stopProcess", name, False, accept=(_NOT_RUNNING, _BAD_NAME))

    def remove(self, name: str) -> None:
        """Stop it (TERM, then KILL after its stop_seconds), wait for its end and forget it. Absent is fine."""
        (self._dir / "programs" / f"{name}.conf").unlink(missing_ok=True)
        self._stop_group(name)
        self._call("removeProcessGroup", name, accept=(_BAD_NAME,))
        self._applied.pop(name, None)
        self._sweep(name, keep=None)

    def restart(self, name: str) -> None:
        self._stop_group(name)
        self._call("startProcess", name, False, accept=(_ALREADY_STARTED,))

    def signal(self, name: str, number: int) -> None:
        self._call("signalProcess", name, str(int(number)), accept=(_NOT_RUNNING,))

    def list(self) -> dict[str, ProcessInfo]:
        return {raw["name"]: _parse(raw) for raw in self._call("getAllProcessInfo")}

    def _write(self, program: Program) -> str:
        supervisor_config.check(program)
        launch = self._write_launch(program)
        self._write_section(program, launch)
        return launch

    def _write_launch(self, program: Program) -> str:
        script = supervisor_config.launch_script(program)
        launch = supervisor_config.launch_name(program, script)
        write_if_changed(self._dir / "launch" / launch, script.encode(), mode=0o600)
        return launch

    def _write_section(self, program: Program, launch: str) -> bool:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        section = supervisor_config.program_section(program, launch, self._dir)
        return write_if_changed(self._dir / "programs" / f"{program.name}.conf", section.encode(), mode=0o600)

    def _launch_in_use(self, name: str) -> str | None:
        """The launch script that the running process came from: others of its name are swept after a change."""
        found = sorted(self._launches(name))
        return found[0].name if len(found) == 1 else None

    def _launches(self, name: str) -> Iterator[Path]:
        return (self._dir / "launch").glob(f"{name}-{'[0-9a-f]' * 16}.sh")

    def _reload(self, program: Program) -> ProcessInfo | None:
        added, changed, _ = self._call("reloadConfig")[0]
        if program.name in changed:
            self._stop_group(program.name)
            self._call("removeProcessGroup", program.name, accept=(_BAD_NAME,))
        if program.name in changed or program.name in added:
            self._call("addProcessGroup", program.name, accept=(_ALREADY_ADDED,))
            return None
        return self._info(program.name)

    def _stop_group(self, name: str) -> None:
        """Polled, because supervisord's own wait only looks once a second."""
        self.stop(name)
        while (info := self._info(name)) is not None and info.pid is not None:
            time.sleep(0.01)

    def _info(self, name: str) -> ProcessInfo | None:
        raw = self._call("getProcessInfo", name, accept=(_BAD_NAME,))
        return None if raw is None else _parse(raw)

    def _sweep(self, name: str, *, keep: str | None) -> None:
        for path in self._launches(name):
            if path.name != keep:
                path.unlink(missing_ok=True)
        if keep is None:
            (self._dir / "pids" / name).unlink(missing_ok=True)

    def _spawn(self, timeout: float) -> None:
        config = supervisor_config.supervisord_section(self.socket, root=os.getuid() == 0)
        write_if_changed(self._dir / "supervisord.conf", config.encode(), mode=0o600)
        clean = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        command = [sys.executable, "-I", "-m", "conveyor.effects.supervise", "-c", "supervisord.conf"]
        # Daemonises itself: the child that is waited for here ends at once, the daemon has no parent to outlive.
        done = subprocess.run(
            command,
            cwd=self._dir,
            env={"TMPDIR": tempfile.gettempdir(), **clean, **self._env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise Unavailable(f"supervisord did not start: {said}", hint=f"See {self._dir}/supervisord.log")
        deadline = time.monotonic() + timeout
        while not self.alive():
            if time.monotonic() > deadline:
                raise Unavailable("supervisord started but does not answer", hint=f"See {self._dir}/supervisord.log")
            time.sleep(0.01)

    def _end_leftovers(self) -> None:
        """After `kill -9` of supervisord its programs still hold their ports."""
        for path in sorted((self._dir / "pids").glob("*")):
            text = path.read_text()
            if text.isdigit() and self.mark in (environment(int(text)) or ()):
                end_group(int(text), seconds=3.0)
            path.unlink(missing_ok=True)

    def _call(self, method: str, *arguments: Any, accept: tuple[int, ...] = (), timeout: float = _SLACK_SECONDS) -> Any:
        """One XML-RPC call; None for a fault that the caller accepts."""
        request = xmlrpc.client.dumps(arguments, f"supervisor.{method}")
        connection = UnixConnection(self.socket, timeout=timeout)
        try:
            connection.request("POST", "/RPC2", request, {"Content-Type": "text/xml"})
            response = connection.getresponse()
            body = response.read()
            if response.status != http.client.OK:
                raise Unavailable(f"supervisord answered {response.status}", hint="See supervisord.log.")
            return xmlrpc.client.loads(body.decode())[0][0]
        except xmlrpc.client.Fault as fault:
            return _fault(method, arguments, fault, accept)
        except (OSError, http.client.HTTPException) as problem:
            hint = "`conveyor up` starts it."
            raise Unavailable(f"supervisord does not answer on {self.socket}: {problem!r}", hint=hint) from problem
        finally:
            connection.close()


def _fault(method: str, arguments: tuple[Any, ...], fault: xmlrpc.client.Fault, accept: tuple[int, ...]) -> None:
    if fault.faultCode in accept:
        return
    if fault.faultCode == _BAD_NAME:
        raise NotFound(f'no process is named "{arguments[0]}"', hint="`conveyor status` lists them.") from fault
    raise Unavailable(f"supervisord refused {method}: {fault.faultString}", hint="See supervisord.log.") from fault


def _parse(raw: dict[str, Any]) -> ProcessInfo:
    state, up = str(raw["statename"]), bool(raw["pid"])
    return ProcessInfo(
        state=state,
        pid=int(raw["pid"]) if up else None,
        started_at=datetime.fromtimestamp(raw["start"], UTC) if up and raw["start"] else None,
        exit=None if up or not raw["stop"] else int(raw["exitstatus"]),
    )
