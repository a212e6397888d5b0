"""Whether the database of tracked runs is whole, looked at from outside: also when nothing that serves it runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def damage(path: Path) -> str:
    """What SQLite finds wrong with the file first; empty where it finds nothing. It is opened to read only."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else found


def checkpoint(path: Path) -> None:
    """Writes SQLite's log back into the database, as far as no reader needs it."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
