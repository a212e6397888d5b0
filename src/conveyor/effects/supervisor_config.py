"""supervisord's configuration and the launch scripts. Pure text.

A program's argv and environment are not put into supervisord's own format, whose quoting, `%` expansion and inline
comments cannot carry every string: they go to a small shell script, where `shlex.quote` is exact. The script's name
holds the digest of its content, so supervisord itself sees that a program changed, whatever crashed in between.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conveyor.errors import InputRejected

LOG_BYTES, LOG_FILES = "10MB", 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Program:
    """A process that is kept running. `priority`: lower starts first and stops last.

    TERM goes to the whole process group, KILL after `stop_seconds`.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    stop_seconds: int = 10
    autorestart: bool = True
    priority: int = 500
    keyed: bool = False  # may read the key of the secrets, where that is in supervisord's environment
    umask: int = field(default=0o022)


def check(program: Program) -> None:
    if not _NAME.fullmatch(program.name):
        raise InputRejected(f'"{program.name}" cannot name a process', hint="Use letters, digits and . _ @ -")
    if not program.argv:
        raise InputRejected(f"process {program.name} has no command", hint="Give it one.")
    if wrong := [key for key in program.env if not _VARIABLE.fullmatch(key)]:
        raise InputRejected(
            f"process {program.name}: {', '.join(map(repr, sorted(wrong)))} cannot name an environment variable",
            hint="Use letters, digits and _",
        )
    if any("\0" in text for text in (*program.argv, *program.env.values())):
        raise InputRejected(f"process {program.name}: a NUL byte in its command or environment", hint="Remove it.")


def launch_script(program: Program) -> str:
    """`exec` at the end: supervisord's child *is* the program. The pid file finds it after supervisord was killed."""
    lines = [
        "#!/bin/sh",
        f'printf %s "$$" > pids/{shlex.quote(program.name)}',
        "ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -Hn) 2>/dev/null",
        f"umask {program.umask:03o}",
        *(() if program.keyed else ("unset CONVEYOR_SECRET_KEY",)),
        *(f"export {key}={shlex.quote(value)}" for key, value in sorted(program.env.items())),
        f"cd {shlex.quote(str(program.cwd))} || exit 72",
        "exec " + " ".join(shlex.quote(part) for part in program.argv),
    ]
    return "\n".join(lines) + "\n"


def launch_name(program: Program, script: str) -> str:
    return f"{program.name}-{hashlib.blake2b(script.encode(), digest_size=8).hexdigest()}.sh"


def program_section(program: Program, launch: str, run_dir: Path) -> str:
    """Paths are relative to the run folder, which is supervisord's cwd: its parents may have any name."""
    log = _plain(os.path.relpath(program.log.absolute(), run_dir))
    return _section(
        f"program:{program.name}",
        command=f"/bin/sh launch/{launch}",
        stdout_logfile=log,
        stdout_logfile_maxbytes=LOG_BYTES,
        stdout_logfile_backups=LOG_FILES,
        redirect_stderr="true",
        autostart="true",
        autorestart="true" if program.autorestart else "false",
        startsecs=1,
        # The wait between tries grows by a second each: a broken program is retried for days, ever more seldom.
        startretries=1_000_000 if program.autorestart else 0,
        stopwaitsecs=program.stop_seconds,
        stopasgroup="true",
        killasgroup="true",
        priority=program.priority,
    )


def supervisord_section(socket: Path, *, root: bool) -> str:
    user = {"user": "root"} if root else {}
    return "".join(
        [
            _section("unix_http_server", file=_plain(str(socket)), chmod="0700"),
            _section(
                "supervisord",
                logfile="supervisord.log",
                logfile_maxbytes=LOG_BYTES,
                logfile_backups=LOG_FILES,
                pidfile="supervisord.pid",
                childlogdir=".",
                nocleanup="true",
                identifier="conveyor",
                **user,
            ),
            _section(
                "rpcinterface:supervisor",
                **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
            _section("include", files="programs/*.conf"),
        ]
    )


def _section(name: str, **options: object) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items()) + "\n"


def _plain(path: str) -> str:
    """A path as supervisord reads it: `%` doubled; what it cannot express is refused."""
    if re.search(r"[\n\r]|\s[;#]", path):
        raise InputRejected(f"supervisord cannot use the path {path!r}", hint="Rename the folder.")
    return path.replace("%", "%%")
