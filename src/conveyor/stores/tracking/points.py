"""Points of metrics: appended; the newest of each metric is kept apart, for searches and the page of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, select, tuple_

from conveyor.domain.tracked import Point, number
from conveyor.errors import InputRejected
from conveyor.stores.tracking.database import Prepared, Session
from conveyor.stores.tracking.schema import LATEST, METRICS, POINTS

_ROW = ("run", "metric", "at", "step", "value", "nan")
_ORDER = ("step", "at", "value")
Row = tuple[int, int, int, int, float, bool]


def log(session: Session, run: int, points: Sequence[Point]) -> None:
    """Equal points are kept once. The newest of a metric is that of the highest step, then time, then value."""
    if not points:
        return
    rows = rows_of(session, run, points)
    _prepared(session, "points").many(session.connection, rows)
    newest: dict[int, Row] = {}
    for row in rows:
        best = newest.get(row[1])
        if best is None or (row[3], row[2], row[4]) > (best[3], best[2], best[4]):
            newest[row[1]] = row
    _prepared(session, "latest").many(session.connection, list(newest.values()))


def rows_of(session: Session, run: int, points: Iterable[Point]) -> list[Row]:
    """The points as rows, before anything is written. Raises InputRejected."""
    rows: list[Row] = []
    known = session.memory.metrics
    for point in points:
        metric = known.get(point.key)
        if metric is None:
            metric = named(session, point.key)
        if type(point.value) is float and -1e300 < point.value < 1e300:
            rows.append((run, metric, point.timestamp, point.step, point.value, False))
            continue
        try:
            value, nan = number(point.value)
        except ValueError:
            raise InputRejected(
                f"Invalid value {point.value!r} for metric {point.key!r}: it must be a number",
                hint="Log numbers; log texts as params or tags.",
            ) from None
        rows.append((run, metric, point.timestamp, point.step, value, nan))
    return rows


def named(session: Session, name: str) -> int:
    """The number of a metric's name; given out where there is none."""
    found = session.connection.execute(select(METRICS.c.id).where(METRICS.c.name == name)).scalar()
    if found is None:
        statement = METRICS.insert().values(name=name).returning(METRICS.c.id)
        found = session.connection.execute(statement).scalar_one()
    session.memory.metrics[name] = int(found)
    return int(found)


def find_named(session: Session, name: str) -> int | None:
    """As `named`, for readers."""
    known = session.memory.metrics.get(name)
    if known is not None:
        return known
    found = session.connection.execute(select(METRICS.c.id).where(METRICS.c.name == name)).scalar()
    return None if found is None else int(found)


def history(session: Session, run: int, name: str, limit: int | None, offset: int) -> list[Point]:
    """All values by time, step and value."""
    metric = find_named(session, name)
    c = POINTS.c
    query = select(c.value, c.at, c.step, c.nan).where(c.run == run, c.metric == metric)
    query = query.order_by(c.at, c.step, c.value).offset(offset).limit(limit)
    return [
        Point(name, "NaN" if nan else value, at, step) for value, at, step, nan in session.connection.execute(query)
    ]


def curve(session: Session, run: int, name: str, most: int) -> list[Point]:
    """At most so many points of a metric, by step and evenly taken, the last one among them."""
    found = sorted(history(session, run, name, None, 0), key=lambda point: (point.step, point.timestamp))
    if len(found) <= most:
        return found
    stride = len(found) / (most - 1)
    return [*(found[int(place * stride)] for place in range(most - 1)), found[-1]]


def _prepared(session: Session, name: str) -> Prepared:
    prepared = session.memory.prepared.get(name)
    if prepared is None:
        insertion = session.upsert(POINTS if name == "points" else LATEST)
        insertion = insertion.values({column: bindparam(column) for column in _ROW})
        statement: Any
        if name == "points":
            statement = insertion.on_conflict_do_nothing()
        else:
            new = insertion.excluded
            statement = insertion.on_conflict_do_update(
                index_elements=["run", "metric"],
                set_={column: new[column] for column in ("step", "at", "value", "nan")},
                where=tuple_(*(new[column] for column in _ORDER)) > tuple_(*(LATEST.c[column] for column in _ORDER)),
            )
        prepared = Prepared(statement, session.connection.dialect, _ROW)
        session.memory.prepared[name] = prepared
    return prepared
