"""What dies comes back, what was changed by hand is put right, and both are on record."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from e2e.system import System, Traffic

from conveyor.app import processes
from conveyor.cli.doctor import patient
from conveyor.delivery.doctor import examine
from conveyor.domain.finding import Finding, Health, sound
from conveyor.effects import installed
from conveyor.effects.processes import CONTROL, ENVOY, ProcessInfo, Program
from conveyor.stores.tracking import health

from . import small

CLIENTS = 8


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("heal"))
    with pytest.MonkeyPatch.context() as patch:
        # Of this process and what it starts; whoever edits the code meanwhile does not make it another version.
        patch.setattr(installed, "stamp", lambda: "1.0.0+test")
        try:
            small.start(made)
            made.wait(made.settled, "rest")
            yield made
        finally:
            made.stop()


def _service(system: System) -> dict[str, ProcessInfo]:
    return {name: info for name, info in processes(system.settings).list().items() if "service.web" in name}


def _kill(system: System, name: str) -> int:
    pid = processes(system.settings).list()[name].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def _until(check: Callable[[], bool], what: str, seconds: float = 60) -> float:
    """How long it took."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.01)
    return time.monotonic() - began


def _mended(system: System, position: int, subject: str) -> None:
    system.wait(lambda: any(e.subject == subject for e in system.events(position, "system.mended")), subject)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_a_replica_dies_under_traffic(system: System) -> None:
    """With a handler that takes 0.2 s, so that there is something in flight to be lost."""
    system.service("slow", "    import time\n\n    time.sleep(0.2)\n    return 200, VERSION\n")
    system.wait_live(system.push("Slow"), 120)
    system.wait(lambda: len(_service(system)) == 2, "the old version to be gone")
    position, supervisor = system.newest(), processes(system.settings)
    first, second = sorted(_service(system))
    with Traffic(system.settings.public_port, CLIENTS).running() as traffic:
        system.wait(lambda: sum(traffic.good.values()) > 50, "traffic")
        time.sleep(0.1)  # the clients keep step: now they all wait for their answers
        dead = _kill(system, first)
        system.wait(lambda: (supervisor.list()[first].pid or dead) != dead, "the replica")
        seen = sum(traffic.good.values())
        system.wait(lambda: sum(traffic.good.values()) > seen + 100, "traffic after it")
    failed = sum(traffic.bad.values())
    print(f"killed one of two replicas: {sum(traffic.good.values())} good, {failed} failed {dict(traffic.causes)}")
    assert failed <= CLIENTS, traffic.causes  # what was in flight, at the most
    died = system.event(position, "process.died")
    assert died.subject == f"process/{first}"
    assert died.data["cause"] == "terminated by SIGKILL"

    # Again and again: told once a minute at the most, and it comes back every time.
    position = system.newest()
    for _ in range(4):
        dead = _kill(system, second)
        system.wait(lambda dead=dead: (supervisor.list()[second].pid or dead) != dead, "the replica", 30)
    system.event(position, "process.died")
    time.sleep(2)
    assert len([e for e in system.events(position, "process.died") if e.subject == f"process/{second}"]) == 1
    system.wait(lambda: {info.state for info in _service(system).values()} == {"RUNNING"}, "both replicas")


def test_what_was_changed_by_hand_is_mended(system: System) -> None:
    supervisor, home = processes(system.settings), system.settings.home
    first, _ = sorted(_service(system))
    with Traffic(system.settings.public_port, CLIENTS).running() as traffic:
        position = system.newest()
        supervisor.stop(first)
        took = {"stopped": _until(lambda: supervisor.list()[first].state == "STOPPED", "stopped")}
        took["stopped"] = _until(lambda: supervisor.list()[first].up, "started again")
        _mended(system, position, f"process/{first}")

        pids = {name: info.pid for name, info in _service(system).items()}
        program = home / "run" / "programs" / f"{first}.conf"
        program.unlink()
        took["program file"] = _until(program.exists, "the program file")

        for name, damage in (("rds", None), ("cds", "{"), ("rds", '{"resources": []}'), ("lds", None)):
            path, position = home / "envoy" / f"{name}.json", system.newest()
            right = path.read_bytes()
            if damage is None:
                path.unlink()
            else:
                path.write_text(damage)
            took[f"{name} {damage}"] = _until(lambda: path.exists() and path.read_bytes() == right, f"{name} is back")  # noqa: B023
            if name != "lds":
                _mended(system, position, f"proxy/{name}")

        position = system.newest()
        stray = (sys.executable, "-c", "import time; time.sleep(600)")
        supervisor.ensure(Program("stray", stray, home, {}, home / "logs" / "processes" / "stray.log"))
        took["stray"] = _until(lambda: "stray" not in supervisor.list(), "the stray process ends")
        _mended(system, position, "process/stray")
    print("mended after seconds:", {what: round(seconds, 1) for what, seconds in took.items()})
    # An rds file that says "no routes" is obeyed until it is mended; nothing else may cost a request.
    assert set(traffic.causes) <= {"status 404", "status 503"}, traffic.causes
    print("failed meanwhile:", dict(traffic.causes), "good:", sum(traffic.good.values()))
    assert {name: info.pid for name, info in _service(system).items()} == pids
    assert _answers(system.settings.public_port)


def test_the_proxy_dies(system: System) -> None:
    supervisor, position = processes(system.settings), system.newest()
    pids = {name: info.pid for name, info in _service(system).items()}
    with Traffic(system.settings.public_port, CLIENTS).running() as traffic:
        system.wait(lambda: sum(traffic.good.values()) > 50, "traffic")
        dead = _kill(system, ENVOY)
        away = _until(lambda: _answers(system.settings.public_port), "the proxy")
        assert supervisor.list()[ENVOY].pid != dead
        seen = sum(traffic.good.values())
        system.wait(lambda: sum(traffic.good.values()) > seen + 50, "traffic after it")
    print(f"killed the proxy: back after {away:.2f} s; failed: {dict(traffic.causes)}")
    told = system.event(position, "proxy.restarted")
    assert told.data["cause"] == "terminated by SIGKILL"
    assert told.data["lost"] is not None
    assert {name: info.pid for name, info in _service(system).items()} == pids


def _doctor(system: System, *, fix: bool = False) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(patient(system.settings.home), fix=fix)}


def _ill(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: each.found for name, each in findings.items() if each.health is not Health.WELL and name != "disk"}


def test_the_doctor_explains_and_repairs(system: System) -> None:
    settings, supervisor = system.settings, processes(system.settings)
    deadline = time.monotonic() + 30
    while ill := _ill(_doctor(system)):
        assert time.monotonic() < deadline, ill
    command = [sys.executable, "-c", "from conveyor.cli.quick import main; main()", "doctor", "--json"]
    env = os.environ | {"CONVEYOR_HOME": str(settings.home)}
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    told = {each["check"]: each for each in json.loads(said.stdout)}
    assert set(told) == set(_doctor(system)), said.stderr
    assert told["version"]["health"] == "wrong", "the command is another Conveyor than the one that was patched above"
    assert said.returncode == 1

    # What crashes leave, and a careless hand.
    old = time.time() - 7200
    half, stale = settings.envs / "half", settings.work / "0123456789ab"
    for folder in (half, stale):
        folder.mkdir()
        os.utime(folder, (old, old))
    torn = settings.home / ".settings.json.4194303.0a1b2c3d"
    torn.write_text("{")
    settings.token_file.chmod(0o644)
    supervisor.stop(CONTROL)
    system.wait(lambda: supervisor.list()[CONTROL].state == "STOPPED", "the control plane to stop")
    found = _doctor(system)
    assert set(_ill(found)) >= {"environments", "work folders", "temporary files", "permissions", "control", "version"}
    assert found["records"].health is Health.WELL
    assert all(each.why and each.todo for name, each in found.items() if name in _ill(found))
    assert not sound(tuple(found.values()))

    found = _doctor(system, fix=True)
    assert not _ill(found), _ill(found)
    assert found["control"].fixed
    assert not half.exists()
    assert not stale.exists()
    assert not torn.exists()
    assert settings.token_file.stat().st_mode & 0o777 == 0o600

    # supervisord is killed: everything still runs, and nobody keeps it.
    os.kill(supervisor.pid(), signal.SIGKILL)
    system.wait(lambda: not supervisor.alive(), "supervisord to be gone")
    assert _answers(settings.public_port)
    assert {"supervisor", "control", "proxy", "processes", "orphans", "ports"} <= set(_ill(_doctor(system)))
    found = _doctor(system, fix=True)
    assert not _ill(found), _ill(found)
    system.wait(lambda: _answers(settings.public_port), "an answer")

    # Bytes that somebody changed.
    assert "tracking" not in _ill(found)
    supervisor.stop(CONTROL)
    system.wait(lambda: supervisor.list()[CONTROL].state == "STOPPED", "the control plane to stop")
    health.checkpoint(settings.tracking)
    whole = settings.tracking.read_bytes()
    settings.tracking.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert "the database of tracked runs is damaged" in _ill(_doctor(system))["tracking"]
    settings.tracking.write_bytes(whole)
    assert not _ill(_doctor(system, fix=True))
    wrong = settings.objects / "ab" / ("cd" * 31)
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes(b"other bytes")
    assert _doctor(system)["objects"].health is Health.WRONG
    wrong.unlink()
