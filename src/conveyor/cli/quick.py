"""The program's entry: commands that are typed all day, without the cost of the whole command line.

`conveyor status` in the time of a bare interpreter: the control plane renders it, this only asks and prints, with the
standard library only. The other commands may take a third of a second.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_WORDS = {("status",): "/v1/status.txt", ("status", "--json"): "/v1/status"}


def status(words: Sequence[str]) -> bool:
    """True when the command was a plain status and was answered; everything else is the command line's to do, or to
    explain."""
    path = _WORDS.get(tuple(words))
    if path is None or "CONVEYOR_URL" in os.environ:
        return False
    import http.client  # a fifth of the time of a `data status`, which needs it not

    home = find_home()
    try:
        settings = json.loads((home / "settings.json").read_bytes())
        token = (home / "token").read_text().strip()
        connection = http.client.HTTPConnection(settings["host"], settings["api_port"], timeout=60)
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read()
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False
    if response.status != http.client.OK:
        return False
    sys.stdout.write(body.decode().rstrip("\n") + "\n")
    return True


def find_home() -> Path:
    """As `config.settings.find_home`, without its imports."""
    start = Path.cwd()
    if named := os.environ.get("CONVEYOR_HOME"):
        return (start / Path(named).expanduser()).resolve()
    places = (folder / ".conveyor" for folder in (start, *start.parents))
    return next((place for place in places if place.is_dir()), start / ".conveyor")


def data(words: Sequence[str]) -> bool:
    """True when it was one of the `data` commands that are typed all day, in its plain form, and was carried out.

    Building the command line costs more than adding a thousand files does. Errors and exit codes are the same here.
    """
    plain = _plain(words[2:])
    if plain is None or list(words[:1]) != ["data"] or words[1] not in ("status", "add", "checkout", "push"):
        return False
    names, to = plain
    if to and words[1] not in ("checkout", "push"):
        return False
    if (words[1] != "status" and not names) or (words[1] in ("checkout", "push") and len(names) > 1):
        return False
    from conveyor.cli.files.plain import run

    return run(words[1], names, to)


def _plain(words: Sequence[str]) -> tuple[list[str], str] | None:
    """Names, and what `--to` says; None where there are other options."""
    names, to = [], ""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--to" and rest and not to:
            to = rest.pop(0)
        elif word.startswith("-"):
            return None
        else:
            names.append(word)
    return names, to


def run(words: Sequence[str]) -> bool:
    """True when it was a `run` in a project's folder of which nothing was touched since everything was up to date."""
    if list(words[:1]) != ["run"] or any(word.startswith("-") for word in words[1:]):
        return False
    from conveyor.engine.local.witness import still

    said = still(words[1:], os.environ)
    if said:
        sys.stdout.write(said + "\n")
    return bool(said)


def main() -> None:
    """The program's entry: what is typed all day by the short way, everything else by the command line."""
    words = sys.argv[1:]
    if not status(words) and not run(words) and not data(words):
        from conveyor.cli.main import main as whole

        whole()
