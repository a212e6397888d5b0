"""The process of the control plane: tracking answers first, all else once it is there; a start that fails ends."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from conveyor.client import Client
from conveyor.config.settings import Settings, make_folders, save_settings
from conveyor.domain import requests

from .test_mlflow import free_port
from .world import TOKEN


def home(folder: Path) -> Settings:
    settings = Settings(folder / ".conveyor", public_port=free_port(), api_port=free_port())
    make_folders(settings)
    save_settings(settings)
    settings.token_file.write_text(TOKEN)
    return settings


def begun(settings: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "conveyor.start", str(settings.home)]
    return subprocess.Popen(command, cwd=settings.root, stderr=subprocess.PIPE)


def test_tracking_answers_first_and_all_else_waits_for_its_parts(tmp_path: Path) -> None:
    settings = home(tmp_path)
    process = begun(settings)
    address = f"http://127.0.0.1:{settings.api_port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except urllib.error.URLError:
                assert process.poll() is None
                time.sleep(0.01)
        ask = urllib.request.Request(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0")
        ask.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(ask, timeout=5) as answer:
            assert b"Default" in answer.read()
        client = Client(address, TOKEN)
        assert client.projects() == []  # waits
        assert client.tracked(requests.TrackSearch("Default")) == []
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_start_that_fails_says_why_and_ends(tmp_path: Path) -> None:
    settings = home(tmp_path)
    settings.rows.rmdir()
    settings.rows.write_text("no folder")
    process = begun(settings)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"the control plane cannot start" in said
    assert str(settings.rows).encode() in said
