"""A `dvc.yaml` as steps. It is read as it is: cmd deps params outs metrics plots foreach matrix frozen wdir vars."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from conveyor.config.dvc.params import Read, asked_for, values_in
from conveyor.config.dvc.template import Scope, merge, resolve, spelled
from conveyor.domain.project import StepConfig
from conveyor.errors import InputRejected

_STAGE = frozenset(
    ("cmd", "deps", "params", "outs", "metrics", "plots", "frozen", "wdir", "vars", "always_changed", "desc", "meta")
)
_TOP = frozenset(("stages", "vars", "params", "metrics", "plots", "artifacts", "datasets"))


def steps_of(read: Read, path: str = "dvc.yaml") -> dict[str, StepConfig]:
    """The stages as steps, in the order of the file. `read` gives files by their paths from the project's folder."""
    raw = values_in(read, path) or {}
    unknown = sorted(set(raw) - _TOP)
    if unknown:
        raise InputRejected(f"{path}: unknown section {unknown[0]!r}", hint=f"There are: {', '.join(sorted(_TOP))}.")
    folder = posixpath.dirname(path)
    scope: Scope = {}
    variables(scope, raw.get("vars") or [], read, folder, f"{path}: vars", default=True)
    found: dict[str, StepConfig] = {}
    for name, stage in (raw.get("stages") or {}).items():
        where = f"{path}: stages.{name}"
        if not isinstance(stage, Mapping):
            raise InputRejected(f"{where} is no table", hint="Give it a `cmd`.")
        for full, body, extra in _spread(name, stage, scope, where):
            found[full] = _step(full, body, {**scope, **extra}, read, folder, where)
    return found


def variables(scope: Scope, given: list[Any], read: Read, folder: str, where: str, *, default: bool = False) -> None:
    """Tables, and files of them: "params.yaml", "other.yaml:a,b". params.yaml is read without being named."""
    named = {each.partition(":")[0] for each in given if isinstance(each, str)}
    if default and "params.yaml" not in named:
        merge(scope, values_in(read, posixpath.join(folder, "params.yaml")) or {}, where)
    for each in given:
        if isinstance(each, Mapping):
            merge(scope, resolve(each, scope, where), where)
            continue
        file, _, names = resolve(str(each), scope, where).partition(":")
        values = values_in(read, posixpath.normpath(posixpath.join(folder, file)))
        if values is None:
            raise InputRejected(f"{where}: there is no {file}", hint="Make it, or take it out of `vars`.")
        picked = {name: values[name] for name in names.split(",")} if names else values
        merge(scope, picked, where)


def _spread(name: str, stage: Mapping[str, Any], scope: Scope, where: str) -> Iterator[tuple[str, Any, Scope]]:
    """(name, stage, what `item` and `key` are): one, or one for each of `foreach` or `matrix`."""
    if "foreach" in stage:
        items = resolve(stage["foreach"], scope, where)
        body = stage.get("do")
        if isinstance(items, Mapping):
            for key, value in items.items():
                yield f"{name}@{spelled(key)}", body, {"item": value, "key": spelled(key)}
        elif isinstance(items, list):
            composed = any(isinstance(value, Mapping | list) for value in items)
            for place, value in enumerate(items):
                yield f"{name}@{place if composed else spelled(value)}", body, {"item": value}
        else:
            raise InputRejected(f"{where}: foreach needs a list or a table", hint="Give it one.")
    elif "matrix" in stage:
        axes = resolve(stage["matrix"], scope, where)
        body = {key: value for key, value in stage.items() if key != "matrix"}
        for chosen in itertools.product(*(list(enumerate(values)) for values in axes.values())):
            pairs = list(zip(axes, chosen, strict=True))
            words = [f"{a}{n}" if isinstance(v, Mapping | list) else spelled(v) for a, (n, v) in pairs]
            key = "-".join(words)
            yield f"{name}@{key}", body, {"item": {axis: value for axis, (_, value) in pairs}, "key": key}
    else:
        yield name, stage, {}


def _step(name: str, stage: Any, scope: Scope, read: Read, folder: str, where: str) -> StepConfig:
    if not isinstance(stage, Mapping) or "cmd" not in stage:
        raise InputRejected(f"{where} has no `cmd`", hint="Give it a command.")
    unknown = sorted(set(stage) - _STAGE)
    if unknown:
        raise InputRejected(f"{where}: unknown key {unknown[0]!r}", hint=f"There are: {', '.join(sorted(_STAGE))}.")
    inner = posixpath.normpath(posixpath.join(folder, str(resolve(stage.get("wdir", "."), scope, where))))
    scope = dict(scope)
    if stage.get("vars"):
        variables(scope, stage["vars"], read, inner, f"{where}.vars")

    def place(path: str) -> str:
        return path if path.startswith("/") else posixpath.normpath(posixpath.join(inner, path))

    def field(key: str) -> list[Any]:
        value = resolve(stage.get(key) or [], scope, f"{where}.{key}")
        return [value] if isinstance(value, str) else list(value)

    made = {key: [_out(place, each) for each in field(key)] for key in ("outs", "metrics", "plots")}
    everything = [out for outs in made.values() for out in outs]
    commands = resolve(stage["cmd"], scope, f"{where}.cmd", command=True)
    deps = tuple(dict.fromkeys(place(each) for each in field("deps")))
    params = asked_for(read, field("params"), place, where)
    return StepConfig(
        name=name,
        command=commands if isinstance(commands, str) else " && ".join(f"(\n{each}\n)" for each in commands),
        deps=deps,
        outs=tuple(path for path, _ in (*made["outs"], *made["plots"])),
        metrics=tuple(path for path, _ in made["metrics"]),
        persist=tuple(path for path, options in everything if options.get("persist")),
        uncached=tuple(path for path, options in everything if options.get("cache") is False),
        params=params,
        workdir=inner,
        frozen=bool(stage.get("frozen")),
        always=bool(stage.get("always_changed")) or not (deps or params or everything),
    )


def _out(place: Any, out: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(out, Mapping):
        path, options = next(iter(out.items()))
        return place(path), dict(options or {})
    return place(out), {}
