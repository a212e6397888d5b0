"""The registry at the command line of a running loop: verified, signed, explained, and trained again byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml

from .system import MODEL, NAME, System


def http(system: System, path: str) -> str:
    request = urllib.request.Request(
        system.settings.api_url + path, headers={"authorization": f"Bearer {system.token}"}
    )
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def test_a_live_version_is_verified_explained_and_reproduced(system: System) -> None:
    def run(*words: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).parent / "conveyor"), *words]
        done = subprocess.run(command, cwd=system.root, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    live = system.wait(system.models, "a live model")[MODEL]
    one = f"{NAME}/{MODEL}@{live}"
    assert f"{one}  ok, signed; loaded and scored in" in run("model", "verify", f"{MODEL}@{live}")
    assert "application/vnd.in-toto+json" in run("model", "provenance", MODEL, str(live))
    assert "live in production already" in run("model", "promote", MODEL, f"v{live}", code=1)
    assert f"{one} cannot be removed: release" in run("model", "rm", MODEL, str(live), code=1)
    assert "alias champion" not in run("why", f"{MODEL}@{live}")
    run("model", "alias", MODEL, "champion", str(live), "--reason", "it is the one")
    told = run("why", f"{MODEL}@champion")
    for word in (
        f"{one} is ready",
        "gate     metric: pass",
        "data     ",
        "file     day-0.parquet",
        "alias    champion",
    ):
        assert word in told
    assert "it is the one" in run("model", "aliases", MODEL)
    run("model", "alias", MODEL, "champion", "--remove")

    place = system.root / "exported"
    run("model", "export", MODEL, str(live), str(place))
    svgs = {"calibration.svg", "precision_recall.svg"}
    kept = {"model.onnx", "model.json", "README.md", "provenance.dsse.json", "conveyor.pub", *svgs}
    assert {path.name for path in place.iterdir()} == kept
    _, header, text = (place / "README.md").read_text().split("---\n", 2)
    meta = yaml.safe_load(header)
    assert meta["pipeline_tag"] == "tabular-classification"
    assert {m["type"] for m in meta["model-index"][0]["results"][0]["metrics"]} >= {"roc_auc", "average_precision"}
    for word in ("## Intended use", "## Gates", "![Calibration", "| metric | pass |"):
        assert word in text
    assert "<svg" in (place / "calibration.svg").read_text()
    assert run("model", "card", MODEL).startswith("---\n")
    page = http(system, f"/models/{NAME}/{MODEL}/cards/{live}")
    assert f"/cards/{live}/calibration.svg" in page
    assert "<svg" in http(system, f"/models/{NAME}/{MODEL}/cards/{live}/calibration.svg")
    check = [sys.executable, "-m", "conveyor.serving.check", "--artifact", str(place), "--name", MODEL]
    assert subprocess.run(check, capture_output=True, text=True, check=True).stdout.startswith("loaded and scored")

    before = system.client.model_versions(NAME, MODEL)
    assert f"{one} was trained again: every byte of its artifact is the same." in run("reproduce", f"{MODEL}@{live}")
    found = system.client.runs(kind="reproduce", limit=1)[0]
    assert not any(step.state == "cached" for step in found.steps)
    assert json.dumps(found.result["changed"]) == "[]"
    assert [v.version for v in system.client.model_versions(NAME, MODEL)] == [v.version for v in before]
