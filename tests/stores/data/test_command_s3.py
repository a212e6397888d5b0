"""The command line with a store on S3, and with one as its remote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from s3 import BUCKET, S3Server

from .folders import read, write


def data(place: Path, environment: dict[str, str], *words: str, code: int = 0) -> str:
    command = [str(Path(sys.executable).with_name("conveyor")), "data", *words]
    done = subprocess.run(
        command, cwd=place, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_remote_on_s3(s3_server: S3Server, tmp_path: Path) -> None:
    url, environment = f"s3://{BUCKET}/{s3_server.prefix()}/team/data", s3_server.environment
    files = {f"{number}.bin": os.urandom(5000) for number in range(100)}
    here, there = tmp_path / "here", tmp_path / "there"
    write(here / "images", files)
    data(here, environment, "add", "images", "images")
    assert "1 version, 1 pack," in data(here, environment, "push", "images", "--to", url)
    assert "nothing to send" in data(here, environment, "push", "images")
    there.mkdir()
    (there / ".conveyor").mkdir()
    data(there, environment, "pull", "images", "--from", url)
    data(there, environment, "checkout", "images")
    assert read(there / "images") == files
    (pack,) = (there / ".conveyor" / "data" / "packs").rglob("?" * 64)
    pack.chmod(0o644)
    raw = bytearray(pack.read_bytes())
    raw[5000] ^= 1
    pack.write_bytes(raw)
    assert "hit: images@v1: " in data(there, environment, "verify", code=1)
    assert "all repaired" in data(there, environment, "verify", "--repair")
    assert "all as it should be" in data(there, environment, "verify")


def test_a_store_on_s3(s3_server: S3Server, tmp_path: Path) -> None:
    environment = s3_server.environment
    (tmp_path / ".conveyor").mkdir()
    (tmp_path / ".conveyor" / "settings.json").write_text(
        json.dumps({"objects_url": f"s3://{BUCKET}/{s3_server.prefix()}/objects", "api_port": 1, "public_port": 2})
    )
    write(tmp_path / "images", {"a": b"1", "b/c": b"2"})
    data(tmp_path, environment, "add", "images", "images", "--reason", "first")
    write(tmp_path / "images", {"a": b"other"})
    assert "1 changed, 1 deleted" in data(tmp_path, environment, "status", code=1)
    data(tmp_path, environment, "add", "images")
    data(tmp_path, environment, "checkout", "images@v1", "--to", "old")
    assert read(tmp_path / "old") == {"a": b"1", "b/c": b"2"}
    data(tmp_path, environment, "rm", "images@v1")
    assert "removed, but within the grace time" in data(tmp_path, environment, "gc", "--dry-run")
    assert [path.name for path in (tmp_path / ".conveyor" / "data").iterdir()] == ["cache"]
