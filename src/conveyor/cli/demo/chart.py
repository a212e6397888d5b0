"""Charts of the demo's report: a Vega-Lite specification drawn as SVG, to stand inside an HTML page."""

from __future__ import annotations

from typing import Any

import vl_convert


def report_chart(spec: dict[str, Any], width: int = 760) -> str:
    """The SVG element. A page's chart takes the width of its place; a drawing has to be told one, in pixels."""
    told = {**spec, "width": width} if spec.get("width") == "container" else spec
    return str(vl_convert.vegalite_to_svg(told))
