"""A database by URL, SQLite or PostgreSQL, with the few words that both understand."""

from __future__ import annotations

import os
import sqlite3
from typing import Any


def connect() -> Any:
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite:///"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10, isolation_level=None)
    import psycopg

    return psycopg.connect(url, autocommit=True)
