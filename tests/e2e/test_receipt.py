"""Receipts of real rollouts: what clients counted is what the proxy counted, across a kill of the control plane."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from conveyor.cli.receipt import lines
from conveyor.domain.release_view import ReleaseView
from conveyor.errors import NotFound

from .system import System, Traffic

pytestmark = pytest.mark.timeout(600)

CONFIG = """
[project]
name = "tiny"

[service.web]
run = "python -m app"
health = "/healthz"

[service.web.rollout]
steps = [20, 100]
hold = "3s"
watch = "2s"
drain = "2s"
abort = { min_requests = 5 }

[environment.production]
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A service without models: quick to build."""
    system = System(tmp_path_factory.mktemp("receipt"))
    try:
        system.start()
        system.write("conveyor.toml", CONFIG)
        system.write("requirements.txt", "")
        get = "    def do_GET(self) -> None:\n"
        system.replace("app/__main__.py", get, f'{get}        if self.path == "/slow":\n            time.sleep(300)\n')
        system.replace("app/__main__.py", "import os\n", "import os\nimport time\n")
        system.wait_live(system.push("First version"), 180)
        yield system
    finally:
        system.stop()


def closed(system: System, number: int) -> ReleaseView:
    def found() -> ReleaseView | None:
        try:
            view = system.client.release("tiny", "production", number)
        except NotFound:
            return None  # it is still built
        return view if view.receipt is not None and view.receipt.ended is not None else None

    view: ReleaseView = system.wait(found, f"the receipt of release {number}", 180)
    print("\n".join(lines(view)))
    return view


def test_a_receipt_counts_what_the_clients_counted(small: System) -> None:
    traffic = Traffic(small.settings.public_port)
    with traffic.running():
        time.sleep(2)  # there is a time before
        small.service("two")
        commit = small.push("Second version")
        small.wait(lambda: _phase(small) == "canary", "the canary", 180)
        os.kill(_control(small), signal.SIGKILL)  # supervisord starts it again
        small.wait_live(commit, 180)
        view = closed(small, 2)
    receipt = view.receipt
    assert receipt is not None
    assert (view.state, receipt.result, receipt.failed, receipt.cut) == ("live", "live", 0, 0)
    assert (sum(traffic.bad.values()), receipt.restarts, receipt.unrouted) == (0, 0, 0)
    old, new = receipt.versions
    counted = sum(line.outcomes.ended for line in (old.before, old.during, old.after, new.during, new.after))
    assert 0 < counted <= sum(traffic.good.values()) + 5, "all clients' requests up to the end of the rollout, no more"
    assert new.during.outcomes.ended > 0
    assert new.after.p99_ms is not None
    assert {phase.phase for phase in receipt.phases} >= {"prepare", "start", "canary", "live", "drain"}
    assert all(phase.ended for phase in receipt.phases)
    assert receipt.switch_ms is not None
    told = small.event(0, "rollout.receipt", release=2)
    assert (told.data["requests"], told.data["failed"]) == (receipt.outcomes.ended, 0)
    assert len(small.events(0, "rollout.receipt")) == 2, "of each release, one"


def test_a_bad_release_has_the_failures_on_its_own_side(small: System) -> None:
    traffic = Traffic(small.settings.public_port)
    with traffic.running():
        small.service("three", "    return 500, VERSION\n")
        small.push("A bad version")
        view = closed(small, 3)
    receipt = view.receipt
    assert receipt is not None
    assert (view.state, receipt.result) == ("rolled back", "rolled back")
    old, new = receipt.versions
    errors = new.during.outcomes.errors + new.after.outcomes.errors
    assert errors == receipt.failed == sum(traffic.bad.values()) > 0
    assert old.during.outcomes.failed == 0
    assert view.why == receipt.reason != ""
    dora = small.client.dora("tiny")
    assert (dora.code.deployments, dora.code.tried, dora.code.failed) == (2, 3, 1)
    assert dora.code.restore.count == 1
    assert dora.code.lead_time.count == 2
    assert dora.models.deployments == 0


def test_the_proxy_dies_in_the_middle(small: System) -> None:
    """What was in flight is told, and nothing that was counted before is forgotten."""
    with Traffic(small.settings.public_port, 4).running():
        small.service("four")
        small.push("Fourth version")
        small.wait(lambda: _phase(small) == "canary", "the canary", 180)
        time.sleep(1)
        stop = threading.Event()
        streams = [threading.Thread(target=_hang, args=(small.settings.public_port, stop)) for _ in range(3)]
        for stream in streams:
            stream.start()
        time.sleep(1.5)  # ten looks, or a few on a busy machine
        before = small.client.release("tiny", "production", 4).receipt
        os.kill(_process(small, "envoy"), signal.SIGKILL)
        stop.set()
        for stream in streams:
            stream.join()
        receipt = closed(small, 4).receipt
    assert before is not None
    assert receipt is not None
    assert receipt.restarts == 1
    assert receipt.lost >= 3, "the slow requests"
    ended = {version.cluster: version.during.outcomes.ended for version in receipt.versions}
    assert all(ended[v.cluster] >= v.during.outcomes.ended for v in before.versions)


def test_what_is_in_flight_when_its_process_is_told_to_end_is_counted_as_cut(small: System) -> None:
    stop = threading.Event()
    stream = threading.Thread(target=_hang, args=(small.settings.public_port, stop))
    stream.start()
    with Traffic(small.settings.public_port, 2).running():
        small.service("five")
        small.push("Fifth version")
        receipt = closed(small, 5).receipt
    stop.set()
    stream.join()
    assert receipt is not None
    assert [version.unfinished for version in receipt.versions] == [1, 0]
    assert (receipt.cut, receipt.failed) == (1, 0)


def _hang(port: int, stop: threading.Event) -> None:
    """A request that is not answered for a long time."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as plug:
        plug.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        stop.wait(180)


def _phase(system: System) -> str:
    environment = system.environment()
    return str(environment.rollout.phase) if environment and environment.rollout else ""


def _control(system: System) -> int:
    return _process(system, "control")


def _process(system: System, name: str) -> int:
    pid = next(process.pid for process in system.client.status().processes if process.name == name)
    assert pid is not None
    return pid
