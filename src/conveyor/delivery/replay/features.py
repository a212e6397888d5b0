"""The rows that a model reads, made once of the whole history by its steps, and a look whether they know the future."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from blake3 import blake3

from conveyor.delivery.inputs import OUTPUT, cache_key, sources_of, steps_before
from conveyor.delivery.replay.workers import Workers
from conveyor.domain import wire
from conveyor.domain.project import DataConfig, ModelConfig, ProjectConfig
from conveyor.domain.source import DATA, source
from conveyor.domain.step import InputSpec, StepSpec
from conveyor.effects.source import code_digest
from conveyor.errors import Conflict, InputRejected
from conveyor.sdk import inputs

_TOLERANCE = 1e-9
_SHARE = 0.5  # of the history: where it is cut for the look


@dataclass(frozen=True, slots=True)
class Made:
    """The model's inputs as a training is told of them; `seconds` that steps took, 0 where their outputs were kept."""

    inputs: tuple[InputSpec, ...]
    seconds: float


class Features:
    def __init__(self, config: ProjectConfig, root: Path, environment: str, workers: Workers, cache: Path) -> None:
        self._config, self._root, self._environment = config, root, environment
        self._workers, self._cache = workers, cache

    def make(self, model: ModelConfig, rows: dict[str, Path]) -> Made:
        """`rows` is a Parquet file a dataset. Steps get all of them, with every label; then as of an earlier time: a
        row must come out the same, for what is known of it later is not known when it is served."""
        self._check(model)
        whole, seconds = self._steps(model, rows, None)
        if steps_before(self._config, model.inputs):
            cut = self._middle(rows)
            before, more = self._steps(model, self._before(rows, cut), cut)
            seconds += more
            self._compare(model, whole, before, cut)
        return Made(tuple(whole[one] for one in model.inputs), seconds)

    def _check(self, model: ModelConfig) -> None:
        for one in sources_of(self._config, model.inputs):
            if self._config.data[one.name].kind == "files":
                raise Conflict(
                    f"model {model.name} reads the dataset of files {one.name}, which has no event time",
                    hint="Only models of rows can be replayed.",
                )
        for name in steps_before(self._config, model.inputs):
            if self._config.steps[name].run is None:
                raise Conflict(
                    f"step {name} is a command, and a replay must mask the labels of what a step reads",
                    hint='Make it a function: run = "module:function".',
                )

    def _steps(
        self, model: ModelConfig, rows: dict[str, Path], known: datetime | None
    ) -> tuple[dict[str, InputSpec], float]:
        """Every input of the model and of its steps, by reference. `known`: the newest event time that there is."""
        found: dict[str, InputSpec] = {}
        seconds = 0.0
        config = self._config
        for one in sources_of(config, model.inputs):
            data = config.data[one.name]
            delay = data.label.delay if data.label else timedelta(0)
            spec = _spec(one.name, data, rows[one.name])
            found[f"{DATA}.{one.key}"] = replace(spec, known_until=known - delay if known else None)
        for name in steps_before(config, model.inputs):
            step = config.steps[name]
            given = tuple(found[_plain(reference)] for reference in step.inputs)
            told = [wire.to_json(each).decode() for each in given]
            key = cache_key(
                f"step {step.run}", code_digest(self._root, step.run or ""), self._environment, step.params, [], *told
            )
            out = self._cache / f"step-{blake3(key.encode()).hexdigest()[:24]}"
            if not (out / OUTPUT).exists():
                shutil.rmtree(out, ignore_errors=True)
                seconds += self._workers.ask("step", StepSpec(step.run or "", given, step.params), out)
            roots = sources_of(config, (f"step.{name}",))
            root = config.data[roots[0].name] if roots else DataConfig("")
            for reference in {*step_references(config, model, name), f"step.{name}"}:
                file = source(reference).file
                path = out / (f"{file.removesuffix('.parquet')}.parquet" if file else OUTPUT)
                alias = Path(file).stem if file else name
                found[reference] = _spec(alias, root, path)
        return found, seconds

    def _middle(self, rows: dict[str, Path]) -> datetime:
        """A time in the middle of the rows of the dataset that has most."""
        bounds = []
        for name, path in rows.items():
            data = self._config.data[name]
            if data.time is not None:
                spec = _spec(name, data, path)
                at = inputs.event_time(spec, pl.read_parquet_schema(path)).cast(pl.Datetime("us"))  # type: ignore[arg-type]
                bounds.append(pl.scan_parquet(path).select(at.min().alias("a"), at.max().alias("b")).collect().row(0))
        if not bounds:
            raise InputRejected(
                "no dataset of the model has an event time", hint="Name it: time = ... in conveyor.toml."
            )
        first, last = min(a for a, _ in bounds), max(b for _, b in bounds)
        middle: datetime = first + (last - first) * _SHARE
        return middle

    def _before(self, rows: dict[str, Path], cut: datetime) -> dict[str, Path]:
        found = {}
        for name, path in rows.items():
            data = self._config.data[name]
            found[name] = path
            if data.time is not None:
                target = self._cache / f"before-{path.stem}.parquet"
                spec, schema = _spec(name, data, path), pl.scan_parquet(path).collect_schema()
                at = inputs.event_time(spec, schema)
                pl.scan_parquet(path).filter(at <= inputs.moment(cut, inputs.unit_of(spec, schema))).sink_parquet(
                    target
                )
                found[name] = target
        return found

    def _compare(
        self, model: ModelConfig, whole: dict[str, InputSpec], before: dict[str, InputSpec], cut: datetime
    ) -> None:
        first = whole[model.inputs[0]]
        then = pl.read_parquet(before[model.inputs[0]].paths[0])
        at = inputs.event_time(first, then.schema)
        now = pl.scan_parquet(first.paths[0]).filter(
            inputs.event_time(first, then.schema) <= inputs.moment(cut, inputs.unit_of(first, then.schema))
        )
        order = [first.time, *([first.key] if first.key in then.columns else [])]
        left, right = then.filter(at.is_not_null()).sort(order), now.collect().sort(order)
        moved = _moved(left, right, model.features or tuple(n for n in left.columns if n != first.label))
        if moved:
            raise InputRejected(
                f"the steps of {model.name} give {moved} for rows up to {cut:%Y-%m-%d} knowing later rows or labels",
                hint="What is served is computed without the future: make the step read, for each row, only what was "
                "known at its time. Until then a replay would flatter every policy.",
            )


def _moved(then: pl.DataFrame, now: pl.DataFrame, columns: tuple[str, ...]) -> str:
    """What differs, as words; "" where nothing does."""
    if then.height != now.height:
        return f"{now.height:,} rows instead of {then.height:,}"
    for name in columns:
        if name not in then.columns or name not in now.columns:
            continue
        one, other = then[name], now[name]
        same = one.eq_missing(other)
        if one.dtype.is_float():
            same = same | ((one - other).abs() <= _TOLERANCE * (1 + one.abs())).fill_null(value=False)
        differ = int((~same).sum())
        if differ:
            return f"another {name} in {differ:,} of {then.height:,} rows"
    return ""


def _spec(name: str, data: DataConfig, path: Path) -> InputSpec:
    label = data.label.column if data.label else None
    if label is not None and path.exists() and label not in pl.read_parquet_schema(path):
        label = None
    return InputSpec(name, (str(path),), time=data.time, key=data.key, label=label)


def _plain(reference: str) -> str:
    one = source(reference)
    return f"{DATA}.{one.key}" if one.kind == DATA else reference


def step_references(config: ProjectConfig, model: ModelConfig, name: str) -> set[str]:
    """How the model and its steps name the outputs of a step."""
    every = [*model.inputs, *(i for each in steps_before(config, model.inputs) for i in config.steps[each].inputs)]
    return {reference for reference in every if source(reference).kind != DATA and source(reference).name == name}
