"""The contract at serving: value skew is counted and scored, schema skew is refused with the column named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conveyor.domain import wire
from conveyor.domain.contract import rules_of
from conveyor.domain.model import ModelManifest

from .support import FEATURES, Artifact, ModelServer, free_port, matrix, spawn

RULES = {"amount": {"min": 0, "max": 2}, "night": {"one_of": [0, 1]}, "count": {"type": "integer"}}


@pytest.fixture
def server(artifact: Artifact, tmp_path: Path) -> Iterator[ModelServer]:
    folder = tmp_path / "artifact"
    shutil.copytree(artifact.directory, folder)
    manifest = wire.from_json((folder / "model.json").read_bytes(), ModelManifest)
    (folder / "model.json").write_bytes(wire.to_json(replace(manifest, rules=rules_of(RULES))))
    port = free_port()
    made = ModelServer(spawn(folder, tmp_path / "observations", port), port, tmp_path / "observations")
    made.wait_ready()
    yield made
    made.kill()


def counted(server: ModelServer) -> dict[tuple[str, str], int]:
    pattern = r'^conveyor_feature_skew_rows_total\{.*feature="(\w+)",rule="(\w+)"\} (\d+)$'
    found = re.findall(pattern, server.client.get("/metrics").text, re.MULTILINE)
    return {(feature, rule): int(count) for feature, rule, count in found}


def test_value_skew_is_counted_by_feature_and_rule_and_still_scored(server: ModelServer) -> None:
    rules = {("amount", "min"): 0, ("amount", "max"): 0, ("night", "one_of"): 0, ("count", "type"): 0}
    assert counted(server) == rules
    good = np.array([[1, 1, 3, 0.5]], np.float32)
    assert server.infer(matrix(good)).status_code == 200
    assert counted(server) == rules
    bad = np.array([[-1, 1, 3, 0.5], [5, 2, 0.5, 0], [5, 0, 1, 0]], np.float32)
    answer = server.infer(matrix(bad))
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["shape"] == [3]
    many = np.repeat(bad, 2000, axis=0)  # large enough to be scored in a thread
    assert server.infer(matrix(many)).status_code == 200
    times = 2001
    assert counted(server) == {
        ("amount", "min"): times, ("amount", "max"): 2 * times, ("night", "one_of"): times, ("count", "type"): times,
    }  # fmt: skip


def test_schema_skew_is_refused_with_the_column_named(server: ModelServer) -> None:
    columns = [{"name": name, "datatype": "FP32", "shape": [1], "data": [1.0]} for name in FEATURES if name != "night"]
    missing = server.infer(*columns)
    assert (missing.status_code, "'night'" in missing.json()["error"]) == (400, True)
    text = server.infer(*columns, {"name": "night", "datatype": "BYTES", "shape": [1], "data": ["yes"]})
    assert (text.status_code, "night" in text.json()["error"]) == (400, True)
    assert set(counted(server).values()) == {0}
