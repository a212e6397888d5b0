"""Copies of SQLite databases, taken while they are in use: `python -m conveyor.effects.database SOURCE TARGET`."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def copy(source: Path, target: Path) -> None:
    """A consistent copy by SQLite's backup API; a source that is not there yet gives an empty database."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.new")
    temporary.unlink(missing_ok=True)
    with closing(sqlite3.connect(source, timeout=30)) as from_, closing(sqlite3.connect(temporary)) as to:
        from_.backup(to)
    temporary.replace(target)


if __name__ == "__main__":
    copy(Path(sys.argv[1]), Path(sys.argv[2]))
