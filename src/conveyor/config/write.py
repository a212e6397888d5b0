"""Changing one table of a `conveyor.toml`: comments and everything else stay as they are (TOML Kit, decision 0034)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit


def with_table(text: str, path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """The text with that table saying exactly `values`; comments of keys that stay are kept."""
    document = tomlkit.parse(text)
    place: Any = document
    for name in path[:-1]:
        place = place[name]
    old = place.get(path[-1])
    if old is None:
        place[path[-1]] = tomlkit.item(dict(values))
        return tomlkit.dumps(document)
    for name in [name for name in old if name not in values]:
        del old[name]
    for name, value in values.items():
        if name not in old or _plain(old[name]) != value:
            old[name] = _inline(value)
    return tomlkit.dumps(document)


def _plain(value: Any) -> Any:
    return value.unwrap() if hasattr(value, "unwrap") else value


def _inline(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table
