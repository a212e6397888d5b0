"""Records: all or nothing, fenced leases, found by column, events in order, writers beside each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.domain.events import Event
from conveyor.domain.state import Alias, Cursor
from conveyor.errors import LeaseLost, NotFound
from conveyor.stores.collections import ALIASES, CURSORS
from conveyor.stores.records import Records

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=10)


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    if request.param == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        url = fresh().replace("postgresql://", "postgresql+psycopg://")
    made = Records(url)
    yield made
    made.close()


def _event(number: int, type_: str = "data.arrived", subject: str = "data/p/d") -> Event:
    return Event(f"e{number}", type_, subject, NOW, "p", {"n": number})


def test_a_transaction_is_all_or_nothing(records: Records) -> None:
    def fails() -> None:
        with records.transaction() as tx:
            tx.put(CURSORS, Cursor("c", seq=1))
            tx.append(_event(1))
            tx.acquire("lease", "me", NOW, TTL)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fails()
    with records.read() as tx:
        assert tx.get(CURSORS, "c") is None
        assert tx.events() == []
    with records.transaction() as tx:
        taken = tx.acquire("lease", "other", NOW, TTL)
        assert taken is not None
        assert taken.token == 1


def test_what_was_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    first = Records(url)
    with first.transaction() as tx:
        tx.put(CURSORS, Cursor("c", 7, ("a", "b"), NOW))
    first.close()
    second = Records(url)
    with second.read() as tx:
        assert tx.get(CURSORS, "c") == Cursor("c", 7, ("a", "b"), NOW)
        with pytest.raises(NotFound, match="there is no cursor 'd'"):
            tx.need(CURSORS, "d")
    second.close()


def test_a_new_owner_fences_the_old_one_off(records: Records) -> None:
    with records.transaction() as tx:
        old = tx.acquire("work", "old", NOW, TTL)
        assert old is not None
        assert tx.acquire("work", "new", NOW + TTL / 2, TTL) is None
        renewed = tx.acquire("work", "old", NOW + TTL / 2, TTL)
        assert renewed is not None
        assert (renewed.token, renewed.expires) == (old.token, NOW + TTL / 2 + TTL)
    with records.transaction(old) as tx:
        tx.put(CURSORS, Cursor("c", seq=1))
    with records.transaction() as tx:
        new = tx.acquire("work", "new", NOW + TTL * 2, TTL)
        assert new is not None
        assert new.token == old.token + 1
    with pytest.raises(LeaseLost, match="work was taken over"), records.transaction(renewed) as tx:
        tx.put(CURSORS, Cursor("c", seq=2))
    with records.transaction(new) as tx:
        found = tx.need(CURSORS, "c")
        assert found.seq == 1
        assert tx.acquire("work", "old", NOW + TTL * 2, TTL) is None


def test_documents_are_found_by_column_in_order_and_replaced_in_place(records: Records) -> None:
    with records.transaction() as tx:
        for number in range(6):
            tx.put(ALIASES, Alias(f"a{number}", f"p/m{number % 2}", "live", number))
        tx.put(ALIASES, Alias("a0", "p/m0", "live", 100))
        assert [alias.id for alias in tx.find(ALIASES, where={"model": "p/m0"})] == ["a4", "a2", "a0"]
        assert [alias.version for alias in tx.find(ALIASES, newest=False, limit=2)] == [100, 1]
        assert tx.count(ALIASES) == 6
        assert tx.count(ALIASES, where={"model": "p/m1"}) == 3
        tx.put(ALIASES, Alias("a0", "p/m1", "live", 100))  # moves with its column
        assert [alias.id for alias in tx.find(ALIASES, where={"model": "p/m1"}, newest=False)] == [
            "a0",
            "a1",
            "a3",
            "a5",
        ]
        tx.delete(ALIASES, "a1")
        tx.delete(ALIASES, "never there")
        assert tx.count(ALIASES) == 5


def test_events_keep_their_order_and_come_in_pages(records: Records) -> None:
    with records.transaction() as tx:
        appended = [
            tx.append(_event(n, "data.arrived" if n % 3 else "data.refused", f"data/p/{n % 2}")) for n in range(30)
        ]
    assert [event.seq for event in appended] == sorted({event.seq for event in appended})
    with records.read() as tx:
        paged: list[Event] = []
        while page := tx.events(after=paged[-1].seq if paged else 0, limit=7):
            paged += page
        assert paged == appended
        assert tx.events(newest=True, limit=1) == appended[-1:]
        chosen = tx.events(subject="data/p/0", types=("data.refused",))
        assert [event.data["n"] for event in chosen] == [0, 6, 12, 18, 24]
    with pytest.raises(ValueError, match="add it to CATALOGUE"):
        _event(1, "data.arived")


def test_threads_write_beside_each_other_and_no_update_is_lost(records: Records) -> None:
    """Each write reads and adds one; readers see the cursor and the event of one commit together."""
    errors: list[BaseException] = []
    stop = threading.Event()

    def write(name: str) -> None:
        try:
            for number in range(50):
                with records.transaction() as tx:
                    seen = tx.get(CURSORS, "c") or Cursor("c")
                    tx.put(CURSORS, Cursor("c", seq=seen.seq + 1))
                    tx.append(Event(f"{name}{number}", "data.arrived", "s", NOW))
        except BaseException as error:
            errors.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                with records.read() as tx:
                    seen = tx.get(CURSORS, "c") or Cursor("c")
                    assert len(tx.events(limit=1000)) == seen.seq
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert errors == []
    with records.read() as tx:
        assert tx.need(CURSORS, "c").seq == 100
        assert len({event.seq for event in tx.events(limit=1000)}) == 100
