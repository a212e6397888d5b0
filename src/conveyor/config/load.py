"""`conveyor.toml` -> `ProjectConfig`, or `ConfigInvalid` with everything that is wrong in it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from conveyor.config.check import check
from conveyor.config.problem import Place, nearest
from conveyor.config.read import Reader, found
from conveyor.domain.families import FAMILIES
from conveyor.domain.gates.config import GatesConfig
from conveyor.domain.metric import METRICS
from conveyor.domain.project import (
    AlertsConfig,
    DataConfig,
    EnvironmentConfig,
    ModelConfig,
    NotifyConfig,
    PreviewConfig,
    ProjectConfig,
    ServiceConfig,
    StepConfig,
    SweepConfig,
    WorkerConfig,
)
from conveyor.errors import ConfigInvalid

_NAMED: dict[str, Any] = {
    "data": DataConfig,
    "step": StepConfig,
    "model": ModelConfig,
    "sweep": SweepConfig,
    "service": ServiceConfig,
    "worker": WorkerConfig,
    "environment": EnvironmentConfig,
    "notify": NotifyConfig,
}
_TABLES = ("project", "preview", "alerts")
_SPELLED = {"environment": {"source": "from"}}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.ASCII | re.DOTALL)


def load(text: str, *, path: str = "conveyor.toml") -> ProjectConfig:
    """The text of a `conveyor.toml`, read; `path` is only for the message. ConfigInvalid lists all problems at once."""
    raw = _parse(text, path)
    reader = Reader()
    config = _project(reader, raw)
    misread = {problem.at for problem in reader.problems}
    # What stands in for a value that could not be read must not be found fault with a second time.
    problems = [problem for problem in reader.problems if not _under(problem.at[:-1], misread)]
    problems += [problem for problem in check(config) if not _under(problem.at, misread)]
    if problems:
        raise ConfigInvalid(tuple(map(str, problems)), path=path)
    return config


def _parse(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        problem = "nested too deeply to be read"
    except ValueError as error:  # TOMLDecodeError, and Python's own limit on the digits of an integer
        problem = _located(str(error), text)
    raise ConfigInvalid((problem,), path=path)


def _located(message: str, text: str) -> str:
    match = _WHERE.fullmatch(message)
    if match is None:
        return f"not TOML: {message}"
    lines = text.split("\n")
    line, column = (match[2], match[3]) if match[2] else (len(lines), len(lines[-1]) + 1)
    return f"line {line}, column {column}: not TOML: {match[1][:1].lower()}{match[1][1:]}"


def _project(reader: Reader, raw: dict[str, Any]) -> ProjectConfig:
    for key in raw:
        if key not in _TABLES and key not in _NAMED:
            reader.add((key,), "unknown section" + nearest(key, (*_TABLES, *_NAMED)))
    parts = {section: _section(reader, section, raw.get(section, {})) for section in _NAMED}
    given = {
        "data": parts["data"],
        "steps": parts["step"],
        "models": parts["model"],
        "sweeps": parts["sweep"],
        "services": parts["service"],
        "workers": parts["worker"],
        "environments": parts["environment"] or {"production": EnvironmentConfig("production")},
        "preview": reader.table(PreviewConfig, raw.get("preview", {}), ("preview",), {}, {}),
        "notify": parts["notify"],
        "alerts": reader.table(AlertsConfig, raw.get("alerts", {}), ("alerts",), {}, {}),
    }
    config = reader.table(ProjectConfig, raw.get("project", {}), ("project",), given, {})
    if config.name:
        _check_name(reader, ("project", "name"), config.name)
    if config.name in FAMILIES:
        reader.add(("project", "name"), f'"{config.name}" is taken: datasets such as {config.name}/fraud begin so')
    return config


def _section(reader: Reader, section: str, raw: object) -> dict[str, Any]:
    if not isinstance(raw, dict):
        reader.add((section,), f"expected tables [{section}.NAME], found {found(raw)}")
        return {}
    for name in raw:
        _check_name(reader, (section, name), name)
    if section == "model":
        return {name: _model(reader, name, table) for name, table in raw.items()}
    type_, spelled = _NAMED[section], _SPELLED.get(section, {})
    return {name: reader.table(type_, table, (section, name), {"name": name}, spelled) for name, table in raw.items()}


def _model(reader: Reader, name: str, raw: object) -> ModelConfig:
    """A model's gates have one key that is named like its metric, so they are read apart."""
    at = ("model", name)
    gates, metric = None, None
    if isinstance(raw, dict):
        gates, metric = raw.get("gates"), raw.get("metric")
        raw = {key: value for key, value in raw.items() if key != "gates"}
    given: dict[str, Any] = {"name": name, "gates": GatesConfig()}
    if gates is not None and isinstance(metric, str):
        given["gates"] = _gates(reader, gates, metric, (*at, "gates"))
    return reader.table(ModelConfig, raw, at, given, {})


def _gates(reader: Reader, raw: object, metric: str, at: Place) -> GatesConfig:
    if isinstance(raw, dict):
        for key in METRICS:
            if key in raw and key != metric:
                reader.add((*at, key), f'a gate on another metric than the model\'s, which is "{metric}"')
        raw = {key: value for key, value in raw.items() if key == metric or key not in METRICS}
    return reader.table(GatesConfig, raw, at, {}, {"metric": metric})


def _check_name(reader: Reader, at: Place, name: str) -> None:
    if not _NAME.fullmatch(name):
        reader.add(at, "a name is a lower-case letter, then at most 62 lower-case letters, digits, - or _")


def _under(at: Place, places: set[Place]) -> bool:
    return any(at[:depth] in places for depth in range(1, len(at) + 1))
