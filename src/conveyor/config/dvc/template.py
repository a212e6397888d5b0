"""The templates of a dvc.yaml: `${name}`, `${a.b[0]}` from `vars`, params.yaml, `item` and `key`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conveyor.errors import InputRejected

_MARK = re.compile(r"(?<!\\)\$\{(?P<inner>.*?)\}")

Scope = dict[str, Any]


def resolve(value: Any, scope: Mapping[str, Any], where: str, *, command: bool = False) -> Any:
    """The value with its templates filled in; one that is nothing but a template takes the value's own type."""
    if isinstance(value, Mapping):
        return {
            resolve(key, scope, where): resolve(each, scope, f"{where}.{key}", command=command)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [resolve(each, scope, where, command=command) for each in value]
    if not isinstance(value, str):
        return value
    whole = _MARK.fullmatch(value)
    if whole and not command:
        return look_up(whole["inner"], scope, where)
    filled = _MARK.sub(lambda found: _text(look_up(found["inner"], scope, where), where, command), value)
    return filled.replace(r"\${", "${")


def look_up(path: str, scope: Mapping[str, Any], where: str) -> Any:
    found: Any = scope
    for part in path.strip().replace("[", ".").replace("]", "").split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, Sequence) and not isinstance(found, str) and part.lstrip("-").isdigit():
            if not -len(found) <= int(part) < len(found):
                raise _missing(path, where)
            found = found[int(part)]
        else:
            raise _missing(path, where)
    return found


def merge(scope: Scope, more: Mapping[str, Any], where: str) -> None:
    """Adds to a scope, in place. Tables are merged; a name may not be given two different values."""
    for name, value in more.items():
        if name not in scope:
            scope[name] = _copied(value)
        elif isinstance(scope[name], dict) and isinstance(value, Mapping):
            merge(scope[name], value, f"{where}: {name}")
        elif scope[name] != value:
            raise InputRejected(f"{where}: {name} is given twice, with different values", hint="Take one of them out.")


def spelled(value: Any) -> str:
    """As DVC writes a value in names and commands."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: Any, where: str, command: bool) -> str:
    if isinstance(value, Mapping) and command:
        return " ".join(_options(value))
    if isinstance(value, Mapping | list):
        raise InputRejected(f"{where}: a table or list cannot stand inside text", hint="Name one of its values.")
    return spelled(value)


def _options(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`{lr: 0.1, verbose: true}` as `--lr 0.1 --verbose`."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _options(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            if value:
                yield f"--{prefix}{name}"
        elif isinstance(value, str):
            yield f"--{prefix}{name} {shlex.quote(value)}"
        elif isinstance(value, list):
            items = [shlex.quote(each) if isinstance(each, str) else str(each) for each in value]
            yield f"--{prefix}{name} {' '.join(items)}"
        else:
            yield f"--{prefix}{name} {value}"


def _copied(value: Any) -> Any:
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, Mapping) else value


def _missing(path: str, where: str) -> InputRejected:
    return InputRejected(f"{where}: there is no value for ${{{path}}}", hint="Give it in `vars` or in params.yaml.")
