"""Tells of long work on the terminal: one line that is written over. Nothing where nobody watches."""

from __future__ import annotations

import sys
import time

from conveyor.cli.text import size

_EVERY = 0.2  # seconds
_PATIENCE = 0.5  # seconds of silence: what is quicker needs no telling


class Progress:
    """Lines on stderr; `done` clears the last one."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._tells = sys.stderr.isatty() and not quiet
        self._next = time.monotonic() + _PATIENCE
        self._width = 0

    def seen(self, files: int) -> None:
        self._tell(f"{files:,} files seen")

    def read(self, files: int, count: int) -> None:
        self._tell(f"{files:,} files, {size(count)}")

    def of(self, done: int, total: int) -> None:
        share = f" ({done / total:.0%})" if total else ""
        self._tell(f"{size(done)} of {size(total)}{share}")

    def waits(self, who: str) -> None:
        """Told at once, and also where nobody watches: it may last."""
        self.done()
        sys.stderr.write(f"waiting for {who}\n")

    def done(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if not self._tells or now < self._next:
            return
        self._next = now + _EVERY
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = max(self._width, len(text))
