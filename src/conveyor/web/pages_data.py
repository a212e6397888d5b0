"""The page of a dataset: its versions, what its columns hold and how they moved, its contract, what came of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from conveyor.delivery.desk import Desk
from conveyor.domain.lineage import Kind, Lineage
from conveyor.web.gatekeeping import Render

_HEIGHT, _WIDTH = 24, 6  # of a histogram and of a bar of it
_KINDS = {Kind.ARRIVAL: "Files and rows that it is made of", Kind.MODEL: "Models", Kind.RELEASE: "Releases"}
_LISTED = 20
_LONGEST = 20  # characters of a value


def data_pages(router: APIRouter, desk: Desk, render: Render, inside: list[Any]) -> None:
    @router.get("/data/{project}/{dataset:path}", dependencies=inside)
    def page(project: str, dataset: str) -> Response:
        view = desk.datasets.page(project, dataset)
        bars = {name: _bars(shares) for name, shares in view.histograms.items()}
        return render("dataset.html", view=view, bars=bars, around=_around(view.lineage))


def bound(value: object, dtype: str) -> str:
    """An end of a column's range, short; a time to the minute."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if dtype.startswith("Datetime"):
        return str(value)[:16].replace("T", " ")
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _bars(shares: tuple[float, ...]) -> list[tuple[int, float, float]]:
    """(x, y, height) of each bar; the tallest fills the height."""
    most = max(shares)
    heights = [_HEIGHT * share / most for share in shares]
    return [(place * _WIDTH, round(_HEIGHT - height, 1), round(height, 1)) for place, height in enumerate(heights)]


def _around(lineage: Lineage | None) -> list[tuple[str, int, list[Any]]]:
    """(title, how many there are, the newest of them)."""
    found = [(title, lineage.of(kind)) for kind, title in _KINDS.items()] if lineage else []
    return [(title, len(nodes), nodes[:_LISTED]) for title, nodes in found if nodes]
