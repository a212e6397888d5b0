"""The plan of a graph of steps: in which order, what would run, and why. Pure; used in a working folder and by the
control plane alike.

All that a step's outputs depend on are its facts, "kind:name" -> content. Their digest is the step's key: equal keys
have equal outputs. Why a step runs is what differs between its facts now and those of its last success.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from conveyor.domain.project import StepConfig
from conveyor.errors import InputRejected

Facts = dict[str, str]
OUTPUT = "output.parquet"
EXECUTABLE = "+x"
"""The end of a digest of a file that can be executed, where steps make it in a working folder."""
OWN = frozenset(("step.json", "error.json"))
"""What a step's process says of itself; no output of the step."""


class Verdict(StrEnum):
    UP_TO_DATE = "up to date"
    CACHED = "cached"  # not made here, or not lately, but its outputs are in the store
    RUN = "run"
    WAITS = "waits"  # a step before it runs first: what that makes decides
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Past:
    """A step's last success: what its outputs depended on then, and what they were (path -> digest)."""

    key: str
    facts: Facts
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    step: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()


def facts_of(
    step: StepConfig,
    *,
    code: str = "",
    environment: str = "",
    inputs: Mapping[str, str] | None = None,
    deps: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Facts:
    """All that the outputs of a step depend on. `inputs`, `deps` and `secrets` are told by digests of their content."""
    found = {"run": step.run or "", "command": step.command or "", "code": code, "environment": environment}
    found["outs"] = " ".join(sorted(step.made))
    found["workdir"] = "" if step.workdir == "." else step.workdir
    found |= {f"param:{name}": _canonical(value) for name, value in step.params.items()}
    found |= {f"env:{name}": value for name, value in step.env.items()}
    for kind, contents in (("input", inputs), ("dep", deps), ("secret", secrets)):
        found |= {f"{kind}:{name}": content for name, content in (contents or {}).items()}
    return {name: value for name, value in found.items() if value or ":" in name}


def key_of(facts: Facts) -> str:
    return blake2b(_canonical(facts).encode(), digest_size=32).hexdigest()


def decide(
    step: StepConfig,
    facts: Facts,
    past: Past | None,
    outputs: Mapping[str, str],
    *,
    stored: bool,
    running: Iterable[str] = (),
    force: bool = False,
) -> Decision:
    """What becomes of a step. `outputs` are there now; `stored`: those of its key can be had from the store.

    `running` are steps before it that will run.
    """
    before = tuple(running)
    if step.frozen and not force:
        return Decision(step.name, Verdict.FROZEN, ("it is frozen",))
    if force or step.always:
        return Decision(step.name, Verdict.RUN, ("it was asked for by --force" if force else "it always runs",))
    if before:
        changed = () if past is None else differences(facts, past.facts)
        waits = f"{', '.join(before)} run{'s' if len(before) == 1 else ''} first"
        return Decision(step.name, Verdict.WAITS, (waits, *changed))
    reasons = ("it never ran here",) if past is None else differences(facts, past.facts)
    if past is not None and not reasons:
        reasons = _damage(past.outputs, outputs)
        if not reasons:
            return Decision(step.name, Verdict.UP_TO_DATE)
    return Decision(step.name, Verdict.CACHED if stored else Verdict.RUN, reasons)


def content_of(reference: str, outputs: Mapping[str, str]) -> str:
    """What an input is told by, of the outputs of the step that it names: the digest of a file, or all of them."""
    _, colon, file = reference.partition(":")
    if colon:
        return outputs.get(file) or outputs.get(f"{file}.parquet", "")
    named = sorted(f"{name} {digest}" for name, digest in outputs.items() if name not in OWN)
    return outputs.get(OUTPUT) or " ".join(named)


def note_of(key: str) -> str:
    """The name beside the objects under which the outputs of a key are told."""
    return f"steps/{key[:2]}/{key[2:]}"


def differences(now: Facts, then: Facts) -> tuple[str, ...]:
    """In words, what is not as it was."""
    names = [*now, *(name for name in then if name not in now)]
    return tuple(dict.fromkeys(_told(name, now, then) for name in names if now.get(name) != then.get(name)))


def order(edges: Mapping[str, Iterable[str]], wanted: Iterable[str] = ()) -> tuple[str, ...]:
    """The steps wanted (all, when none is named) and what they need, each after what it needs."""
    found: dict[str, None] = {}
    for name in wanted or edges:
        chain: list[tuple[str, bool]] = [(name, False)]
        open_: dict[str, None] = {}
        while chain:
            step, left = chain.pop()
            if left:
                open_.pop(step, None)
                found[step] = None
                continue
            if step in found:
                continue
            if step in open_:
                raise InputRejected(
                    f"steps wait for each other: {' -> '.join([*open_, step])}", hint="Take one of the links away."
                )
            open_[step] = None
            chain.append((step, True))
            chain += [(before, False) for before in reversed(tuple(edges[step])) if before not in found]
    return tuple(found)


def edges_of(steps: Mapping[str, StepConfig]) -> dict[str, tuple[str, ...]]:
    """What each step needs: steps named by `inputs` and `needs`, and those that make a file that it reads."""
    makers = _makers(steps)
    above: dict[str, list[str]] = {}  # folder -> outs below it
    for path in makers:
        for parent in _parents(path):
            above.setdefault(parent, []).append(path)
    found = {}
    for step in steps.values():
        needs = dict.fromkeys(name for ref in step.inputs if (name := step_of(ref)))
        needs |= dict.fromkeys(step.needs)
        for dep in step.deps:
            inside = [makers[path] for path in above.get(dep, ())]
            needs |= dict.fromkeys([makers[path] for path in (dep, *_parents(dep)) if path in makers] + inside)
        needs.pop(step.name, None) if step.name not in step.needs else None
        missing = next((name for name in needs if name not in steps), None)
        if missing is not None:
            raise InputRejected(f"step {step.name} needs {missing}, which there is not", hint="Mend its name.")
        found[step.name] = tuple(needs)
    return found


def step_of(reference: str) -> str:
    """The step that an input names: "features" of "step.features" and of "step.features:train"; "" for a dataset."""
    kind, _, name = reference.partition(".")
    return name.partition(":")[0] if kind == "step" else ""


def with_params(steps: Mapping[str, StepConfig], given: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """step -> its params with those given from outside: `name` for every wanted step that has it, or `step:name`."""
    found: dict[str, dict[str, Any]] = {name: dict(steps[name].params) for name in wanted}
    for name, value in given.items():
        step, colon, param = name.partition(":")
        places = [step] if colon and step in found else [each for each in found if name in found[each]]
        if not places:
            known = sorted({each for params in found.values() for each in params})
            raise InputRejected(
                f"no step that would run has a param {name!r}", hint=f"There are: {', '.join(known) or 'none'}."
            )
        for place in places:
            found[place][param if colon and step in found else name] = value
    return found


def _makers(steps: Mapping[str, StepConfig]) -> dict[str, str]:
    makers: dict[str, str] = {}
    for step in steps.values():
        for path in step.made:
            other = next((makers[each] for each in (path, *_parents(path)) if each in makers), None)
            if other is not None:
                raise InputRejected(
                    f"{path} is made by the steps {other} and {step.name}", hint="Each file is made by one step."
                )
            makers[path] = step.name
    return makers


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]


def _damage(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    gone = [path for path in then if path not in now]
    if gone:
        return (f"{gone[0]} is missing" + (f" and {len(gone) - 1} more" if len(gone) > 1 else ""),)
    other = [path for path in now if now[path] != then.get(path)]
    return (f"{other[0]} is not what it made",) if other else ()


_WORDS = {
    "run": "its function is another",
    "command": "its command changed",
    "code": "its code changed",
    "environment": "the environment changed",
    "outs": "its outs are others",
    "workdir": "its folder is another",
}


def _told(name: str, now: Facts, then: Facts) -> str:
    kind, _, what = name.partition(":")
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "param":
        was, new = then.get(name, "none"), now.get(name, "none")
        return f"param {what}: {was} -> {new}" if len(was) + len(new) < 60 else f"param {what} changed"
    said = {"dep": what, "input": f"input {what}", "env": f"variable {what}", "secret": f"secret {what}"}[kind]
    return (
        f"{said} {'changed' if name in now and name in then else 'is new' if name in now else 'is not read any more'}"
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
