"""The charts' JavaScript: Vega, Vega-Lite and Vega-Embed in one file, written once by a process of its own.

The library that carries it embeds a JavaScript engine (over 100 MB of memory), so the control plane never imports it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

from conveyor.effects.environment import clean_environment
from conveyor.effects.files import write_atomic
from conveyor.errors import Unavailable

_PROGRAM = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
_SECONDS = 60


class Bundle:
    """Kept in `folder` under a name with the version, so that a browser may keep it for ever."""

    def __init__(self, folder: Path) -> None:
        self.name = f"vega-{version('vl-convert-python')}.js"
        self._path = folder / self.name
        self._lock = threading.Lock()

    def path(self) -> Path:
        with self._lock:
            if not self._path.is_file():
                write_atomic(self._path, _make())
        return self._path


def _make() -> bytes:
    try:
        made = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM],
            capture_output=True,
            timeout=_SECONDS,
            env=clean_environment(),
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("the charts' JavaScript could not be made", hint="Is vl-convert-python installed?") from error
    return made.stdout
