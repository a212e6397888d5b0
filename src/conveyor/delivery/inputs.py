"""How the named inputs of steps and models become files: which objects, which labels are known, which key they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from conveyor.delivery.lookup import manifest_of
from conveyor.domain import wire
from conveyor.domain.dataset import DatasetVersion, Manifest, known_until
from conveyor.domain.plan import edges_of, order, step_of
from conveyor.domain.project import DataConfig, ProjectConfig
from conveyor.domain.run import Run
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


def steps_before(config: ProjectConfig, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all steps that these inputs need, in an order in which they can run."""
    wanted = [name for reference in inputs if (name := step_of(reference))]
    return order(edges_of(config.steps), wanted) if wanted else ()


def datasets_of(config: ProjectConfig, inputs: tuple[str, ...]) -> tuple[DataConfig, ...]:
    """The datasets that these inputs come from, directly or through steps; the one with a label first."""
    references = [*inputs, *(i for name in steps_before(config, inputs) for i in config.steps[name].inputs)]
    names = dict.fromkeys(ref.partition(".")[2] for ref in references if ref.startswith("data."))
    found = [config.data[name] for name in names]
    return tuple(sorted(found, key=lambda data: data.label is None))


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

    def __init__(self, context: Context, config: ProjectConfig, run: Run) -> None:
        self._context = context
        self._config = config
        self._run = run

    def resolve(self, reference: str) -> Resolved:
        kind, _, name = reference.partition(".")
        return self._data(name) if kind == "data" else self._step(*name.partition(":")[::2])

    def version(self, dataset: str) -> DatasetVersion:
        number = self._run.params["data"][dataset]
        with self._context.records.read() as tx:
            return tx.need(DATASET_VERSIONS, f"{self._run.project}/{dataset}@{number}")

    def _data(self, name: str) -> Resolved:
        data, version = self._config.data[name], self.version(name)
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
        roots = datasets_of(self._config, (f"step.{name}",))
        root = roots[0] if roots else DataConfig("")
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
            known_until=labels_known_until(root, self.version(root.name)) if label else None,
        )
        return Resolved(spec, f"step {outputs[wanted]}")


def cache_key(
    what: str, code: str, environment: str, params: dict[str, Any], inputs: list[Resolved], *more: str
) -> str:
    """Digest of all that a step's outputs depend on."""
    parts = [what, code, environment, wire.to_json(params).decode(), *(i.spec.name + i.content for i in inputs), *more]
    return digest_bytes("\0".join(parts).encode())
