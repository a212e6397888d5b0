"""A service that is started for a look, with secrets: neither its log nor what is told of its fault shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conveyor.effects.environment import given_secrets
from conveyor.effects.probe import failing

SCRIPT = "printf 'using alpha-'; sleep 0.2; echo \"7f3k it said $KEY\"; exit 3"


def test_what_a_probed_service_says_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.sh").write_text(SCRIPT)
    monkeypatch.setenv("CONVEYOR_SECRETS", "KEY GONE")
    monkeypatch.setenv("KEY", "alpha-7f3k")
    assert given_secrets() == ["alpha-7f3k"]
    log = tmp_path / "log"
    env = {"PATH": os.environ["PATH"], "KEY": "alpha-7f3k"}
    fault = failing("/bin/sh run.sh", "/healthz", "", tmp_path, env, log, start_seconds=20)
    assert fault == "ended with exit code 3 before it was healthy. It said: using *** it said ***"
    assert log.read_text() == "using *** it said ***\n"
