"""How the parts of a `conveyor.toml` refer to each other: dangling references, cycles, what feeds a model. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conveyor.config.problem import Place, Problem, nearest
from conveyor.domain.plan import edges_of, order, step_of
from conveyor.domain.project import ModelConfig, ProjectConfig
from conveyor.domain.reference import parse
from conveyor.domain.source import DATA, STEP, source
from conveyor.domain.step import OF_TRAINING
from conveyor.errors import InputRejected


def inputs(config: ProjectConfig) -> set[str]:
    """What steps and models may read."""
    return {f"data.{name}" for name in config.data} | {f"step.{name}" for name in config.steps}


def check_inputs(at: Place, found: Iterable[str], config: ProjectConfig) -> Iterator[Problem]:
    """Each names something to read; a dataset by a version of it too, and none twice in one list."""
    seen: set[str] = set()
    for reference in found:
        one = source(reference)
        pinned = one.kind == DATA and "@" in reference
        place = reference.partition("@")[0] if pinned else reference
        yield from references(at, (place,), inputs(config))
        if pinned and one.name in config.data:
            yield from _pin(at, f"{one.name}@{one.which}")
        if place in seen:
            yield Problem(at, f'"{place}" is there twice; a step of its own can read the other version')
        seen.add(place)


def _pin(at: Place, reference: str) -> Iterator[Problem]:
    try:
        parse(reference)
    except InputRejected as error:
        yield Problem(at, error.message)


def references(at: Place, found: Iterable[str], known: set[str]) -> Iterator[Problem]:
    for reference in found:
        if reference in known or (reference.startswith("step.") and reference.partition(":")[0] in known):
            continue
        meant = [name for name in sorted(known) if name.endswith(f".{reference}")]
        hint = f'; did you mean "{meant[0]}"?' if meant else nearest(reference, known, cutoff=0.8)
        yield Problem(at, f'there is no "{reference}"{hint}')


def cycles(config: ProjectConfig) -> Iterator[Problem]:
    """Each cycle is named once, from the step of it that comes first in the file."""
    named: set[str] = set()
    for start in config.steps:
        chain = _way_back(start, config)
        if chain and named.isdisjoint(chain):
            named.update(chain)
            words = " -> ".join(f"step.{name}" for name in (*chain, start))
            yield Problem(("step", start, "inputs"), f"a step cannot wait for itself: {words}")


def files(config: ProjectConfig) -> Iterator[Problem]:
    """What steps wait for by the files that they read and make, and by `needs`."""
    for step in config.steps.values():
        yield from references(("step", step.name, "needs"), [n for n in step.needs if n not in config.steps], set())
    if any(name not in config.steps for step in config.steps.values() for name in step.needs):
        return
    if any(step_of(ref) not in config.steps for step in config.steps.values() for ref in step.inputs if step_of(ref)):
        return
    try:
        order(edges_of(config.steps))
    except InputRejected as error:
        if not any(cycles(config)):
            yield Problem(("step",), error.message)


def _way_back(start: str, config: ProjectConfig) -> tuple[str, ...]:
    """The steps from `start` along inputs until `start` is met again; empty when it never is."""
    waiting: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop()
        for reference in config.steps[chain[-1]].inputs:
            name = step_of(reference)
            if name == start:
                return chain
            if name in config.steps and name not in seen:
                seen.add(name)
                waiting.append((*chain, name))
    return ()


def upstream(model: ModelConfig, config: ProjectConfig) -> Iterator[Problem]:
    """A model learns a label, and its windows are cut by event time: some dataset behind it must name both."""
    sources, waiting, seen = [], list(model.inputs), set[str]()
    while waiting:
        reference = waiting.pop()
        if reference in seen:
            continue
        seen.add(reference)
        one = source(reference)
        if one.kind == DATA and one.name in config.data:
            sources.append(config.data[one.name])
        elif one.kind == STEP and one.name in config.steps:
            waiting.extend(config.steps[one.name].inputs)
    at = ("model", model.name, "inputs")
    if not any(source.label for source in sources):
        yield Problem(at, "none of the datasets behind them has a `label` to learn")
    if (model.window or model.holdout) and not any(source.time for source in sources):
        yield Problem(
            at, "`window` and `holdout` are cut by event time, but none of the datasets behind them names its `time`"
        )


def own_names(model: ModelConfig, config: ProjectConfig) -> Iterator[Problem]:
    """A training adds steps of its own to those that it needs; a name says which."""
    try:
        before = order(edges_of(config.steps), [name for ref in model.inputs if (name := step_of(ref))])
    except InputRejected:
        return  # told where the steps are looked at
    for name in before:
        if name in OF_TRAINING:
            yield Problem(("step", name), f"model.{model.name} needs it, and a training has a step {name} of its own")


def routes(config: ProjectConfig) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for service in config.services.values():
        route = service.route.rstrip("/") or "/"
        at = ("service", service.name, "route")
        if config.models and (route == "/v2" or route.startswith("/v2/")):
            yield Problem(at, 'model endpoints answer under "/v2"; choose another path')
        if route in owners:
            yield Problem(at, f'"{route}" is already the route of service.{owners[route]}')
        owners.setdefault(route, service.name)
