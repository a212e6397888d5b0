"""Tracked runs on SQLite and PostgreSQL: searches find what a plain reading finds, writers of a group stand apart."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conveyor.domain.track_filter import parse, parse_order
from conveyor.domain.tracked import Pair, Point, TrackedRun
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.tracking import experiments, points, runs, search
from conveyor.stores.tracking.database import Session, TrackingDatabase

RUNS = 60


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrackingDatabase]:
    url = f"sqlite:///{tmp_path / 'tracking.db'}"
    if request.param == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("postgres")
        url = fresh().replace("postgresql://", "postgresql+psycopg://")
    made = TrackingDatabase(url)
    yield made
    made.close()


def filled(database: TrackingDatabase) -> int:
    draw = random.Random(3)

    def fill(session: Session) -> int:
        experiment = experiments.ensure(session, "here", 1)
        other = experiments.ensure(session, "other", 1)
        for number in range(RUNS):
            uuid = f"{number:032x}"
            tags = [Pair("team", "ab"[number % 2]), Pair("long", "x" * 3000 + str(number % 3))]
            runs.create(session, uuid, experiment if number % 6 else other, f"r{number}", "me", number // 2, tags)
            run = runs.number(session, uuid)
            runs.log_params(session, run, [Pair("depth", str(draw.randrange(4)))], uuid)
            if number % 5:
                value = float("nan") if number % 7 == 0 else draw.randrange(10) / 10
                points.log(session, run, [Point("auc", -1.0, 5, 0), Point("auc", value, 4, 1)])
        return int(experiment)

    return database.write(fill)


def auc(run: TrackedRun) -> float | None:
    found = [float(point.value) for point in run.data.metrics if point.key == "auc"]
    return found[0] if found else None


def by_auc_down(run: TrackedRun) -> tuple[int, float, int, str]:
    value = auc(run)
    rank = 2 if value is None else 1 if math.isnan(value) else 0
    return rank, -value if rank == 0 and value is not None else 0.0, -run.info.start_time, run.info.run_id


@pytest.mark.parametrize("few", [2000, 3])
def test_a_search_finds_what_a_plain_reading_finds(
    database: TrackingDatabase, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of the planner: few runs that are sorted, and a walk along the index."""
    monkeypatch.setattr(search, "FEW", few)
    experiment = filled(database)

    def ask(text: str, *orders: str, limit: int = 100, offset: int = 0) -> list[TrackedRun]:
        question = search.Question(
            (experiment,), tuple(parse(text)), tuple(map(parse_order, orders)), ("active",), limit, offset
        )
        with database.read() as session:
            return search.search(session, question)

    everything = ask("")
    assert len(everything) == 50
    assert [(-run.info.start_time, run.info.run_id) for run in everything] == sorted(
        (-run.info.start_time, run.info.run_id) for run in everything
    )
    wanted = [run.info.run_id for run in sorted(everything, key=by_auc_down)]
    assert [run.info.run_id for run in ask("", "metrics.auc DESC")] == wanted
    pages = [run.info.run_id for start in range(0, 60, 7) for run in ask("", "metrics.auc DESC", limit=7, offset=start)]
    assert pages == wanted
    depth = {run.info.run_id: run.data.params[0].value for run in everything}
    plain: dict[str, Callable[[TrackedRun], bool]] = {
        "metrics.auc > 0.5": lambda run: (auc(run) or 0) > 0.5,
        "metrics.auc != 0.3": lambda run: auc(run) is not None and auc(run) != 0.3,
        "params.depth = '2' AND metrics.auc <= 0.7": lambda run: (
            depth[run.info.run_id] == "2" and (auc(run) if auc(run) is not None else 9.0) <= 0.7  # type: ignore[operator]
        ),
        f"tags.long = '{'x' * 3000}1'": lambda run: int(run.info.run_id, 16) % 3 == 1,
        "tags.team LIKE 'B'": lambda run: False,
        "tags.team ILIKE 'B' AND attributes.start_time < 20": lambda run: (
            int(run.info.run_id, 16) % 2 == 1 and run.info.start_time < 20
        ),
    }
    for text, meets in plain.items():
        found = [run.info.run_id for run in ask(text, "metrics.auc DESC")]
        assert found == [each for each in wanted if meets(next(r for r in everything if r.info.run_id == each))], text


def test_the_changes_of_a_group_stand_apart(database: TrackingDatabase) -> None:
    """Many threads write; what is refused writes nothing, and takes nothing of the others with it."""
    experiment = database.write(lambda session: experiments.ensure(session, "here", 1))
    database.write(lambda session: runs.create(session, "run", experiment, "run", "me", 1, []))
    refused: list[type[Exception]] = []

    def log(thread: int) -> None:
        for step in range(40):
            try:
                if step % 10 == 9:
                    database.write(lambda session: runs.number(session, "nothing"))
                elif step % 10 == 8:
                    database.write(lambda session: 1 / 0)
                else:
                    at = thread * 100 + step
                    database.write(
                        lambda session, at=at: points.log(
                            session, runs.number(session, "run"), [Point("m", float(at), at, at)]
                        )
                    )
            except (NotFound, ZeroDivisionError) as error:
                refused.append(type(error))

    threads = [threading.Thread(target=log, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        run = search.number_of_any(session, "run")
        kept = points.history(session, run, "m", None, 0)
        newest = search.load(session, [run])[0].data.metrics
    assert len(kept) == 6 * 32
    assert [point.value for point in newest] == [537.0]
    assert (refused.count(NotFound), refused.count(ZeroDivisionError)) == (24, 24)
    with pytest.raises(InputRejected):
        database.write(lambda session: points.log(session, run, [Point("m", "much")]))
