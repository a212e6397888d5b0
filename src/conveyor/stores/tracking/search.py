"""Search of runs. The cost grows with what is shown, not with what there is: a clause that few runs meet is taken
first; else runs are walked in the order asked for, by an index, until the page is full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, literal_column, or_, select

from conveyor.domain.track_filter import ATTRIBUTE, DATASET, METRIC, PARAM, TAG, Clause, Order
from conveyor.domain.tracked import Pair, Point, RunData, TrackedRun
from conveyor.stores.tracking import documents, points, runs
from conveyor.stores.tracking.comparing import compared, text_is
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.schema import LATEST, METRICS, PARAMS, RUNS, TAGS

FEW = 2000
"""A clause that no more runs meet is looked up first, and the page is sorted out of them."""

_COLUMNS = {
    "run_id": RUNS.c.uuid,
    "run_name": RUNS.c.name,
    "status": RUNS.c.status,
    "user_id": RUNS.c.user,
    "start_time": RUNS.c.started,
    "end_time": RUNS.c.ended,
    "artifact_uri": literal_column("'mlflow-artifacts:/' || experiment || '/' || uuid || '/artifacts'"),
}


@dataclass(frozen=True, slots=True)
class Question:
    experiments: tuple[int, ...]
    clauses: tuple[Clause, ...]
    orders: tuple[Order, ...]
    stages: tuple[str, ...]
    limit: int
    offset: int = 0


_RUN = 'id, uuid, experiment, name, "user", status, started, ended, stage'


def search(session: Session, asked: Question) -> list[TrackedRun]:
    """A page of runs: by `orders`, then the newest first."""
    if not asked.experiments:
        return []
    return load(session, _page(session, asked))


def number_of_any(session: Session, run: str) -> int:
    """The number of a run, of a deleted one too."""
    found = session.connection.execute(select(RUNS.c.id).where(RUNS.c.uuid == run)).scalar()
    if found is None:
        raise runs.missing(run)
    return int(found)


def experiments_of(session: Session, uuids: Iterable[str]) -> set[str]:
    """The experiments in which these runs are."""
    wanted = select(RUNS.c.experiment).where(RUNS.c.uuid.in_(list(uuids)))
    return {str(number) for number in session.connection.execute(wanted).scalars()}


def load(session: Session, numbers: Sequence[int]) -> list[TrackedRun]:
    """Whole runs, in the order of their numbers."""
    if not numbers:
        return []
    # By numbers that are ours, and as the driver gives them: SQLAlchemy's parameters and rows cost half as much again.
    among = f"IN ({','.join(str(int(number)) for number in numbers)})"
    rows = {row[0]: row[1:] for row in session.driven(f"SELECT {_RUN} FROM {RUNS.name} WHERE id {among}")}
    data = {each: RunData([], [], []) for each in numbers}
    for run, key, value in session.driven(f"SELECT run, key, value FROM {PARAMS.name} WHERE run {among}"):
        data[run].params.append(Pair(key, value))
    for run, key, value in session.driven(f"SELECT run, key, value FROM {TAGS.name} WHERE run {among}"):
        data[run].tags.append(Pair(key, value))
    latest = f"SELECT run, name, value, at, step, nan FROM {LATEST.name} JOIN {METRICS.name} ON id = metric"
    for run, key, value, at, step, nan in session.driven(f"{latest} WHERE run {among}"):
        data[run].metrics.append(Point(key, "NaN" if nan else value, at, step))
    present = [each for each in numbers if each in rows]
    infos = runs.told(rows[each] for each in present)
    found = [TrackedRun(info, data[each]) for info, each in zip(infos, present, strict=True)]
    documents.attach(session, found, among)
    return found


def _page(session: Session, asked: Question) -> list[int]:
    base = _within(asked, RUNS.c.experiment)
    conditions = [_condition(session, clause) for clause in asked.clauses]
    few = _few(session, asked)
    if few is not None:
        return _sorted(session, asked, [RUNS.c.id.in_(few), *base, *conditions])
    first = asked.orders[0] if asked.orders else None
    if first is not None and first.kind == METRIC and len(asked.orders) == 1:
        return _walk(session, asked, first, conditions)
    return _sorted(session, asked, [*base, *conditions])


def _few(session: Session, asked: Question) -> Select[Any] | None:
    """The runs that meet the rarest clause that an index answers, where they are few."""
    within = select(RUNS.c.id).where(*_within(asked, RUNS.c.experiment))
    candidates = [within, *(query for clause in asked.clauses if (query := _indexed(session, clause)) is not None)]
    best, fewest = None, FEW + 1
    for query in candidates:
        counted = select(func.count()).select_from(query.limit(fewest).subquery())
        count = int(session.connection.execute(counted).scalar_one())
        if count < fewest:
            best, fewest = query, count
        if not fewest:
            break
    return best


def _within(asked: Question, experiment: Any) -> list[ColumnElement[bool]]:
    return [_among(experiment, asked.experiments), _among(RUNS.c.stage, asked.stages)]


def _among(column: Any, values: tuple[Any, ...]) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column == values[0] if len(values) == 1 else column.in_(values)
    return found


def _indexed(session: Session, clause: Clause) -> Select[Any] | None:
    if clause.kind == METRIC and clause.op != "!=":
        c = LATEST.c
        is_metric = and_(c.metric == points.find_named(session, clause.key), c.nan == false())
        return select(c.run).where(is_metric, compared(c.value, clause.op, clause.value))
    if clause.kind in (PARAM, TAG) and clause.op == "=":
        table = PARAMS if clause.kind == PARAM else TAGS
        return select(table.c.run).where(table.c.key == clause.key, *text_is(table.c.value, str(clause.value)))
    if clause.kind == ATTRIBUTE and clause.key == "run_id" and clause.op in ("=", "IN"):
        return select(RUNS.c.id).where(compared(RUNS.c.uuid, clause.op, clause.value))
    return None


def _condition(session: Session, clause: Clause) -> ColumnElement[bool]:
    if clause.kind == ATTRIBUTE:
        return compared(_COLUMNS[clause.key], clause.op, clause.value)
    if clause.kind == DATASET:
        return documents.with_dataset(clause)
    if clause.kind == METRIC:
        c = LATEST.c
        value = compared(c.value, clause.op, clause.value)
        value = or_(value, c.nan) if clause.op == "!=" else and_(value, c.nan == false())
        metric = points.find_named(session, clause.key)
        return select(c.run).where(c.run == RUNS.c.id, c.metric == metric, value).correlate(RUNS).exists()
    table = PARAMS if clause.kind == PARAM else TAGS
    has = select(table.c.run).where(table.c.run == RUNS.c.id, table.c.key == clause.key).correlate(RUNS)
    if clause.op == "IS NULL":
        return ~has.exists()
    if clause.op != "IS NOT NULL":
        has = has.where(compared(table.c.value, clause.op, clause.value))
    return has.exists()


def _walk(session: Session, asked: Question, order: Order, conditions: list[ColumnElement[bool]]) -> list[int]:
    """By a metric: its numbers from the index, then its NaNs, then the runs that do not have it."""
    c = LATEST.c
    metric = points.find_named(session, order.key)
    newest = (RUNS.c.started.desc(), RUNS.c.uuid)
    value = c.value.asc() if order.ascending else c.value.desc()
    # `+ 0`: the planner must not lead by the runs' own index; that of the values leads, and ends when the page is full.
    met = [*_within(asked, RUNS.c.experiment + 0), *conditions]
    has = select(RUNS.c.id).select_from(LATEST.join(RUNS, RUNS.c.id == c.run)).where(c.metric == metric)
    lacks = ~select(c.run).where(c.run == RUNS.c.id, c.metric == metric).correlate(RUNS).exists()
    ranks = [
        has.where(c.nan == false(), *met).order_by(value, *newest),
        has.where(c.nan, *met).order_by(*newest),
        select(RUNS.c.id).where(lacks, *_within(asked, RUNS.c.experiment), *conditions).order_by(*newest),
    ]
    found: list[int] = []
    skip = asked.offset
    for query in ranks:
        part = session.connection.execute(query.limit(asked.limit - len(found)).offset(skip)).scalars().all()
        found += part
        if len(found) >= asked.limit:
            break
        if not part and skip:
            counted = select(func.count()).select_from(query.order_by(None).subquery())
            skip -= int(session.connection.execute(counted).scalar_one())
        else:
            skip = 0
    return found


def _sorted(session: Session, asked: Question, conditions: list[ColumnElement[bool]]) -> list[int]:
    query = select(RUNS.c.id)
    by: list[Any] = []
    source: Any = RUNS
    for order in asked.orders:
        if order.kind == ATTRIBUTE:
            column: Any = _COLUMNS[order.key]
            by.append(case((column.is_(None), 1), else_=0)) if order.key == "end_time" else None
        elif order.kind == METRIC:
            latest = LATEST.alias()
            metric = points.find_named(session, order.key)
            source = source.outerjoin(latest, and_(latest.c.run == RUNS.c.id, latest.c.metric == metric))
            column = latest.c.value
            by.append(case((latest.c.nan, 1), (column.is_(None), 2), else_=0))
        else:
            texts = (PARAMS if order.kind == PARAM else TAGS).alias()
            source = source.outerjoin(texts, and_(texts.c.run == RUNS.c.id, texts.c.key == order.key))
            column = texts.c.value
            by.append(case((column.is_(None), 1), else_=0))
        by.append(column.asc() if order.ascending else column.desc())
    if not any(order.kind == ATTRIBUTE and order.key == "start_time" for order in asked.orders):
        by.append(RUNS.c.started.desc())
    query = query.select_from(source).where(*conditions).order_by(*by, RUNS.c.uuid)
    return [int(each) for each in session.connection.execute(query.limit(asked.limit).offset(asked.offset)).scalars()]
