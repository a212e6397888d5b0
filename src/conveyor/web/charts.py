"""Charts as Vega-Lite specifications: pure functions from records to plain data. Nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from conveyor.domain.model import ModelVersion
from conveyor.domain.monitor import Quality, Window
from conveyor.domain.replay import Walked
from conveyor.domain.tracked import Point

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
PALETTE = ("#3b82c4", "#c8702a", "#3f9a6b", "#b5577f", "#8a6fc0", "#8c8335", "#2f9aa8", "#a8604f")
"""Mid tones that can be read on a white and on a dark ground; versions take them in turn."""

WORST = 5
"""So many features are drawn, those that moved most."""


def quality_chart(
    measures: Sequence[Quality], versions: Sequence[ModelVersion], metric: str, windows: Sequence[Window] = ()
) -> Spec:
    """Quality in use, one line a version over event time, with its interval; diamonds are on the holdout;
    dashed is what was estimated of each window before labels came."""
    early = [_early(each) for each in windows if each.estimate and each.estimate.metric == metric and _moment(each)]
    rows = [_measure(each) for each in measures if each.metric == metric and each.value is not None and each.last]
    held = [_held(each, metric) for each in versions if metric in each.metrics and each.labelled_until]
    # `measures` come newest first, so a version's first row is the end of its line: where its name stands.
    ends = list({row["version"]: row for row in reversed(rows)}.values())
    names = sorted({row["version"] for row in (*rows, *held, *early)}, key=lambda name: int(name[1:]))
    color = {
        "field": "version",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": names, "range": [PALETTE[int(name[1:]) % len(PALETTE)] for name in names]},
    }
    x = _time("time", "event time")
    y = {"field": "value", "type": "quantitative", "title": metric.replace("_", " "), "scale": {"zero": False}}
    tooltip = [_tip("version"), _tip("time", "temporal"), _tip("value", "quantitative"), _tip("rows", "quantitative")]
    band = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color}
    layers = [
        {"data": {"values": rows}, "mark": {"type": "area", "opacity": 0.16}, "encoding": band},
        {
            "data": {"values": rows},
            "mark": {"type": "line", "point": {"size": 36, "filled": True}, "strokeWidth": 2},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
        },
        {
            "data": {"values": held},
            "mark": {"type": "point", "shape": "diamond", "size": 90, "filled": False, "strokeWidth": 2},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": [*tooltip, _tip("on")]},
        },
        {
            "data": {"values": ends},
            "mark": {"type": "text", "align": "left", "dx": 6, "dy": -7, "fontWeight": "bold"},
            "encoding": {"x": x, "y": y, "color": color, "text": {"field": "version"}},
        },
    ]
    if early:  # a layer without rows makes the library complain of their extent
        mark = {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.5, "opacity": 0.8, "clip": True}
        encoding = {"x": x, "y": y, "color": color, "tooltip": [*tooltip, _tip("on")]}
        layers.append({"data": {"values": early}, "mark": mark, "encoding": encoding})
    return _chart(layers)


def drift_chart(windows: Sequence[Window], limit: float = 0.25) -> Spec:
    """PSI of the features that moved most, window by window, under the limit (dashed)."""
    worst: dict[str, float] = {}
    for window in windows:
        for name, value in window.psi.items():
            worst[name] = max(value, worst.get(name, 0.0))
    shown = sorted(worst, key=lambda name: (-worst[name], name))[:WORST]
    rows = [
        {"time": moment.isoformat(), "feature": name, "psi": window.psi[name], "version": f"v{window.version}"}
        for window in windows
        if (moment := _moment(window))
        for name in shown
        if name in window.psi
    ]
    encoding = {
        "x": _time("time", "event time"),
        "y": {"field": "psi", "type": "quantitative", "title": "PSI against training"},
        "color": {
            "field": "feature",
            "type": "nominal",
            "title": None,
            "scale": {"domain": shown, "range": list(PALETTE[: len(shown)])},
            "legend": {"orient": "bottom", "columns": 2, "labelLimit": 260},
        },
        "tooltip": [_tip("feature"), _tip("psi", "quantitative"), _tip("version"), _tip("time", "temporal")],
    }
    rule = {"data": {"values": [{"limit": limit}]}, "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#888"}}
    lines = {"data": {"values": rows}, "mark": {"type": "line", "point": True}, "encoding": encoding}
    return _chart([lines, {**rule, "encoding": {"y": {"field": "limit", "type": "quantitative"}}}])


def curve_chart(name: str, curves: Mapping[str, Sequence[Point]]) -> Spec:
    """A metric over its steps, a line for each run; what is no number is left out."""
    rows = [
        {"run": run, "step": point.step, "value": point.value}
        for run, points in curves.items()
        for point in points
        if not isinstance(point.value, str)
    ]
    runs = list(curves)
    encoding = {
        "x": {"field": "step", "type": "quantitative", "title": "step"},
        "y": {"field": "value", "type": "quantitative", "title": name, "scale": {"zero": False}},
        "color": {
            "field": "run",
            "type": "nominal",
            "title": None,
            "scale": {"domain": runs, "range": [PALETTE[place % len(PALETTE)] for place in range(len(runs))]},
            "legend": {"orient": "bottom", "labelLimit": 260} if len(runs) > 1 else None,
        },
        "tooltip": [_tip("run"), _tip("step", "quantitative"), _tip("value", "quantitative")],
    }
    return _chart([{"data": {"values": rows}, "mark": {"type": "line", "point": len(rows) < 80}, "encoding": encoding}])


def weekly_chart(weeks: Sequence[Mapping[str, Any]], metric: str = "average precision") -> Spec:
    """The demo's story: the model that was kept current beside the one that was never trained again.

    A week is {"week": int, "ap_current": float | None, "ap_frozen": float | None}.
    """
    series = (("ap_current", "kept current"), ("ap_frozen", "frozen"))
    rows = [
        {"week": week["week"], "model": name, "value": week[field]}
        for week in weeks
        for field, name in series
        if week.get(field) is not None
    ]
    encoding = {
        "x": {"field": "week", "type": "ordinal", "title": "week of scoring", "axis": {"labelAngle": 0}},
        "y": {"field": "value", "type": "quantitative", "title": metric, "scale": {"domainMin": 0}},
        "color": {
            "field": "model",
            "type": "nominal",
            "title": None,
            "scale": {"domain": [name for _, name in series], "range": list(PALETTE[:2])},
            "legend": {"orient": "bottom"},
        },
        "tooltip": [_tip("model"), _tip("week", "ordinal"), _tip("value", "quantitative")],
    }
    return _chart([{"data": {"values": rows}, "mark": {"type": "line", "point": True}, "encoding": encoding}])


def replay_chart(walks: Sequence[Walked], metric: str) -> Spec:
    """Quality of each policy, block by block of event time."""
    names = [walk.policy.name for walk in walks]
    rows = [
        {"policy": walk.policy.name, "time": block.until.isoformat(), "value": block.metrics[metric]}
        for walk in walks
        for block in walk.blocks
        if metric in block.metrics
    ]
    encoding = {
        "x": _time("time", "event time"),
        "y": {"field": "value", "type": "quantitative", "title": metric.replace("_", " "), "scale": {"zero": False}},
        "color": _policies(names),
        "tooltip": [_tip("policy"), _tip("value", "quantitative"), _tip("time", "temporal")],
    }
    return _chart([{"data": {"values": rows}, "mark": {"type": "line", "point": True}, "encoding": encoding}])


def frontier_chart(walks: Sequence[Walked], frontier: Sequence[str], metric: str) -> Spec:
    """What a policy costs, in seconds of training, and what it gives; the frontier is joined by a line."""
    names = [walk.policy.name for walk in walks]
    rows = [
        {"policy": walk.policy.name, "seconds": walk.seconds, "value": walk.mean}
        for walk in walks
        if walk.mean is not None
    ]
    x = {"field": "seconds", "type": "quantitative", "title": "seconds of training"}
    y = {"field": "value", "type": "quantitative", "title": metric.replace("_", " "), "scale": {"zero": False}}
    tooltip = [_tip("policy"), _tip("seconds", "quantitative"), _tip("value", "quantitative")]
    line = [row for row in rows if row["policy"] in frontier]
    text = {"type": "text", "align": "left", "dx": 7, "dy": -6}
    return _chart(
        [
            {"data": {"values": line}, "mark": {"type": "line", "color": "#888"}, "encoding": {"x": x, "y": y}},
            {
                "data": {"values": rows},
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {"x": x, "y": y, "color": {**_policies(names), "legend": None}, "tooltip": tooltip},
            },
            {"data": {"values": rows}, "mark": text, "encoding": {"x": x, "y": y, "text": {"field": "policy"}}},
        ]
    )


def _policies(names: Sequence[str]) -> dict[str, Any]:
    return {
        "field": "policy",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(names), "range": [PALETTE[place % len(PALETTE)] for place in range(len(names))]},
        "legend": {"orient": "bottom", "labelLimit": 260},
    }


def _chart(layers: list[Spec]) -> Spec:
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": 240,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": layers,
        "config": {"view": {"stroke": None}, "background": "transparent"},
    }


def _moment(window: Window) -> datetime | None:
    return window.last_event or window.last


def _early(window: Window) -> dict[str, Any]:
    moment, given = _moment(window), window.estimate
    value = given.value if given else None
    time = moment.isoformat() if moment else ""
    return {"version": f"v{window.version}", "time": time, "value": value, "rows": window.rows, "on": "estimate"}


def _measure(each: Quality) -> dict[str, Any]:
    moment = each.last.isoformat() if each.last else ""
    bounds = {
        "low": each.low if each.low is not None else each.value,
        "high": each.high if each.high is not None else each.value,
    }
    return {"version": f"v{each.version}", "time": moment, "value": each.value, "rows": each.rows} | bounds


def _held(version: ModelVersion, metric: str) -> dict[str, Any]:
    moment = version.labelled_until.isoformat() if version.labelled_until else ""
    figures = {"value": version.metrics[metric], "rows": version.rows, "on": "its holdout"}
    return {"version": f"v{version.version}", "time": moment} | figures


def _time(field: str, title: str) -> Spec:
    axis = {"format": "%-d %b", "tickCount": 8, "labelOverlap": True}
    return {"field": field, "type": "temporal", "title": title, "scale": {"type": "utc"}, "axis": axis}


def _tip(field: str, type_: str = "nominal") -> Spec:
    return {"field": field, "type": type_} | ({"format": ",.4~f"} if type_ == "quantitative" else {})
