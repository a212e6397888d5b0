"""Runs a command with secrets: `python -I -m conveyor.effects.sealed FILE [--log LOG] [--held FD] -- COMMAND ...`

This process becomes the command, so its pid, group, signals, limits and exit code are the command's own. The values are
in its environment and nowhere on disk. What it writes passes a second process, the masker, which has a session of its
own, shows every value as ***, and ends when the last writer of the command has ended.

    FILE   {"home": where the key is, "secrets": {NAME: [what it is bound to, sealed value]}}, readable by its owner
    LOG    where the masker goes on writing when the reader of the command's output left before the end
    FD     stays open until the masker has written everything: whoever holds the other end can wait for that
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from conveyor.domain.masking import Masker

_CHUNK = 65536
_NOT_STARTED = 78  # EX_CONFIG


def wrapped(file: str, command: tuple[str, ...], log: str) -> tuple[str, ...]:
    """The argv that runs `command` with the secrets of `file`."""
    return (sys.executable, "-I", "-m", "conveyor.effects.sealed", file, "--log", log, "--", *command)


def main(words: list[str]) -> None:
    split = words.index("--")
    file, command = words[0], words[split + 1 :]
    options = dict(zip(words[1:split:2], words[2:split:2], strict=True))
    held = int(options.get("--held", -1))
    streams = _streams()
    values, give = os.pipe()
    if os.fork() == 0:
        _masker([(read, target) for read, target, _ in streams], [give, *(w for *_, w in streams)], values, options)
    os.wait()  # for the process between: the masker itself has no parent that could take its end for the command's
    for end in (values, held, *(read for read, *_ in streams)):
        if end >= 0:
            os.close(end)
    try:
        secrets = _unseal(file)
    except Exception as error:
        hint = getattr(error, "hint", "")
        os.write(2, f"cannot start {command[0]}: {error}. {hint}\n".encode())
        os._exit(_NOT_STARTED)
    with os.fdopen(give, "wb") as pipe:
        pipe.write(json.dumps(list(secrets.values())).encode())
    _become(command, secrets, streams)


def _streams() -> list[tuple[int, int, int]]:
    """(read end, where masked output goes, write end) of stdout and stderr: one pipe when both go to one place."""
    out, err = os.fstat(1), os.fstat(2)
    if (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino):
        read, write = os.pipe()
        return [(read, 1, write)]
    pairs = (os.pipe(), os.pipe())
    return [(read, place + 1, write) for place, (read, write) in enumerate(pairs)]


def _unseal(file: str) -> dict[str, str]:
    from pathlib import Path

    from conveyor.effects.vault import open_vault  # after the fork: the masker stays small

    with Path(file).open("rb") as raw:
        found = json.load(raw)
    vault = open_vault(Path(found["home"]), os.environ)
    return {name: vault.unseal(sealed, bound_to) for name, (bound_to, sealed) in found["secrets"].items()}


def _become(command: list[str], secrets: dict[str, str], streams: list[tuple[int, int, int]]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "CONVEYOR_SECRET_KEY"} | secrets
    env["CONVEYOR_SECRETS"] = " ".join(secrets)
    os.dup2(streams[0][2], 1)
    os.dup2(streams[-1][2], 2)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; the command shall begin as it would without
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, env)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode())
        os._exit(127)


def _masker(pairs: list[tuple[int, int]], foreign: list[int], values: int, options: dict[str, str]) -> None:
    """Never returns. `foreign` are the ends of the other process: while one is open here, no end would be seen."""
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        for end in foreign:
            os.close(end)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir("/")
        with os.fdopen(values, "rb") as pipe:
            said = pipe.read()
        if said:
            _pump(dict(pairs), json.loads(said), options.get("--log", ""))
    finally:
        os._exit(0)


def _pump(targets: dict[int, int], values: list[str], log: str) -> None:
    maskers = {source: Masker(values) for source in targets}
    poll = select.poll()
    for source in targets:
        poll.register(source, select.POLLIN)
    while maskers:
        for source, _ in poll.poll():
            chunk = os.read(source, _CHUNK)
            _write(targets[source], maskers[source].feed(chunk, last=not chunk), log)
            if not chunk:
                poll.unregister(source)
                del maskers[source]


def _write(target: int, shown: bytes, log: str) -> None:
    """supervisord stops reading when the command ends; its last words, which say why, may still be on their way."""
    while shown:
        try:
            shown = shown[os.write(target, shown) :]
        except OSError:
            if not log:
                return  # nobody reads it; the command must not be blocked by that
            os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), target)
            log = ""


if __name__ == "__main__":
    main(sys.argv[1:])
