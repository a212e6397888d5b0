"""Files of parameters and variables: YAML, JSON, TOML, and the literals of a Python module."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from conveyor.config.dvc.template import look_up
from conveyor.errors import InputRejected, NotFound

Read = Callable[[str], bytes | None]
"""The content of a file by its path from the project's folder; None where there is none."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def values_in(read: Read, path: str) -> dict[str, Any] | None:
    """What a file says; None where there is none."""
    raw = read(path)
    if raw is None:
        return None
    try:
        found = _parse(path, raw)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        raise InputRejected(f"{path} cannot be read: {error}", hint="Mend it.") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputRejected(f"{path} holds no table of names and values", hint="Mend it.")
    return found


def asked_for(read: Read, wanted: list[Any], folder: Callable[[str], str], where: str) -> dict[str, Any]:
    """`params:` of a stage: names in params.yaml, and `{file: [names]}`; without names, all that the file says."""
    found: dict[str, Any] = {}
    for each in wanted:
        files: Mapping[str, Any] = each if isinstance(each, Mapping) else {"params.yaml": [each]}
        for file, names in files.items():
            path = folder(file)
            values = values_in(read, path)
            if values is None:
                raise NotFound(f"{where}: there is no {path}", hint="Make it, or take it out of `params`.")
            prefix = "" if file == "params.yaml" else f"{file}:"
            for name in [names] if isinstance(names, str) else names or values:
                found[f"{prefix}{name}"] = look_up(str(name), values, f"{where}: params in {path}")
    return found


def _parse(path: str, raw: bytes) -> Any:
    match path.rpartition(".")[2].lower():
        case "json":
            return json.loads(raw)
        case "toml":
            return tomllib.loads(raw.decode())
        case "py":
            return _literals(ast.parse(raw).body)
    return yaml.load(raw, Loader=_Loader)  # a safe loader


def _literals(body: list[ast.stmt]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = _literals(node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue  # computed: no value that could be told without running it
            found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found
