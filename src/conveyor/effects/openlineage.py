"""Where OpenLineage events go: POSTed to an address, or appended to a file, one a line."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from conveyor.domain import wire
from conveyor.errors import InputRejected, Unavailable

_TIMEOUT = 10.0
_NOT_TAKEN = (400, 413, 422)  # this event will never be taken; any other answer may change


def deliver(url: str, event: dict[str, Any]) -> None:
    """Returns once it was taken. Raises InputRejected when the receiver will never take this one, else Unavailable.

    A password in the URL is sent as a bearer token: http://:KEY@host/api/v1/lineage.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        _append(Path(urllib.parse.unquote(parts.path)), wire.to_json(event) + b"\n")
        return
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    headers = {"content-type": "application/json"}
    if parts.password:
        headers["authorization"] = f"Bearer {urllib.parse.unquote(parts.password)}"
    address = parts._replace(netloc=host).geturl()
    request = urllib.request.Request(address, wire.to_json(event), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode(errors="replace").strip()
        kind = InputRejected if error.code in _NOT_TAKEN else Unavailable
        raise kind(
            f"{host} answered {error.code}: {said}", hint="Look at the log of what receives the events."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{host} does not answer: {error}", hint="Is CONVEYOR_OPENLINEAGE_URL right?") from error


def _append(path: Path, line: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="Look at the folder and its disk."
        ) from error
