"""`conveyor demo` to its end, on four simulated weeks: it judges itself, and exits with 0 when all held."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(900)
def test_the_story_holds(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [str(Path(sys.executable).with_name("conveyor")), "demo", "--weeks", "4", "--report", str(report)]
    done = subprocess.run(
        [*command, "--workdir", str(tmp_path / "demo")], capture_output=True, text=True, check=False, timeout=800
    )
    facts = json.loads(report.read_text())
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert all(held for _, held in facts["expectations"])
    assert facts["requests_sent"] > 1000
    assert facts["requests_failed"] == 0
    assert 0 < facts["requests_failed_bad_push"] <= facts["requests_answered_by_bad_push"]
    assert [week["week"] for week in facts["weeks"]] == [1, 2, 3, 4]
    assert facts["retrains"]
    assert len(facts["rollbacks"]) >= 2  # the two bad pushes; on a busy machine a slow canary may be a third
    assert facts["killed"]["in_flight"]
    assert (tmp_path / "demo" / "report.html").is_file()
