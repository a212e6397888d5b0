"""Unix sockets: a path that the kernel accepts however deep the project lies, and HTTP over it."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import stat
import tempfile
from pathlib import Path

from conveyor.effects.files import write_atomic
from conveyor.errors import Refused

# `sun_path` has 108 bytes with its end marker on Linux, 104 elsewhere; programs append a suffix while binding.
LONGEST = 88


def socket_path(directory: Path, name: str) -> Path:
    """Where the socket `name` of `directory` lives; stable, also for a process with another TMPDIR.

    A path too long for the kernel moves to a private folder under the temporary directory, named by a hash of the
    real one; `<name>.path` beside it remembers where.
    """
    wanted = directory.resolve() / name
    if len(os.fsencode(wanted)) <= LONGEST:
        return wanted
    pointer = wanted.with_name(f"{name}.path")
    if pointer.is_file():
        remembered = Path(pointer.read_text())
        _private(remembered.parent)
        return remembered
    digest = hashlib.blake2b(os.fsencode(directory.resolve()), digest_size=8).hexdigest()
    chosen = Path(tempfile.gettempdir()) / f"conveyor-{digest}" / name
    if len(os.fsencode(chosen)) > LONGEST:
        chosen = Path("/tmp") / f"conveyor-{digest}" / name
    _private(chosen.parent)
    write_atomic(pointer, os.fsencode(chosen))
    return chosen


def _private(directory: Path) -> None:
    """Others can write to the temporary directory: what is not ours alone is not used."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(f"{directory} is not a private folder of this user", hint="Remove it and start again.")


class UnixConnection(http.client.HTTPConnection):
    """`http.client` over a unix socket."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
