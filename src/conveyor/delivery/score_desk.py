"""What a client may ask of batch scoring: which rows, by which version, and that it begins."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.delivery.arrivals import table_of
from conveyor.delivery.collect import need_built
from conveyor.delivery.lookup import latest_build, manifest_of
from conveyor.delivery.registry_desk import RegistryDesk
from conveyor.delivery.score import new_run
from conveyor.delivery.table_desk import resolve
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.families import SCORES
from conveyor.domain.model import ModelVersion
from conveyor.domain.project import DataConfig
from conveyor.domain.reference import parse
from conveyor.domain.requests import ScoreDataset
from conveyor.domain.scoring import MODEL, REFUSED, SCORE, Scoring, groups
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected
from conveyor.stores.collections import RUNS

_MADE = (SCORE, MODEL, REFUSED)


class ScoreDesk:
    def __init__(self, context: Context, poke: Callable[[], None], registry: RegistryDesk) -> None:
        self._context = context
        self._poke = poke
        self._registry = registry

    def start(self, project: str, model: str, asked: ScoreDataset) -> Scoring:
        """Starts the run; with `dry_run` says what it would be. Raises what is wrong before anything is started."""
        output = parse(asked.output)
        if str(output) != asked.output or not output.name.startswith(f"{SCORES}/"):
            raise InputRejected(
                f"{asked.output[:80]!r} cannot hold scores", hint=f"Results are datasets {SCORES}/NAME; name one so."
            )
        context = self._context
        version = self._registry.version(project, model, asked.version)
        if not version.artifact:
            raise Conflict(f"{version.id} was removed", hint="Name another version.")
        with context.records.read() as tx:
            build = latest_build(tx, project)
            config = table_of(build, project, parse(asked.dataset).name)
            data = resolve(tx, project, parse(asked.dataset))
        assert build is not None  # `table_of` has said so
        need_built(context.settings, build)
        keep = _kept(config, data, asked)
        _fits(version, data)
        if (asked.since or asked.until) and config.time is None:
            raise InputRejected(f"{config.name} has no event time", hint="Leave the window out, or declare `time`.")
        parts = manifest_of(context.objects, data).within(asked.since, asked.until).parts
        if not parts:
            raise Conflict(f"{data.id} has no rows in that time", hint="Ask for another window.")
        run = new_run(context.new_id(), build, version, data, asked, keep, parts, context.clock.now())
        if not asked.dry_run:
            with context.records.transaction() as tx:
                tx.put(RUNS, run)
                about = {"kind": run.kind, "about": run.subject}
                tx.append(context.event("run.started", f"run/{run.id}", project, **about))
            self._poke()
        rows = sum(part.rows for part in parts)
        return Scoring(
            "" if asked.dry_run else run.id, version.id, data.id, asked.output, rows, len(parts), len(groups(parts))
        )


def _kept(config: DataConfig, data: DatasetVersion, asked: ScoreDataset) -> tuple[str, ...]:
    """The key, the event time, and what was asked for."""
    own = [name for name in (config.key, config.time) if name in data.schema and name]
    for name in asked.keep:
        if name not in data.schema:
            raise InputRejected(f"{data.id} has no column {name!r}", hint=f"It has {', '.join(data.schema)}.")
    keep = tuple(dict.fromkeys([*own, *asked.keep]))
    taken = [name for name in keep if name in _MADE]
    if taken:
        raise InputRejected(f"the result has a column {taken[0]!r} of its own", hint="Leave that one out of --keep.")
    return keep


def _fits(version: ModelVersion, data: DatasetVersion) -> None:
    missing = [name for name in version.signature.features if name not in data.schema]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputRejected(
            f"{data.id} has no {', '.join(missing[:5])}{more}, which {version.id} takes",
            hint="Score a dataset that has the model's features.",
        )
