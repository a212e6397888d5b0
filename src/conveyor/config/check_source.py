"""What types cannot say about the source of a dataset that is fetched. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from conveyor.config.demands import cron, function
from conveyor.config.problem import Place, Problem
from conveyor.domain.project import DataConfig

_LEAST = timedelta(seconds=1)


def check_source(at: Place, data: DataConfig) -> Iterator[Problem]:
    yield from function((*at, "source"), data.source)
    yield from cron((*at, "schedule"), data.schedule)
    if data.source is None and data.query is None:
        keys = ("url", "cursor", "start", "every", "schedule", "secrets")
        for key in keys:
            if getattr(data, key):
                yield Problem((*at, key), "belongs to a dataset with a `source` or a `query`")
        return
    if data.source is not None and data.query is not None:
        yield Problem((*at, "query"), "a dataset has either a `source` or a `query`")
    if (data.every is None) == (data.schedule is None):
        yield Problem((*at, "every"), "expected either `every` or `schedule`, to say when to fetch")
    if data.every is not None and data.every < _LEAST:
        yield Problem((*at, "every"), "must be at least one second")
    if data.query is not None:
        for key in ("url", "cursor"):
            if not getattr(data, key):
                yield Problem((*at, key), "missing; a `query` needs it")
        if ":cursor" not in data.query:
            yield Problem((*at, "query"), "expected :cursor in it, as in WHERE id > :cursor")
    elif data.url or data.cursor:
        yield Problem((*at, "url" if data.url else "cursor"), "belongs to a `query`")
