"""Lineage for people: where a file went, what a version came of; each step of the walk is one indexed lookup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from conveyor.delivery import lineage_index as index
from conveyor.delivery.lookup import latest_build, latest_data, manifest_of
from conveyor.delivery.monitor import OPEN_WINDOWS
from conveyor.domain import derived
from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.domain.lineage import ALWAYS, Kind, Lineage, Node, months, overlaps, walk
from conveyor.domain.model import ModelVersion
from conveyor.domain.release import Release
from conveyor.domain.source import read_of
from conveyor.domain.state import Arrival
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import (
    ARRIVALS,
    DATASET_VERSIONS,
    LINKS,
    MODEL_VERSIONS,
    RELEASES,
    RUNS,
    SERVED,
)
from conveyor.stores.records import Transaction

_MOST = 500
_NEWEST = 200  # links of one kind that are followed from a node


class LineageDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def find(self, project: str, what: str) -> Lineage:
        """`what`: a file's name or digest, `DATASET`, `DATASET@VERSION`, `MODEL@VERSION` or `MODEL`."""
        with self._context.records.read() as tx:
            walker = _Walk(self._context, tx, project)
            roots = list(walker.roots(what))
            if roots:
                return walker.walk(roots)
        raise NotFound(
            f"nothing is known of {what[:80]!r} in project {project!r}",
            hint="Name a file that arrived, its digest, a dataset or a model, with @VERSION if you like.",
        )


class _Walk:
    """One question: all its lookups see one moment.

    A dataset version is a way station: which of its files a model was trained on, and which models on a file, is told
    by the stretches of time. Only whoever asks for the version itself is told of all its files and models.
    """

    def __init__(self, context: Context, tx: Transaction, project: str) -> None:
        self._objects = context.objects
        self._tx = tx
        self._project = project
        self._manifests: dict[str, Manifest] = {}
        self._asked = Kind.ARRIVAL

    def walk(self, roots: list[Node]) -> Lineage:
        self._asked = roots[0].kind
        return walk(roots, self.before, self.after, _MOST)

    def roots(self, what: str) -> Iterator[Node]:
        name, at, number = what.rpartition("@")
        name, version = (name, number.removeprefix("v")) if at else (what, "")
        config = build.config if (build := latest_build(self._tx, self._project)) else None
        if config and derived.find(config, name) and (not at or version.isdecimal()):
            found = self._tx.get(DATASET_VERSIONS, f"{self._project}/{name}@{version}") if version else None
            found = found or (None if version else latest_data(self._tx, self._project, name))
            yield from [_data(found)] if found else []
        elif config and name in config.models and (not at or version.isdecimal()):
            model = f"{self._project}/{name}"
            one = self._tx.get(MODEL_VERSIONS, f"{model}@{version}") if version else None
            newest = [one] if one else [] if version else self._tx.find(MODEL_VERSIONS, where={"model": model}, limit=1)
            yield from (self._model(each) for each in newest)
        else:
            for dataset in config.data if config else ():
                for place in (
                    index.by_object(self._project, dataset, what),
                    index.by_name(self._project, dataset, what),
                ):
                    yield from self._arrivals(link.target for link in self._links(place))

    # --- effects

    def after(self, node: Node) -> Iterable[Node]:
        if node.kind is Kind.ARRIVAL:
            return self._of_arrival(node)
        if node.kind is Kind.DATA and self._asked is Kind.DATA:
            return [*self._models(index.by_version(node.name)), *self._scored(node)]
        if node.kind is Kind.MODEL:
            links = self._links(index.by_model(node.name))
            found = (self._tx.get(RELEASES, link.target) for link in links)
            return [*(_release(release) for release in found if release is not None), *self._scored(node)]
        return ()

    def _of_arrival(self, node: Node) -> Iterator[Node]:
        """The version that it became part of, and the models that were trained or judged on its stretch of time."""
        arrival = self._tx.get(ARRIVALS, node.id.removeprefix("arrival/"))
        version = self._version_of(arrival) if arrival else None
        if arrival is None or version is None:
            return
        yield _data(version)
        part = next((p for p in self._manifest(version).parts if p.source_digest == arrival.digest), None)
        if part is None:
            return
        spans = dict.fromkeys([*months(part.first, part.last), ALWAYS])
        for month in spans:
            for link in self._links(index.by_month(version.dataset, month)):
                if link.data["version"] >= version.version and (use := _use(part, link.data)):
                    found = self._tx.get(MODEL_VERSIONS, link.target)
                    if found is not None:
                        yield self._model(found, use)

    # --- causes

    def before(self, node: Node) -> Iterable[Node]:
        if node.kind is Kind.RELEASE:
            release = self._tx.get(RELEASES, node.name)
            ids = [f"{release.project}/{name}@{n}" for name, n in release.models.items()] if release else []
            found = (self._tx.get(MODEL_VERSIONS, id_) for id_ in ids)
            return [self._model(version) for version in found if version is not None]
        if node.kind is Kind.MODEL:
            return self._causes(node)
        if node.kind is Kind.DATA and self._asked is Kind.DATA:
            version = self._tx.get(DATASET_VERSIONS, node.name)
            return [*self._added(version), *self._scored_by(node)] if version else ()
        return ()

    def _causes(self, node: Node) -> Iterator[Node]:
        model = self._tx.get(MODEL_VERSIONS, node.name)
        for name, number in read_of(model.data if model else {}):
            version = self._tx.get(DATASET_VERSIONS, f"{self._project}/{name}@{number}")
            if version is None:
                continue
            yield _data(version)
            data = self._spans(version.dataset, node.name, number)
            used = [part for part in self._manifest(version).parts if _use(part, data)]
            yield from self._arrivals(self._of_part(version, part) for part in reversed(used))

    def _added(self, version: DatasetVersion) -> Iterator[Node]:
        """The files that this version holds and its parent does not."""
        parent = self._tx.get(DATASET_VERSIONS, f"{version.dataset}@{version.parent}") if version.parent else None
        known = {part.digest for part in self._manifest(parent).parts} if parent else set()
        added = [part for part in self._manifest(version).parts if part.digest not in known]
        yield from self._arrivals(self._of_part(version, part) for part in added)

    # --- lookups

    def _links(self, source: str) -> list[Any]:
        return self._tx.find(LINKS, where={"source": source}, limit=_NEWEST)

    def _scored(self, node: Node) -> Iterator[Node]:
        """The results of scorings of these rows, or by this model."""
        for link in self._links(index.scored_of(node.name)):
            version = self._tx.get(DATASET_VERSIONS, link.target)
            if version is not None:
                yield _data(version)

    def _scored_by(self, node: Node) -> Iterator[Node]:
        """The rows and the model that a result of a scoring came of."""
        for link in self._links(index.scored_by(node.name)):
            model = self._tx.get(MODEL_VERSIONS, link.target)
            data = None if model else self._tx.get(DATASET_VERSIONS, link.target)
            if model is not None:
                yield self._model(model)
            elif data is not None:
                yield _data(data)

    def _models(self, source: str) -> list[Node]:
        found = (self._tx.get(MODEL_VERSIONS, link.target) for link in self._links(source))
        return [self._model(version) for version in found if version is not None]

    def _spans(self, dataset: str, model: str, number: int) -> dict[str, Any]:
        """What the model's link says of the stretches that it was trained on."""
        version = self._tx.get(MODEL_VERSIONS, model)
        until = version.labelled_until if version else None
        for month in (months(until, until)[0], ALWAYS):
            source = index.by_month(dataset, month)
            link = self._tx.get(LINKS, f"{source} > {model}")
            if link is not None:
                return link.data
        return {"version": number}

    def _of_part(self, version: DatasetVersion, part: Part) -> str:
        links = self._links(index.by_object(version.project, version.name, part.source_digest))
        return links[0].target if links else f"{version.dataset}/{part.source_digest}"

    def _version_of(self, arrival: Arrival) -> DatasetVersion | None:
        run = self._tx.get(RUNS, arrival.run) if arrival.run else None
        number = run.result.get("version") if run else None
        return self._tx.get(DATASET_VERSIONS, f"{arrival.dataset}@{number}") if number else None

    def _manifest(self, version: DatasetVersion | None) -> Manifest:
        if version is None:
            return Manifest()
        if version.manifest not in self._manifests:
            self._manifests[version.manifest] = manifest_of(self._objects, version)
        return self._manifests[version.manifest]

    def _arrivals(self, ids: Iterable[str]) -> Iterator[Node]:
        for id_ in dict.fromkeys(ids):
            arrival = self._tx.get(ARRIVALS, id_)
            if arrival is not None:
                said = f"{arrival.state}: {arrival.note}" if arrival.note else arrival.state
                figures = {"digest": arrival.digest, "dataset": arrival.dataset, "state": arrival.state}
                yield Node(f"arrival/{arrival.id}", Kind.ARRIVAL, arrival.file, said, arrival.created, figures)

    def _model(self, version: ModelVersion, use: str = "") -> Node:
        served, window = self._tx.get(SERVED, version.id), self._tx.get(OPEN_WINDOWS, version.id)
        rows = (served.rows if served else 0) + (window.rows if window else 0)
        firsts = [each.first for each in (served, window) if each and each.first]
        lasts = [each.last for each in (served, window) if each and each.last]
        figures: dict[str, Any] = {"status": version.status, "data": version.data, "predictions": rows}
        said = f"{version.status}; {rows:,} predictions"
        if firsts and lasts:
            figures |= {"first": min(firsts), "last": max(lasts)}
            said += f" from {_day(min(firsts))} to {_day(max(lasts))}"
        if use:
            figures["use"] = use
            said = f"{use} by it; {said}"
        return Node(f"model/{version.id}", Kind.MODEL, version.id, said, version.created, figures)


def _use(part: Part, data: dict[str, Any]) -> str:
    """What a model did with a part, by the stretches that its link tells; empty: nothing."""
    stretches = {name: data[name] for name in ("training", "holdout") if name in data}
    if not stretches:
        return "used"
    said = {"training": "trained on", "holdout": "judged on"}
    used = [
        said[name]
        for name, (after, until) in stretches.items()
        if overlaps(part.first, part.last, _time(after), _time(until))
    ]
    return " and ".join(used)


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _data(version: DatasetVersion) -> Node:
    files = f", with {', '.join(version.sources[:3])}" if version.sources else ""
    more = f" and {len(version.sources) - 3} more" if len(version.sources) > 3 else ""
    figures = {"version": version.version, version.things: version.rows, "sources": list(version.sources)}
    said = f"{version.rows:,} {version.things}{files}{more}"
    return Node(f"data/{version.id}", Kind.DATA, version.id, said, version.created, figures)


def _release(release: Release) -> Node:
    figures = {"environment": release.environment, "number": release.number, "commit": release.commit}
    return Node(f"release/{release.id}", Kind.RELEASE, release.id, release.reason, release.created, figures)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
