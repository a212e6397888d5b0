"""Against real processes; the control plane is killed at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conveyor.effects import child, identity
from conveyor.effects.jobs import Job, JobPhase, JobState, cancel, end, observe, start
from conveyor.errors import InputRejected


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def finished(job_dir: Path) -> JobState:
    eventually(lambda: observe(job_dir).phase in (JobPhase.FINISHED, JobPhase.LOST))
    return observe(job_dir)


def job(tmp_path: Path, shell: str, **more: float) -> Job:
    env = {"PATH": os.environ["PATH"], "WHO": "a 'b' %"}
    return Job(cwd=tmp_path, log=tmp_path / "logs" / "out.log", shell=shell, env=env, **more)


def test_a_job_runs_once_with_its_environment_and_leaves_its_figures(tmp_path: Path) -> None:
    one = job(tmp_path, 'echo "$WHO"; echo err >&2; pwd; echo x >> ran; sleep 0.3; exit 3')
    assert observe(tmp_path / "j").phase is JobPhase.ABSENT
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: start(tmp_path / "j", one), range(20)))
    state = finished(tmp_path / "j")
    start(tmp_path / "j", one)
    assert state.result is not None
    assert (state.result.exit_code, state.result.ok, state.result.signal) == (3, False, None)
    assert state.result.max_rss_mb > 0
    assert state.result.ended > state.result.started
    assert one.log.read_text() == f"a 'b' %\nerr\n{tmp_path.resolve()}\n"
    time.sleep(0.2)
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_command_gives_way_to_what_answers_requests(tmp_path: Path) -> None:
    start(tmp_path / "j", job(tmp_path, "nice; cat /proc/self/autogroup 2>/dev/null || true"))
    finished(tmp_path / "j")
    niceness, *group = (tmp_path / "logs" / "out.log").read_text().splitlines()
    assert int(niceness) == min(19, os.nice(0) + child.YIELDS)
    assert all(line.endswith(f"nice {child.YIELDS}") for line in group)


def test_argv_and_what_cannot_start(tmp_path: Path) -> None:
    plain = Job(cwd=tmp_path, log=tmp_path / "log", argv=(sys.executable, "-c", "print('hi')"))
    start(tmp_path / "good", plain)
    good = finished(tmp_path / "good").result
    assert good is not None
    assert good.ok
    start(tmp_path / "none", Job(cwd=tmp_path, log=tmp_path / "log", argv=("/no/such/program",)))
    none = finished(tmp_path / "none").result
    assert none is not None
    assert none.exit_code == 127
    assert "/no/such/program" in (tmp_path / "log").read_text()
    with pytest.raises(InputRejected):
        start(tmp_path / "both", Job(cwd=tmp_path, log=tmp_path / "log"))


def test_the_timeout_ends_the_whole_group_also_one_deaf_to_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path / "j", job(tmp_path, "sleep 600 & echo $! > grandchild; sleep 600", timeout_seconds=0.5))
    deaf = "trap '' TERM; (trap '' TERM; sleep 600) & echo $! > deaf; wait; sleep 600"
    start(tmp_path / "d", job(tmp_path, deaf, timeout_seconds=0.3))
    result = finished(tmp_path / "j").result
    assert result is not None
    assert (result.timed_out, result.signal, result.exit_code) == (True, signal.SIGTERM, 128 + signal.SIGTERM)
    assert identity.identity(int((tmp_path / "grandchild").read_text())) is None
    result = finished(tmp_path / "d").result
    assert result is not None
    assert (result.timed_out, result.signal) == (True, signal.SIGKILL)
    eventually(lambda: identity.identity(int((tmp_path / "deaf").read_text())) is None)


def test_cancel_before_during_and_after(tmp_path: Path) -> None:
    running = job(tmp_path, "echo $$ > pid; sleep 600")
    start(tmp_path / "j", running)
    eventually(lambda: (tmp_path / "pid").exists())
    assert observe(tmp_path / "j").phase is JobPhase.RUNNING
    cancel(tmp_path / "j")
    result = finished(tmp_path / "j").result
    assert result is not None
    assert result.cancelled
    assert not result.timed_out
    cancel(tmp_path / "j")

    cancel(tmp_path / "never")
    start(tmp_path / "never", job(tmp_path, "touch it-ran"))
    result = finished(tmp_path / "never").result
    assert result is not None
    assert result.cancelled
    time.sleep(0.1)
    assert not (tmp_path / "it-ran").exists()


def test_a_killed_wrapper_is_lost_and_nothing_of_it_goes_on(tmp_path: Path) -> None:
    start(tmp_path / "j", job(tmp_path, "sleep 600 & echo $! > grandchild; echo $$ > pid; sleep 600"))
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    wrapper = observe(tmp_path / "j").pid
    assert wrapper is not None
    os.kill(wrapper, signal.SIGKILL)
    eventually(lambda: identity.identity(int((tmp_path / "pid").read_text())) is None)
    assert observe(tmp_path / "j").phase is JobPhase.LOST
    assert identity.identity(int((tmp_path / "grandchild").read_text())) is None
    # A reused pid is not the job: this very test's pid, with another start time.
    claim = json.loads((tmp_path / "j" / "claim").read_bytes())
    (tmp_path / "j" / "claim").write_text(json.dumps({**claim, "pid": os.getpid()}))
    assert observe(tmp_path / "j").phase is JobPhase.LOST
    assert child.identity(os.getpid()) == identity.identity(os.getpid())


STARTER = """
import sys
from pathlib import Path
from conveyor.effects.jobs import Job, start
root = Path(sys.argv[1])
command = 'mkdir lock || echo twice >> wrong; echo x >> ran; sleep 0.2; rmdir lock'
print('go', flush=True)
for number in range(1000):
    start(root / 'j', Job(cwd=root, log=root / 'log', shell=command, env={'PATH': '/usr/bin:/bin'}))
"""


def test_kill_nine_of_the_starter_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(8):
        root = tmp_path / str(number)
        root.mkdir()
        starter = subprocess.Popen([sys.executable, "-c", STARTER, str(root)], stdout=subprocess.PIPE)
        assert starter.stdout is not None
        starter.stdout.readline()
        time.sleep(chance.random() * 0.06)
        starter.kill()
        starter.wait()
        starter.stdout.close()
        if observe(root / "j").phase is JobPhase.ABSENT:
            again = Job(cwd=root, log=root / "log", shell="echo x >> ran", env={"PATH": "/usr/bin:/bin"})
            start(root / "j", again)
        state = finished(root / "j")
        assert state.phase is JobPhase.FINISHED, "the job outlives who started it"
        assert (root / "ran").read_text() == "x\n"
        assert not (root / "wrong").exists()


def test_a_job_that_answers_to_nothing_is_ended_with_its_command(tmp_path: Path) -> None:
    folder, log = tmp_path / "job", tmp_path / "log"
    start(folder, Job(cwd=tmp_path, log=log, shell="echo $$; sleep 600", env=dict(os.environ)))
    eventually(lambda: log.exists() and log.read_text().endswith("\n"))
    command, wrapper = int(log.read_text()), observe(folder).pid
    assert wrapper is not None
    os.kill(wrapper, signal.SIGSTOP)
    cancel(folder)
    assert observe(folder).phase is JobPhase.RUNNING
    end(folder)
    eventually(lambda: observe(folder).phase is JobPhase.LOST)
    eventually(lambda: identity.identity(command) is None)
