"""What types cannot say about a sweep. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.config.demands import at_least, choice
from conveyor.config.graph import references
from conveyor.config.problem import Place, Problem, nearest
from conveyor.config.read import found
from conveyor.domain.project import DIRECTIONS, PRUNERS, SAMPLERS, ProjectConfig, SweepConfig

_KEYS = ("choice", "min", "max", "log", "step")


def check_sweep(sweep: SweepConfig, config: ProjectConfig) -> Iterator[Problem]:
    at = ("sweep", sweep.name)
    yield from references((*at, "model"), [sweep.model] if sweep.model not in config.models else [], set())
    yield from choice((*at, "sampler"), "sampler", sweep.sampler, SAMPLERS)
    yield from choice((*at, "pruner"), "pruner", sweep.pruner, PRUNERS)
    yield from choice((*at, "direction"), "direction", sweep.direction, DIRECTIONS)
    yield from at_least((*at, "trials"), sweep.trials, 1)
    yield from at_least((*at, "at_once"), sweep.at_once, 1)
    yield from at_least((*at, "seed"), sweep.seed, 0)
    if not sweep.space:
        yield Problem((*at, "space"), "names no param to vary")
    for name, axis in sweep.space.items():
        yield from _axis((*at, "space", name), axis)
        if sweep.sampler == "grid" and isinstance(axis, dict) and "choice" not in axis:
            yield Problem((*at, "sampler"), f'"grid" needs a `choice` for each param; {name} has none')


def _axis(at: Place, axis: object) -> Iterator[Problem]:
    if not isinstance(axis, dict):
        yield Problem(at, f"expected {{ min, max }} or {{ choice }}, found {found(axis)}")
        return
    for key in axis:
        if key not in _KEYS:
            yield Problem((*at, key), "unknown key" + nearest(key, _KEYS))
    if "choice" in axis:
        values = axis["choice"]
        if not isinstance(values, list) or not values or any(isinstance(each, list | dict) for each in values):
            yield Problem((*at, "choice"), "expected a list of plain values")
        return
    for key in ("min", "max", "step"):
        value = axis.get(key)
        if value is None and key == "step":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield Problem((*at, key), f"expected a number, found {found(value) if key in axis else 'nothing'}")
            return
    if axis["min"] > axis["max"]:
        yield Problem((*at, "max"), "is below `min`")
    log = axis.get("log", False)
    if not isinstance(log, bool):
        yield Problem((*at, "log"), f"expected true or false, found {found(log)}")
    elif log and axis["min"] <= 0:
        yield Problem((*at, "min"), "must be above 0 on a logarithmic scale")
    elif log and "step" in axis:
        yield Problem((*at, "step"), "has no meaning on a logarithmic scale")
    elif axis.get("step", 1) <= 0:
        yield Problem((*at, "step"), "must be above 0")
    elif isinstance(axis["min"], int) and isinstance(axis["max"], int) and isinstance(axis.get("step"), float):
        yield Problem((*at, "step"), "must be a whole number, as the bounds are")
