"""User functions: found by `module:name`, called with what their arguments ask for."""

from __future__ import annotations

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.errors import InputRejected
from conveyor.sdk.inputs import deliver, form_of
from conveyor.sdk.run import Run


def find(path: str) -> Any:
    """The object that `shop.features:build` names."""
    module_name, colon, attribute = path.partition(":")
    if not colon or not attribute:
        raise InputRejected(f"{path!r} does not name a function", hint="Write it as package.module:function.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            hint = f"{module_name.replace('.', '/')}.py must lie in the project's tree and be committed."
        else:
            hint = f"Add {error.name} to the project's requirements."
        raise InputRejected(f"{path}: no module named {error.name}", hint=hint) from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"Did you mean {module_name}:{near[0]}?" if near else f"Define {attribute} in {module_name}."
        raise InputRejected(f"{path}: module {module_name} has no {attribute}", hint=hint)
    return getattr(module, attribute)


def call(
    path: str,
    frames: Mapping[str, pl.LazyFrame | Path],
    params: Mapping[str, Any],
    *,
    scratch: Path,
    run: Run | None = None,
    seed: int | None = None,
) -> Any:
    """Call it with its inputs by name, its params (one by one, or all as `params`), `seed` and `run` if it asks."""
    function = find(path)
    extra = {"params": dict(params), "run": run or Run(), "seed": seed}
    arguments = bind(path, function, frames, params, extra)
    for name, value in arguments.items():
        if isinstance(value, _Frame):
            arguments[name] = deliver(value.frame, value.form, name, scratch)
    return function(**arguments)


class _Frame(typing.NamedTuple):
    frame: pl.LazyFrame | Path
    form: str


def bind(
    path: str,
    function: Callable[..., Any],
    frames: Mapping[str, pl.LazyFrame | Path],
    params: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments by name, frames not yet converted; one that nothing matches, or a param left over, is an error."""
    hints = annotations_of(function)
    bound: dict[str, Any] = {}
    open_ended = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise InputRejected(f"{path} takes arguments by position", hint="Name them: inputs are given by name.")
        elif name in frames:
            bare = "Path" if isinstance(frames[name], Path) else None
            bound[name] = _Frame(frames[name], form_of(hints.get(name, bare)))
        elif name in params:
            bound[name] = params[name]
        elif name in extra:
            bound[name] = extra[name]
        elif parameter.default is inspect.Parameter.empty:
            raise unmatched(path, name, frames, params)
    unused = [name for name in params if name not in bound]
    if open_ended:
        bound.update({name: params[name] for name in unused})
    elif unused and "params" not in bound:
        raise InputRejected(
            f"{path} takes no argument for the param {unused[0]}",
            hint=f"Add an argument {unused[0]} (or params, for all of them), or take it out of conveyor.toml.",
        )
    return bound


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations; the raw ones (perhaps text) where they name what cannot be imported at run time."""
    target = function if inspect.isroutine(function) else getattr(type(function), "__call__", function)  # noqa: B004
    try:
        return typing.get_type_hints(target)
    except Exception:  # any user expression may stand in an annotation
        return dict(getattr(target, "__annotations__", {}))


def unmatched(path: str, name: str, frames: Mapping[str, Any], params: Mapping[str, Any]) -> InputRejected:
    there = f"the inputs are {', '.join(frames) or '(none)'}"
    there += f", the params {', '.join(params)}" if params else ""
    near = difflib.get_close_matches(name, [*frames, *params], n=1)
    hint = f"Did you mean {near[0]}?" if near else "Rename the argument, give it a default, or add it in conveyor.toml."
    return InputRejected(f"{path} has an argument {name}, but {there}", hint=hint)
