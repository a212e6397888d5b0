"""Commands that are started with secrets: real processes, as supervisord and the engine start them."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conveyor.effects.jobs import Job, JobPhase, cancel, observe, start
from conveyor.effects.processes import Processes, Program
from conveyor.effects.sealed import wrapped
from conveyor.effects.vault import VARIABLE, open_vault

VALUE = "s3cr3t-väl-ue"
PEM = "-----BEGIN X-----\nQUJDREVGRw\n-----END X-----"
ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def eventually(check: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def sealed(home: Path, env: dict[str, str] | None = None) -> Path:
    vault = open_vault(home, env or {}, make=True)
    secrets = {name: [f"a/b/{name}@1", vault.seal(value, f"a/b/{name}@1")] for name, value in given().items()}
    path = home / "sealed.json"
    path.write_text(json.dumps({"home": str(home), "secrets": secrets}))
    return path


def given() -> dict[str, str]:
    return {"KEY": VALUE, "PEM": PEM}


def maskers(home: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"conveyor.effects.sealed" in line and str(home).encode() in line:
            found.append(int(entry.name))
    return found


def run(home: Path, script: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = wrapped(str(sealed(home)), ("/bin/sh", "-c", script), str(home / "log"))
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload,no-any-return]


def test_the_command_has_the_values_and_its_output_does_not(tmp_path: Path) -> None:
    script = """
        test "$KEY" = s3cr3t-väl-ue || exit 9
        echo "out $KEY$KEY"; printf s3cr3; sleep 0.3; printf 't-väl-ue end\\n'; echo "err $KEY" >&2
        echo "$PEM"; echo "$CONVEYOR_SECRETS"; exit 7
    """
    done = run(tmp_path, script)
    assert done.returncode == 7
    assert done.stdout == "out ******\n*** end\n***\nKEY PEM\n"
    assert done.stderr == "err ***\n"
    eventually(lambda: not maskers(tmp_path))


def test_signals_exit_codes_and_limits_are_the_commands_own(tmp_path: Path) -> None:
    command = wrapped(str(sealed(tmp_path)), ("/bin/sh", "-c", "echo $$; exec sleep 100"), str(tmp_path / "log"))
    with subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
    trap = "trap 'echo bye $KEY; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    command = wrapped(str(sealed(tmp_path)), ("/bin/sh", "-c", trap), str(tmp_path / "log"))
    with subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == "bye ***\n"
        assert process.wait(30) == 5
    pipe = run(tmp_path, "yes | head -1; kill -PIPE $$")  # a signal that Python ignores and the command must not
    assert pipe.returncode == -signal.SIGPIPE
    eventually(lambda: not maskers(tmp_path))


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    missing = wrapped(str(sealed(tmp_path)), ("no-such-program",), str(tmp_path / "log"))
    done = subprocess.run(missing, env=ENV, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "cannot start no-such-program" in done.stderr) == (127, True)
    (tmp_path / "secret.key").unlink()
    done = subprocess.run(missing, env=ENV, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "the key of the secrets" in done.stderr
    assert "backup" in done.stderr


def test_the_last_words_reach_the_log_when_the_reader_left(tmp_path: Path) -> None:
    """supervisord closes its end of the pipe as soon as the command has ended."""
    log = tmp_path / "log"
    script = "echo first $KEY; sleep 0.5; echo last $KEY"
    command = wrapped(str(sealed(tmp_path)), ("/bin/sh", "-c", script), str(log))
    with subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "first ***\n"
        process.stdout.close()
        assert process.wait(30) == 0
    eventually(lambda: log.exists() and log.read_text() == "last ***\n")


def test_a_job_ends_when_all_of_its_output_is_in_the_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    flood = 'i=0; while [ $i -lt 3000 ]; do echo "$i $KEY"; i=$((i+1)); done; (sleep 100 &) ; exit 3'
    job = Job(cwd=tmp_path, log=tmp_path / "out.log", shell=flood, env=ENV, sealed=str(sealed(home)))
    start(tmp_path / "job", job)
    eventually(lambda: observe(tmp_path / "job").phase is JobPhase.FINISHED)
    result = observe(tmp_path / "job").result
    assert result is not None
    assert (result.exit_code, result.error) == (3, None)
    assert job.log.read_text().splitlines() == [f"{number} ***" for number in range(3000)]
    slow = Job(cwd=tmp_path, log=tmp_path / "slow.log", shell="echo $KEY; sleep 100", env=ENV, sealed=str(sealed(home)))
    start(tmp_path / "slow", slow)
    eventually(lambda: slow.log.exists() and slow.log.read_text() == "***\n")
    cancel(tmp_path / "slow")
    eventually(lambda: observe(tmp_path / "slow").phase is JobPhase.FINISHED)
    cancelled = observe(tmp_path / "slow").result
    assert cancelled is not None
    assert cancelled.cancelled
    eventually(lambda: not maskers(home))
    assert VALUE.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_key_that_is_nowhere_on_disk_reaches_only_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = base64.b64encode(b"q" * 32).decode()
    monkeypatch.setenv(VARIABLE, key)
    file = sealed(tmp_path, {VARIABLE: key})
    show = f'echo "[$KEY] [${{{VARIABLE}}}]"; sleep 100'
    processes = Processes(tmp_path / "run", env={VARIABLE: key})
    log = tmp_path / "logs"
    command = wrapped(str(file), ("/bin/sh", "-c", show), str(log / "with.log"))
    try:
        processes.start_supervisor(
            [
                Program("with", command, tmp_path, ENV, log / "with.log", keyed=True),
                Program("without", ("/bin/sh", "-c", show), tmp_path, ENV, log / "without.log"),
            ]
        )
        eventually(lambda: (log / "with.log").exists() and (log / "with.log").read_text() == "[***] []\n")
        eventually(lambda: (log / "without.log").exists() and (log / "without.log").read_text() == "[] []\n")
        pid = processes.list()["with"].pid
        assert pid is not None
        processes.remove("with")
        eventually(lambda: not maskers(tmp_path))
    finally:
        processes.shutdown()
    job = Job(cwd=tmp_path, log=tmp_path / "job.log", shell=show.replace("sleep 100", ":"), env=ENV, sealed=str(file))
    start(tmp_path / "job", job)
    eventually(lambda: observe(tmp_path / "job").phase is JobPhase.FINISHED)
    assert job.log.read_text() == "[***] []\n"
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.encode() not in everything
