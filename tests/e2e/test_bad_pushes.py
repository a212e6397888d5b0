"""Pushes that are bad in many ways: what became of the users' requests, what the pusher was told, and that each ends.

The table is printed at the end (`pytest -s`), and is what docs/bad-pushes.md shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .orders import STEP, Orders
from .system import Traffic

CLIENTS = 8


@dataclass(frozen=True)
class Bad:
    """`edits`: file, old, new. `event` ends it and `says` what the pusher is told; `reached`: users met it."""

    kind: str
    edits: tuple[tuple[str, str, str], ...]
    event: str
    says: str
    reached: bool = False


DROP = f'{STEP}, "alter table orders drop column customer"'
KINDS = (
    Bad(
        "requirements that cannot be installed",
        (("requirements.txt", "", "no-such-package-of-conveyor==9.9\n"),),
        "run.failed",
        "environment",
    ),
    Bad("tests fail", (("tests.py", "1 + 1, 2", "1 + 1, 3"),), "run.failed", "test:web"),
    Bad("conveyor.toml with a typo", (("conveyor.toml", "migrate =", "migrat ="),), "project.config_invalid", "migrat"),
    Bad("conveyor.toml is missing", (("conveyor.toml", "*", ""),), "project.config_invalid", "conveyor.toml"),
    Bad(
        "a secret that nobody has set",
        (("conveyor.toml", "memory_mb = 150", 'memory_mb = 150\nsecrets = ["PAYMENT_KEY"]'),),
        "release.waiting",
        "PAYMENT_KEY",
    ),
    Bad(
        "exits at start",
        (("web.py", "def healthy():", "import payments\n\n\ndef healthy():"),),
        "rollout.rolled_back",
        "No module named 'payments'",
    ),
    Bad(
        "hangs at start",
        (("web.py", "def main():\n", "def main():\n    time.sleep(3600)\n"),),
        "rollout.rolled_back",
        "nothing listens on $PORT",
    ),
    Bad("wrong port", (("web.py", 'int(os.environ["PORT"])', "0"),), "rollout.rolled_back", "not healthy after 8 s"),
    Bad(
        "health check on another path",
        (("web.py", '"/healthz"', '"/health"'), ("web.py", "status, text = 200, orders()", 'status, text = 404, ""')),
        "rollout.rolled_back",
        "health",
    ),
    Bad(
        "health check goes on and off",
        (("web.py", "    return True\n", "    return int(time.monotonic() - BORN) % 4 < 2\n"),),
        "rollout.rolled_back",
        "health check",
        reached=True,
    ),
    Bad(
        "crashes after five seconds",
        (("web.py", "def main():\n", "def main():\n    threading.Timer(5, os._exit, (3,)).start()\n"),),
        "rollout.rolled_back",
        "ended",
        reached=True,
    ),
    Bad(
        "answers 500",
        (("web.py", "status, text = 200, orders()", 'status, text = 500, "no"'), ("smoke.py", "assert", "#")),
        "rollout.rolled_back",
        "5xx",
        reached=True,
    ),
    Bad(
        "ten times as slow",
        (("web.py", "status, text = 200, orders()", "time.sleep(0.2); status, text = 200, orders()"),),
        "rollout.rolled_back",
        "took more than",
        reached=True,
    ),
    Bad(
        "uses more memory than it may",
        (("web.py", "    return True\n", "    LEAK.append(bytearray(60_000_000)); return True\n\n\nLEAK = []\n"),),
        "rollout.rolled_back",
        "MB of memory",
        reached=True,
    ),
    Bad(
        "migration fails half way",
        (
            (
                "migrate.py",
                STEP,
                f'{STEP}, "alter table orders add column a text; alter table missing add column b text"',
            ),
        ),
        "rollout.rolled_back",
        "no such table: missing",
    ),
    Bad("migration breaks live code", (("migrate.py", STEP, DROP),), "rollout.rolled_back", "smoke"),
    Bad(
        "migration keeps writers waiting",
        (("migrate.py", STEP, f'{STEP}, "begin immediate;time.sleep(60);commit"'),),
        "rollout.rolled_back",
        "writers",
    ),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    made = Orders(tmp_path_factory.mktemp("bad"))
    try:
        made.start()
        commit = made.push("Well")
        made.wait_live(commit, 120)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, int, int, str]]]:
    rows: list[tuple[str, int, int, str]] = []
    yield rows
    for kind, requests, failed, told in rows:
        print(f"| {kind} | {requests} | {failed} | {' '.join(told.split())[:200]} |")


@pytest.mark.parametrize("bad", KINDS, ids=lambda bad: bad.kind.replace(" ", "-"))
@pytest.mark.timeout(180)
def test_it_ends_by_itself_and_says_why(bad: Bad, system: Orders, table: list[tuple[str, int, int, str]]) -> None:
    system.reset()
    for path, old, new in bad.edits:
        if old == "*":
            (system.source / path).unlink()
        elif old:
            system.replace(path, old, new)
        else:
            system.write(path, new)
    live, position = system.live(), system.newest()
    with Traffic(system.settings.public_port, CLIENTS).running() as traffic:
        commit = system.push(bad.kind)
        event = system.event(position, bad.event, seconds=120)
        system.wait(system.settled, "rest", 60)
    told = " ".join(str(event.data.get(key, "")) for key in ("error", "reason", "waiting_for", "problems"))
    mine = f"web@{commit[:8]}"
    failed = traffic.bad[mine]
    table.append((bad.kind, traffic.good[mine] + failed, failed, told))
    assert bad.says in told, told
    assert not traffic.bad - type(traffic.bad)({mine: failed}), traffic.causes
    assert bad.reached or not traffic.good[mine] + failed, "what is not fit to serve got traffic"
    assert system.live() == live
    assert sum(traffic.good.values()) > 0
