"""psycopg, where it is installed: it comes with the extra `postgres`, and most installations need no PostgreSQL."""

from __future__ import annotations

import os
from typing import Any

from conveyor.errors import Unavailable


def driver() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise Unavailable(
            "PostgreSQL databases need the package psycopg, which is not installed",
            hint="Install it: pip install 'conveyor[postgres]'.",
        ) from error
    return psycopg


def environment(parameters: dict[str, Any]) -> dict[str, str]:
    """Where libpq's programs connect to, told by environment: arguments can be seen by everyone on the host."""
    names = {_text(each.keyword): _text(each.envvar) for each in driver().pq.Conninfo.get_defaults() if each.envvar}
    told = {names[key]: str(value) for key, value in parameters.items() if key in names and value is not None}
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | told


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
