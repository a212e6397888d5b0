"""A watched bucket on a real S3 server: each object once for each version, at the cost of what is new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import obstore
import pytest
from s3 import BUCKET, S3Server

from conveyor.delivery import arrivals, secrets
from conveyor.delivery.watching_buckets import Buckets
from conveyor.domain.secret import Secret
from conveyor.effects import bucket
from conveyor.errors import Unavailable
from conveyor.stores.collections import WATCHED

from .conftest import Plane

DATA = f'[data.days]\nwatch = "s3://{BUCKET}/in/**/*.csv"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    made = S3Server()
    yield made
    made.stop()


def start(plane: Plane, settings: dict[str, str]) -> Buckets:
    context = plane.context()
    plane.build(DATA)
    with context.records.transaction() as tx:
        for name, value in settings.items():
            secrets.put(context, tx, "shop", "production", name, Secret(value))
    return Buckets(context, arrivals.accept)


def test_each_object_is_taken_once(plane: Plane, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = bucket.Bucket.list

    def counted(self: bucket.Bucket, after: str = "") -> list[bucket.Found]:
        asked.append(after)
        return real(self, after)

    monkeypatch.setattr(bucket.Bucket, "list", counted)
    store = server.store()
    for number in range(40):
        obstore.put(store, f"in/2018/{number:03d}.csv", b"a\n%d\n" % number)
    for other in ("in/notes.txt", "else/x.csv", "in/empty.csv"):
        obstore.put(store, other, b"a\n9\n" if "empty" not in other else b"")
    buckets = start(plane, server.settings)
    plane.until(buckets.turn, lambda: len(plane.arrivals()) == 40)
    assert asked[0] == ""
    assert set(asked[1:]) <= {"in/2018/039.csv", ""}
    obstore.put(store, "in/2019/000.csv", b"a\nnew\n")
    plane.until(buckets.turn, lambda: len(plane.arrivals()) == 41)
    assert set(asked[1:]) <= {"in/2018/039.csv", ""}
    obstore.put(store, "in/2018/000.csv", b"a\nreplaced\n")
    obstore.put(store, "in/2017/late.csv", b"a\nlate\n")  # sorts before what is known
    plane.until(buckets.turn, lambda: len(plane.arrivals()) == 43)
    again = Buckets(plane.context(), arrivals.accept)  # another control plane
    for _ in range(3):
        before = len(asked)
        plane.clock.step(timedelta(minutes=2))
        plane.until(again.turn, lambda before=before: len(asked) > before)  # type: ignore[misc]
        plane.until(again.turn, lambda: all(not p.copies and not p.listing for p in again._places.values()))
    assert len(plane.arrivals()) == 43
    assert not plane.events("data.duplicate")
    context = plane.contexts[-1]
    contents = {context.objects.get(arrival.digest) for arrival in plane.arrivals()}
    assert len(contents) == 43
    assert {b"a\nnew\n", b"a\nreplaced\n", b"a\nlate\n"} < contents
    for page in list(obstore.list(store, "in/")):
        obstore.delete(store, [each["path"] for each in page])
    plane.clock.step(timedelta(minutes=5))
    with context.records.read() as tx:
        assert tx.count(WATCHED) == 42
    plane.until(again.turn, lambda: _kept(plane) == 0)
    assert list(context.settings.incoming.iterdir()) == []


def _kept(plane: Plane) -> int:
    with plane.contexts[-1].records.read() as tx:
        return tx.count(WATCHED)


def test_wrong_credentials_are_told_and_mended(plane: Plane, server: S3Server) -> None:
    obstore.put(server.store(), "in/z.csv", b"a\n1\n")
    buckets = start(plane, server.settings | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(Unavailable, match=f"s3://{BUCKET} does not answer as it should") as told:
        plane.until(buckets.turn, lambda: False)
    assert "secrets of production" in told.value.hint
    assert "wrong" not in told.value.message
    with plane.contexts[-1].records.transaction() as tx:
        value = Secret(server.settings["AWS_SECRET_ACCESS_KEY"])
        secrets.put(plane.contexts[-1], tx, "shop", "production", "AWS_SECRET_ACCESS_KEY", value)

    def turn() -> None:
        try:
            buckets.turn()
        except Unavailable:
            plane.clock.step(timedelta(seconds=20))

    plane.until(turn, lambda: len(plane.arrivals()) == 1)
