"""What ended, as supervisord's log tells it; and who is gone, as the kernel tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conveyor.domain.death import Death
from conveyor.effects.deaths import Deaths
from conveyor.effects.identity import gone, owner
from conveyor.effects.orphans import end, orphans

LINES = """\
2026-01-01 10:00:00,001 INFO spawned: 'web-0' with pid 10
2026-01-01 10:00:01,001 INFO success: web-0 entered RUNNING state, process has stayed up for > than 1 seconds
2026-01-01 10:00:02,001 WARN exited: web-0 (terminated by SIGKILL; not expected)
2026-01-01 10:00:03,001 INFO stopped: web-1 (terminated by SIGTERM)
2026-01-01 10:00:04,001 INFO exited: job (exit status 0; expected)
"""


def test_the_log_is_read_on_also_when_it_was_rotated(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    deaths = Deaths(log)
    assert deaths.since(0) == ([], 0)
    log.write_text(LINES)
    found, position = deaths.since(0)
    assert found == [Death("web-0", "terminated by SIGKILL"), Death("job", "exit status 0")]
    assert position == deaths.end()

    late = "2026-01-01 10:00:05,001 WARN exited: web-2 (exit status 3; not expected)\n"
    with log.open("a") as file:
        file.write(late[:30])
    assert deaths.since(position) == ([], position), "a line that is being written waits"
    with log.open("a") as file:
        file.write(late[30:])
    log.rename(tmp_path / "supervisord.log.1")
    log.write_text("2026-01-01 10:00:06,001 WARN exited: web-3 (exit status 4; not expected)\n")
    found, position = deaths.since(position)
    assert found == [Death("web-2", "exit status 3"), Death("web-3", "exit status 4")]
    assert deaths.since(position) == ([], position)


def test_an_owner_is_gone_once_its_process_is() -> None:
    assert not gone(owner())
    assert not gone("elsewhere/1/abc")
    code = "from conveyor.effects.identity import owner; print(owner(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert not gone(name)
        process.kill()
        process.wait()
        assert gone(name)


def test_what_carries_the_mark_and_has_no_keeper_is_an_orphan() -> None:
    mark = "SUPERVISOR_SERVER_URL=unix:///nowhere/of/this/test.sock"
    name, _, value = mark.partition("=")
    code = "import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], env={name: value}) as process:
        assert orphans(mark, process.pid) == []
        assert orphans(mark, None) == [process.pid]
        end([process.pid])
        assert process.wait() != 0
        assert orphans(mark, None) == []
