"""Another Conveyor takes over while a rollout is in flight: only the control plane changes, and no request fails."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from datetime import timedelta

import pytest
from e2e.system import System, Traffic

from conveyor.app import processes
from conveyor.cli import lifecycle
from conveyor.domain import requests
from conveyor.domain.retention import Kind
from conveyor.domain.rollout import Phase
from conveyor.effects import installed
from conveyor.errors import Refused

from . import small


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("upgrade"))
    try:
        small.start(made)
        yield made
    finally:
        made.stop()


def _pids(system: System) -> dict[str, int | None]:
    return {name: info.pid for name, info in processes(system.settings).list().items() if info.up}


@pytest.mark.timeout(400)
def test_upgrade_in_the_middle_of_a_rollout(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    home = system.settings.home
    with Traffic(system.settings.public_port).running() as traffic:
        system.service("2")
        commit = system.push("Version 2")

        def canary() -> bool:
            environment = system.environment()
            rollout = environment.rollout if environment else None
            return rollout is not None and rollout.phase is Phase.CANARY

        system.wait(canary, "the canary", 120)
        before = _pids(system)
        position = system.newest()
        monkeypatch.setattr(installed, "stamp", lambda: "9.9.9+another")
        # What a newer version, called from another shell, would write into every launch script.
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/another/place")
        done = lifecycle.upgrade(home)
        print(f"upgraded in {done.seconds} s")
        assert done.replaced
        assert done.after == "9.9.9+another"
        assert done.before
        assert done.rollouts == ("tiny/production/2",)
        assert not done.changed
        after = _pids(system)
        assert after.pop("control") != before.pop("control")
        assert after == before
        assert lifecycle.control_stamp(processes(system.settings).list()) == "9.9.9+another"
        system.wait_live(commit, 120)
        assert not lifecycle.upgrade(home).replaced
        # Everything here is live or the one before; the trees of both stay, however short the grace time.
        plan = system.client.collect(requests.Collect(dry_run=False, grace=timedelta(0)))
        assert {v.item.kind for v in plan.verdicts if not v.keep} <= {Kind.PROCESS_LOG, Kind.WORK}
        assert len([v for v in plan.verdicts if v.keep and v.item.kind is Kind.TREE]) == 2

        # A reboot is rougher: supervisord is killed, and with it all that it ran. The same ports come back.
        lost = processes(system.settings).pid()
    assert not traffic.bad, traffic.causes
    assert set(traffic.texts) == {"1", "2"}
    assert not system.events(position, "rollout.aborted", "process.died", "proxy.restarted", "system.error")

    os.kill(lost, signal.SIGKILL)
    again = lifecycle.up(home)
    assert again == system.settings
    with Traffic(again.public_port, clients=2).running() as traffic:
        system.wait(lambda: traffic.texts["2"] > 5, "answers after the reboot", 60)
    assert system.live() == (commit, {})

    lifecycle.down(home)
    with sqlite3.connect(system.settings.database) as records:
        records.execute("INSERT INTO migrations (number) VALUES (999)")
    with pytest.raises(Refused, match="newer Conveyor"):
        lifecycle.up(home)
    with sqlite3.connect(system.settings.database) as records:
        records.execute("DELETE FROM migrations WHERE number = 999")
