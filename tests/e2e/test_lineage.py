"""Lineage over a running loop: from a file to what it became, and back from a model to its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conveyor.domain.lineage import Kind, Lineage
from conveyor.errors import NotFound

from .system import DATASET, MODEL, NAME, System


def names(found: Lineage, kind: Kind) -> set[str]:
    return {node.name for node in found.of(kind)}


def asked(system: System, of: str, models: int) -> Lineage:
    """Once the index has caught up with so many model versions."""

    def found() -> Lineage | None:
        lineage = system.client.lineage(NAME, of)
        return lineage if len(lineage.of(Kind.MODEL)) >= models else None

    answer: Lineage = system.wait(found, f"the lineage of {of}")
    return answer


def test_from_a_file_to_predictions_and_back(system: System) -> None:
    first = asked(system, "day-0.parquet", 1)
    root = first.nodes[0]
    assert (root.kind, root.name) == (Kind.ARRIVAL, "day-0.parquet")
    assert len(names(first, Kind.DATA)) == 1
    model = f"{NAME}/{MODEL}@1"
    assert model in names(first, Kind.MODEL)
    (node,) = [node for node in first.nodes if node.name == model]
    assert node.figures["use"] == "trained on"
    assert f"{NAME}/production/1" in names(first, Kind.RELEASE)
    pairs = {(a.partition("/")[0], b.partition("/")[0]) for a, b in first.links}
    assert pairs >= {("arrival", "data"), ("arrival", "model"), ("model", "release")}
    assert asked(system, root.figures["digest"], 1).nodes[0] == root

    back = asked(system, f"{MODEL}@1", 1)
    assert {"day-0.parquet", "day-1.parquet", "day-2.parquet"} <= names(back, Kind.ARRIVAL)
    # The label of the last day has not come: it was neither trained nor judged on.
    (last,) = [node for node in asked(system, "day-3.parquet", 0).nodes if node.kind is Kind.ARRIVAL]
    assert last.name not in names(back, Kind.ARRIVAL)
    version = asked(system, f"{DATASET}@v1", 0)
    assert version.nodes[0].name == f"{NAME}/{DATASET}@1"
    with pytest.raises(NotFound, match="nothing is known of 'nobody"):
        system.client.lineage(NAME, "nobody.parquet")


def test_the_command_prints_it(system: System) -> None:
    asked(system, "day-0.parquet", 1)

    def run(*words: str) -> str:
        program = str(Path(sys.executable).parent / "conveyor")
        command = [program, "data", "lineage", "day-0.parquet", *words]
        return subprocess.run(command, cwd=system.root, capture_output=True, text=True, check=True).stdout

    told: dict[str, Any] = json.loads(run("--json"))
    assert {node["kind"] for node in told["nodes"]} >= {"arrival", "data", "model", "release"}
    assert "trained on" in run()
