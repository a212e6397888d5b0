"""Which processes ended by themselves: read from supervisord's own log, which also knows what nobody watched.

supervisord writes "stopped:" for what it was told to end, and "exited:" for what ended by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from conveyor.domain.death import Death

_EXITED = re.compile(r"^\S+ \S+ [A-Z]+ exited: (\S+) \((.*); (?:not )?expected\)$")
_MOST = 1 << 20  # bytes in one reading


@dataclass(frozen=True, slots=True)
class Deaths:
    log: Path

    def end(self) -> int:
        """The position after all that was written so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def since(self, position: int) -> tuple[list[Death], int]:
        """What ended after a position, and the next position. A log that was rotated is read to its end first."""
        found: list[Death] = []
        if self.end() < position:
            found, _ = _read(self.log.with_name(f"{self.log.name}.1"), position)
            position = 0
        newer, position = _read(self.log, position)
        return [*found, *newer], position


def _read(path: Path, position: int) -> tuple[list[Death], int]:
    """Whole lines only: one that is being written is read the next time."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            raw = file.read(_MOST)
    except FileNotFoundError:
        return [], position
    whole = raw[: raw.rfind(b"\n") + 1]
    lines = whole.decode(errors="replace").splitlines()
    found = [Death(match[1], match[2]) for line in lines if (match := _EXITED.match(line))]
    return found, position + len(whole)
