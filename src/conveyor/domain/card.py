"""A model card: Markdown with the YAML header that Hugging Face reads, made from what is on record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from conveyor.domain.metric import METRICS
from conveyor.domain.model import ModelManifest, ModelVersion
from conveyor.domain.project import CardConfig
from conveyor.domain.verification import Verification

PLOTS = {"precision_recall.svg": "Precision and recall on the holdout", "calibration.svg": "Calibration on the holdout"}
_NOT_SAID = "Not said. Write it under `[model.NAME.card]` in conveyor.toml."


def card(
    version: ModelVersion,
    said: CardConfig,
    manifest: ModelManifest | None,
    verified: Verification | None,
    plots: Sequence[str] = (),
) -> str:
    """All that is known of a version; what only people know comes from conveyor.toml."""
    parts = [
        _header(version, said, manifest),
        f"# {version.project}/{version.name}, version {version.version}\n",
        _state(version, verified),
        f"## Intended use\n\n{said.use or _NOT_SAID.replace('NAME', version.name)}\n",
        f"## Not for\n\n{said.not_for}\n" if said.not_for else "",
        f"## Limits\n\n{said.limits}\n" if said.limits else "",
        _section("Figures on the holdout", ("metric", "value"), _metrics(version)),
        "".join(f"![{PLOTS[name]}]({name})\n\n" for name in plots),
        _section("Gates", ("gate", "verdict", "what it found"), _gates(version)),
        _section("Data", ("dataset", "version"), [(name, f"v{number}") for name, number in version.data.items()]),
        f"Labels are known until {version.labelled_until or 'the end'}; about {version.rows:,} labelled rows.\n",
        _section("Features", ("feature",), [(name,) for name in version.signature.features]),
        _section("Parameters", ("parameter", "value"), [(n, str(v)) for n, v in sorted(version.params.items())]),
        _origin(version),
        f"## Contact\n\n{said.contact}\n" if said.contact else "",
    ]
    return "\n".join(part for part in parts if part)


def _header(version: ModelVersion, said: CardConfig, manifest: ModelManifest | None) -> str:
    task = "tabular-classification" if _classifies(version) else "tabular-regression"
    header: dict[str, Any] = {"license": said.license} if said.license else {}
    header |= {
        "library_name": manifest.framework if manifest else "onnx",
        "pipeline_tag": task,
        "tags": ["conveyor", task],
        "metrics": sorted(version.metrics),
        "model-index": [
            {
                "name": f"{version.project}/{version.name}",
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"type": name, "name": f"{name} v{number}, holdout"},
                        "metrics": [{"type": n, "value": round(v, 6)} for n, v in sorted(version.metrics.items())],
                    }
                    for name, number in list(version.data.items())[:1]
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n"


def _classifies(version: ModelVersion) -> bool:
    return any(name in METRICS and METRICS[name].classification for name in version.metrics)


def _state(version: ModelVersion, verified: Verification | None) -> str:
    proof = f" It was verified at {verified.at:%Y-%m-%d %H:%M} UTC: {verified.problem or 'ok'}." if verified else ""
    made = f"trained at {version.created:%Y-%m-%d %H:%M} UTC: {_cell(version.reason)}."
    return f"Status **{version.status}**, {made}{proof}\n"


def _metrics(version: ModelVersion) -> list[tuple[str, ...]]:
    return [(name, f"{value:.5g}") for name, value in sorted(version.metrics.items())]


def _gates(version: ModelVersion) -> list[tuple[str, ...]]:
    return [(verdict.gate, str(verdict.outcome), verdict.message) for verdict in version.verdicts]


def _origin(version: ModelVersion) -> str:
    files = "".join(f"- `{name}`: BLAKE3 `{digest}`\n" for name, digest in sorted(version.artifact.items()))
    proof = "\nSigned provenance (in-toto, SLSA) goes with it: `provenance.dsse.json`.\n" if version.provenance else ""
    parity = f"differs from the native model by at most {version.parity.max_abs_difference:.2g}"
    rows = f"on {version.parity.rows:,} rows of the holdout"
    commit = f"Commit `{version.commit}`, run `{version.run}`."
    return f"## Origin\n\n{commit} What is served {parity} {rows}.\n\n{files}{proof}"


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(each) for each in row)} |" for row in rows]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text of users' in a table: no column, line or tag of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def curves(truth: Sequence[float], scores: Sequence[float]) -> Mapping[str, list[dict[str, float]]]:
    """Points of precision over recall, and of the share of positives over the mean score in ten equal parts."""
    ranked = sorted(zip(scores, truth, strict=True), reverse=True)
    positives = sum(1 for _, y in ranked if y == 1)
    if not positives or positives == len(ranked):
        return {}
    hits, points = 0, []
    every = max(1, len(ranked) // 200)
    for place, (score, y) in enumerate(ranked, start=1):
        hits += y == 1
        last_of_score = place == len(ranked) or ranked[place][0] != score
        if last_of_score and (place % every == 0 or place == len(ranked) or y == 1):
            points.append({"recall": hits / positives, "precision": hits / place})
    thinned = points[:: max(1, len(points) // 300)]
    tenth = max(1, -(-len(ranked) // 10))
    parts = [ranked[start : start + tenth] for start in range(0, len(ranked), tenth)]
    bins = [{"score": sum(s for s, _ in p) / len(p), "share": sum(y == 1 for _, y in p) / len(p)} for p in parts]
    return {"precision_recall.svg": thinned, "calibration.svg": bins}


def chart(name: str, points: list[dict[str, float]]) -> dict[str, Any]:
    """The Vega-Lite specification of a plot."""
    x, y = ("recall", "precision") if name.startswith("precision") else ("score", "share")
    titles = {"score": "mean score of a tenth of the rows", "share": "share that is positive"}
    scale = {"domain": [0, 1]}
    encoding = {
        axis: {"field": field, "type": "quantitative", "title": titles.get(field, field), "scale": scale}
        for axis, field in (("x", x), ("y", y))
    }
    line = {"data": {"values": points}, "mark": {"type": "line", "point": len(points) < 20}, "encoding": encoding}
    ideal = {
        "data": {"values": [{x: 0, y: 0}, {x: 1, y: 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "#999"},
        "encoding": encoding,
    }
    layers = [line, ideal] if x == "score" else [line]
    schema = "https://vega.github.io/schema/vega-lite/v6.json"
    return {"$schema": schema, "width": 360, "height": 260, "title": PLOTS[name], "layer": layers}
