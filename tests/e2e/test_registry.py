"""The registry at the command line of a running loop: verified, signed, explained, and trained again byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .system import MODEL, NAME, System


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

    before = system.client.model_versions(NAME, MODEL)
    assert f"{one} was trained again: every byte of its artifact is the same." in run("reproduce", f"{MODEL}@{live}")
    found = system.client.runs(kind="reproduce", limit=1)[0]
    assert not any(step.state == "cached" for step in found.steps)
    assert json.dumps(found.result["changed"]) == "[]"
    assert [v.version for v in system.client.model_versions(NAME, MODEL)] == [v.version for v in before]
