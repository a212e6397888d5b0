"""The page of tracked runs: curves, figures and params, of one or of several side by side."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from conveyor.domain import wire
from conveyor.domain.tracked import Point, TrackedRun
from conveyor.errors import InputRejected
from conveyor.web.charts import Spec, curve_chart
from conveyor.web.gatekeeping import Render
from conveyor.web.mlflow.tracked import Tracked

_RUNS = 8  # as many as the palette can tell apart
_CURVES = 40


def tracked_pages(router: APIRouter, tracked: Tracked, render: Render, inside: list[Any]) -> None:
    @router.get("/tracked/{run}", dependencies=inside)
    def page(run: str, others: Annotated[list[str] | None, Query(alias="with")] = None) -> Response:
        found = _found(tracked, run, others)
        query = urlencode([("with", each) for each in others or ()])
        return render("tracked.html", runs=found, names=_names(found), query=query, rows=_rows(found))

    @router.get("/live/tracked/{run}", dependencies=inside)
    def charts(run: str, others: Annotated[list[str] | None, Query(alias="with")] = None) -> Response:
        found = _found(tracked, run, others)
        specs: dict[str, Spec] = {}
        for name in _names(found):
            curves = {_label(each): tracked.curve(each.info.run_id, name) for each in found if _has(each, name)}
            specs[name] = curve_chart(name, curves)
        return Response(wire.to_json(specs), media_type="application/json")


def _found(tracked: Tracked, run: str, others: list[str] | None) -> list[TrackedRun]:
    wanted = list(dict.fromkeys((run, *(others or ()))))
    if len(wanted) > _RUNS:
        raise InputRejected(f"{len(wanted)} runs are too many for one page", hint=f"Compare {_RUNS} at most.")
    return [tracked.run(each) for each in wanted]


def _names(found: list[TrackedRun]) -> list[str]:
    """The metrics that are drawn, those of the process last."""
    names = {point.key for run in found for point in run.data.metrics}
    return sorted(names, key=lambda name: (name.startswith("system/"), name))[:_CURVES]


def _rows(found: list[TrackedRun]) -> list[tuple[str, str, list[str]]]:
    """(kind, name, a value for each run)."""
    rows = []
    for kind in ("metrics", "params", "tags"):
        told = [{each.key: _text(each) for each in getattr(run.data, kind)} for run in found]
        rows += [(kind[:-1], key, [each.get(key, "") for each in told]) for key in sorted({k for t in told for k in t})]
    return rows


def _text(pair: Any) -> str:
    return f"{pair.value:.6g}" if isinstance(pair, Point) and isinstance(pair.value, float) else str(pair.value)[:300]


def _has(run: TrackedRun, name: str) -> bool:
    return any(point.key == name for point in run.data.metrics)


def _label(run: TrackedRun) -> str:
    return f"{run.info.run_name} ({run.info.run_id[:8]})"
