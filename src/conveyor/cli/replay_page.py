"""A replay as charts: lines of text for a terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from conveyor.domain.metric import METRICS
from conveyor.domain.replay import Replayed, Walked

_BARS = " ▁▂▃▄▅▆▇█"


def text_chart(found: Replayed) -> Iterator[str]:
    """One line a policy, one bar a block, all on one scale, the higher the better."""
    values = [value for walk in found.walks for value in walk.values().values()]
    ends = sorted({block.until for walk in found.walks for block in walk.blocks})
    if not values or len(ends) > 150:
        return
    low, high = min(values), max(values)
    width = max(len(walk.policy.name) for walk in found.walks)
    for walk in found.walks:
        mine = walk.values()
        bars = "".join(_bar(mine[end], low, high, found.metric) if end in mine else " " for end in ends)
        yield f"{walk.policy.name:<{width}}  {bars}"
    yield f"{'':<{width}}  {found.metric} from {low:.3f} to {high:.3f}, a bar a block, the higher the better"


def page(found: Replayed) -> str:
    """HTML that needs nothing else: two charts and the table."""
    from conveyor.cli.demo.chart import report_chart  # brings the renderer, which takes a while
    from conveyor.web.charts import frontier_chart, replay_chart

    chosen = found.recommendation
    said = f"<p><b>Recommended: {escape(chosen.policy)}</b>; {escape(chosen.reason)}.</p>" if chosen else ""
    rows = "".join(_row(walk) for walk in found.walks)
    head = "".join(
        f"<th>{word}</th>" for word in ("policy", found.metric, "trainings", "seconds", "refused", "rightly", "failed")
    )
    frontier = chosen.frontier if chosen else ()
    return (
        "<!doctype html><meta charset='utf-8'>"
        f"<title>Replay of {escape(found.model)}</title>"
        "<style>body{font:15px system-ui;max-width:50em;margin:2em auto;padding:0 1em}"
        "td,th{padding:.2em .8em;text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%}"
        "</style>"
        f"<h1>Replay of {escape(found.model)}</h1>"
        f"<p>{found.rows:,} rows from {found.first:%Y-%m-%d} to {found.last:%Y-%m-%d}.</p>{said}"
        f"<h2>Quality, block by block</h2>{report_chart(replay_chart(found.walks, found.metric))}"
        f"<h2>Cost and quality</h2>{report_chart(frontier_chart(found.walks, frontier, found.metric))}"
        f"<table><tr>{head}</tr>{rows}</table>"
    )


def _bar(value: float, low: float, high: float, metric: str) -> str:
    share = (value - low) / (high - low) if high > low else 1.0
    if not METRICS[metric].higher_is_better:
        share = 1.0 - share
    return _BARS[1 + round(share * (len(_BARS) - 2))]


def _row(walk: Walked) -> str:
    mean = "-" if walk.mean is None else f"{walk.mean:.4f}"
    cells = [walk.policy.name, mean, walk.trainings, f"{walk.seconds:.1f}", walk.refused, walk.caught(), walk.failed]
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
