"""`reference.toml` is schema, documentation and test at once: it loads, shows every key, and tells true defaults."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

import conveyor.config
from conveyor.config.duration import format_duration, parse_duration
from conveyor.config.load import load
from conveyor.config.read import Reader
from conveyor.domain import project
from conveyor.domain.metric import METRICS

REFERENCE = (Path(conveyor.config.__file__).parent / "reference.toml").read_text()
SECTIONS: dict[str, Any] = {
    "project": project.ProjectConfig,
    "data": project.DataConfig,
    "step": project.StepConfig,
    "model": project.ModelConfig,
    "sweep": project.SweepConfig,
    "service": project.ServiceConfig,
    "worker": project.WorkerConfig,
    "environment": project.EnvironmentConfig,
    "preview": project.PreviewConfig,
    "notify": project.NotifyConfig,
    "alerts": project.AlertsConfig,
}
PARTS = ("data", "steps", "models", "sweeps", "services", "workers", "environments", "preview", "alerts", "notify")
NOT_A_KEY = {(project.ProjectConfig, name) for name in PARTS} | {
    (SECTIONS[name], "name") for name in SECTIONS if name not in ("project", "preview", "alerts")
}
SPELLED = {"from": "source"}


def inner(hint: Any) -> Any:
    """The dataclass inside `X | None`, or the hint itself."""
    return next((arg for arg in typing.get_args(hint) if dataclasses.is_dataclass(arg)), hint)


def dataclass_at(header: str) -> tuple[Any, ...]:
    """The dataclass that a [header] of the reference fills in; a table that is itself a value has none."""
    parts = header.split(".")
    type_, named = SECTIONS[parts[0]], False
    for part in parts[2:]:
        if named:  # a table of tables, whose names are the user's
            named = False
            continue
        name = "metric" if type_ is project.GatesConfig and part in METRICS else part
        hint = typing.get_type_hints(type_)[name]
        type_, named = inner(hint), typing.get_origin(hint) is dict
    return (type_,) if dataclasses.is_dataclass(type_) else ()


def documented() -> list[tuple[Any, str, str]]:
    """(dataclass, field, comment above the key) of every key line in the reference that has a comment."""
    found: list[tuple[Any, str, str]] = []
    comment, where = "", tuple[Any, ...]()
    for line in REFERENCE.splitlines():
        if line.startswith("#"):
            comment += " " + line.removeprefix("#").strip()
            continue
        if header := re.fullmatch(r"\[(.*)\]", line):
            where = dataclass_at(header[1])
        elif (key := re.match(r"(\w+) = ", line)) and comment and where:
            found.append((*where, SPELLED.get(key[1], key[1]), comment.strip()))
        comment = ""
    return found


def every_dataclass(type_: Any = None, seen: set[Any] | None = None) -> set[Any]:
    seen = set() if seen is None else seen
    for hint in [*SECTIONS.values()] if type_ is None else typing.get_type_hints(type_).values():
        if dataclasses.is_dataclass(inner(hint)) and inner(hint) not in seen:
            seen.add(inner(hint))
            every_dataclass(inner(hint), seen)
    return seen


def test_it_loads() -> None:
    config = load(REFERENCE)
    assert (config.name, set(config.models), set(config.services)) == ("shop", {"fraud"}, {"web"})
    assert config.models["fraud"].gates.metric.versus_live == "not_worse"


def test_every_key_is_shown_and_explained() -> None:
    shown = {(type_, name) for type_, name, _ in documented()}
    tables = {
        (type_, name)
        for type_ in every_dataclass()
        for name, hint in typing.get_type_hints(type_).items()
        if dataclasses.is_dataclass(inner(hint)) or name == "rules"
    }
    wanted = {(type_, field.name) for type_ in every_dataclass() for field in dataclasses.fields(type_)}
    assert wanted - tables - NOT_A_KEY == shown


@pytest.mark.parametrize(("type_", "name", "comment"), documented(), ids=lambda value: str(value)[:40])
def test_the_comment_tells_the_true_default(type_: Any, name: str, comment: str) -> None:
    field = next(field for field in dataclasses.fields(type_) if field.name == name)
    if field.default is field.default_factory is dataclasses.MISSING:
        assert "Required" in comment
        return
    default = field.default if field.default is not dataclasses.MISSING else typing.cast(Any, field.default_factory)()
    said = re.search(r"Default: (.+?)( \(.*\))?\.$", comment)
    assert said, comment
    if default is None:
        assert said[1] == "none"
        return
    reader = Reader()
    read = reader.value(typing.get_type_hints(type_)[name], tomllib.loads(f"x = {said[1]}")["x"], (name,))
    assert (read, reader.problems) == (default, [])


def test_durations_are_read_as_they_are_written() -> None:
    for text in ("0s", "250ms", "90s", "2m", "6h", "3d", "4w"):
        duration = parse_duration(text)
        assert duration is not None
        assert format_duration(duration) == text
    assert parse_duration("1h30m") == parse_duration("90m")
    for text in ("", "2", "m", "-1s", "1 h", "1y", "1s2", "999999999w", "\u0661s"):
        assert parse_duration(text) is None
