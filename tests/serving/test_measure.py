"""What a version costs, from the real model server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from conveyor.domain import statistics, wire
from conveyor.domain.evaluation import Served
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import LoggedScore, MeasureSpec, StepError

from .support import FEATURES, Artifact


def measured(
    folder: Path, out: Path, calls: int = 60, logged: tuple[LoggedScore, ...] = ()
) -> subprocess.CompletedProcess[str]:
    out.mkdir()
    (out / "spec.json").write_bytes(wire.to_json(MeasureSpec(str(folder), calls=calls, logged=logged)))
    argv = [sys.executable, "-m", "conveyor.serving.measure", str(out / "spec.json"), str(out)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def test_a_version_is_measured_in_the_real_server_which_is_ended(artifact: Artifact, tmp_path: Path) -> None:
    manifest = wire.from_json((artifact.directory / "model.json").read_bytes(), ModelManifest)
    columns = {name: statistics.profile(artifact.rows[:, i]) for i, name in enumerate(FEATURES)}
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((artifact.directory / "model.onnx").read_bytes())
    profile = replace(manifest.profile, features=columns)
    (folder / "model.json").write_bytes(wire.to_json(replace(manifest, profile=profile)))
    example = manifest.example
    logged = (LoggedScore(example.row, example.score), LoggedScore(example.row, example.score + 0.25))
    done = measured(folder, tmp_path / "out", logged=logged)
    assert done.returncode == 0, done.stderr
    found = wire.from_json((tmp_path / "out" / "served.json").read_bytes(), Served)
    assert 0 < found.latency_p50_ms <= found.latency_p99_ms < 1000
    assert 20 < found.memory_mb < 2000
    assert found.size_mb == sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    assert found.calls == 60
    assert found.logged == 2
    assert found.apart is not None
    assert abs(found.apart - 0.25) < 1e-4  # the second of the two is not what it gives
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _read(path)]
    assert not running, "no server is left behind"


def test_one_that_cannot_be_loaded_says_so(artifact: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"not a model")
    (folder / "model.json").write_bytes((artifact.directory / "model.json").read_bytes())
    assert measured(folder, tmp_path / "out").returncode == 1
    error = wire.from_json((tmp_path / "out" / "error.json").read_bytes(), StepError)
    assert error.message == "the model server ended with 1 while it loaded the version"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
