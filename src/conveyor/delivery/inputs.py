"""How the named inputs of steps and models become files: which objects, which labels are known, which key they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.delivery.lookup import manifest_of
from conveyor.domain import wire
from conveyor.domain.dataset import DatasetVersion, Manifest, known_until
from conveyor.domain.plan import edges_of, order, step_of
from conveyor.domain.project import DataConfig, ProjectConfig
from conveyor.domain.run import Run
from conveyor.domain.source import DATA, Source, source
from conveyor.domain.step import InputSpec
from conveyor.engine.context import Context
from conveyor.errors import Conflict
from conveyor.stores.collections import DATASET_VERSIONS
from conveyor.stores.objects import digest_bytes

OUTPUT = "output.parquet"


@dataclass(frozen=True, slots=True)
class Resolved:
    """An input as its step's process is told, and what its content is for the cache key."""

    spec: InputSpec
    content: str
    root: str = ""  # of a dataset of files: the tree that its folder is made of


def steps_before(config: ProjectConfig, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all steps that these inputs need, in an order in which they can run."""
    wanted = [name for reference in inputs if (name := step_of(reference))]
    return order(edges_of(config.steps), wanted) if wanted else ()


def sources_of(config: ProjectConfig, inputs: tuple[str, ...]) -> tuple[Source, ...]:
    """The datasets that these inputs come from, as they are named, also through steps; one with a label first."""
    references = [*inputs, *(i for name in steps_before(config, inputs) for i in config.steps[name].inputs)]
    found = dict.fromkeys(one for one in map(source, references) if one.kind == DATA)
    return tuple(sorted(found, key=lambda one: config.data[one.name].label is None))


def datasets_of(config: ProjectConfig, inputs: tuple[str, ...]) -> tuple[DataConfig, ...]:
    """Those of `sources_of`, each once, whichever of its versions are read."""
    return tuple(config.data[name] for name in dict.fromkeys(one.name for one in sources_of(config, inputs)))


def labels_known_until(data: DataConfig, version: DatasetVersion) -> datetime | None:
    if data.label is None or version.watermark is None:
        return None
    return known_until(version.watermark, data.label.delay)


def labelled_rows(manifest: Manifest, until: datetime | None) -> int:
    """About how many rows have their label: exact for whole parts, in proportion for the part that `until` cuts."""
    return manifest.rows if until is None else sum(_rows_until(manifest, until))


def _rows_until(manifest: Manifest, until: datetime) -> Iterator[int]:
    for part in manifest.parts:
        if part.first is None or part.last is None or part.last <= until:
            yield part.rows
        elif part.first <= until:
            share = (until - part.first) / (part.last - part.first)
            yield int(part.rows * share)


class Inputs:
    """Resolves references for one run: dataset versions are fixed by the run, step outputs come from its steps."""

    def __init__(self, context: Context, config: ProjectConfig, run: Run, folders: Path = Path("inputs")) -> None:
        """`folders`: where the step that asks is to find datasets of files."""
        self._folders = folders
        self._context = context
        self._config = config
        self._run = run

    def resolve(self, reference: str) -> Resolved:
        one = source(reference)
        return self._data(one) if one.kind == DATA else self._step(one.name, one.file)

    def version(self, one: Source) -> DatasetVersion:
        number = self._run.params["data"][one.key]
        with self._context.records.read() as tx:
            return tx.need(DATASET_VERSIONS, f"{self._run.project}/{one.name}@{number}")

    def _data(self, one: Source) -> Resolved:
        name, data, version = one.name, self._config.data[one.name], self.version(one)
        if version.root:
            return Resolved(
                InputSpec(name, (), folder=str(self._folders / name)), f"files {version.root}", version.root
            )
        manifest = manifest_of(self._context.objects, version)
        until = labels_known_until(data, version)
        spec = InputSpec(
            name=name,
            paths=tuple(str(self._context.objects.path(part.digest)) for part in manifest.parts),
            time=data.time,
            key=data.key,
            label=data.label.column if data.label else None,
            known_until=until,
        )
        return Resolved(spec, f"data {version.manifest} {until}")

    def _step(self, name: str, file: str) -> Resolved:
        outputs = self._run.step(name).outputs
        wanted = next((each for each in (file or OUTPUT, f"{file}.parquet") if each in outputs), None)
        if wanted is None:
            raise Conflict(
                f"step {name} left no {file or OUTPUT}; it left {', '.join(outputs) or 'nothing'}",
                hint="A command step writes it into $CONVEYOR_OUTPUT; step.NAME:FILE names another output.",
            )
        roots = sources_of(self._config, (f"step.{name}",))
        root = self._config.data[roots[0].name] if roots else DataConfig("")
        path = self._context.objects.path(outputs[wanted])
        # A step may drop the label: what it made has none to mask. A model's first input must have kept it.
        columns = pl.read_parquet_schema(path) if root.label and wanted.endswith(".parquet") else {}
        label = root.label if root.label and root.label.column in columns else None
        spec = InputSpec(
            name=file.partition(".")[0].rpartition("/")[2] or name,
            paths=(str(path),),
            time=root.time,
            key=root.key,
            label=label.column if label else None,
            known_until=labels_known_until(root, self.version(roots[0])) if label else None,
        )
        return Resolved(spec, f"step {outputs[wanted]}")


def cache_key(
    what: str, code: str, environment: str, params: dict[str, Any], inputs: list[Resolved], *more: str
) -> str:
    """Digest of all that a step's outputs depend on."""
    parts = [what, code, environment, wire.to_json(params).decode(), *(i.spec.name + i.content for i in inputs), *more]
    return digest_bytes("\0".join(parts).encode())
