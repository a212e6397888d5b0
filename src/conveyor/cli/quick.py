"""`conveyor status` in the time of a bare interpreter: the control plane renders it, this only asks and prints.

Standard library only, and nothing of Conveyor's: the other commands may take a third of a second, this one is typed
all day.
"""

from __future__ import annotations

import http.client
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
    """True when it was a plain `data status`, and what it found was printed; SystemExit(1) when something changed.

    Nothing that it needs is imported before it is known to be one.
    """
    names = [word for word in words[2:] if word != "--json"]
    if list(words[:2]) != ["data", "status"] or any(name.startswith("-") for name in names):
        return False
    from conveyor.cli.files.status import report
    from conveyor.errors import ConveyorError

    try:
        code = report(find_home(), names, as_json="--json" in words)
    except ConveyorError as error:
        sys.stderr.write(f"error: {error.message}\n  {error.hint}\n")
        code = 1
    if code:
        raise SystemExit(code)
    return True


def main() -> None:
    """The program's entry: status by the short way, everything else by the command line."""
    if not status(sys.argv[1:]) and not data(sys.argv[1:]):
        from conveyor.cli.main import main as whole

        whole()
