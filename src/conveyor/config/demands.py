"""Demands on single values of a `conveyor.toml`; each yields a problem when it is not met. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

from conveyor.config.problem import Place, Problem, nearest

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def choice(at: Place, what: str, word: str, known: Iterable[str]) -> Iterator[Problem]:
    if word not in known:
        yield Problem(at, f'unknown {what} "{word}"' + nearest(word, known))


def function(at: Place, reference: str | None) -> Iterator[Problem]:
    if reference is not None and not _FUNCTION.fullmatch(reference):
        yield Problem(at, f'expected "module:name" such as "shop.fraud:train", found "{reference}"')


def cron(at: Place, expression: str | None) -> Iterator[Problem]:
    if expression is None:
        return
    try:
        next(CronSim(expression, _EPOCH))
    except (CronSimError, StopIteration) as error:
        why = str(error).lower() or "no such day comes"
        cause = f'"{expression}" is not a cron expression ({why}); expected five fields such as "0 3 * * *"'
        yield Problem(at, cause)


def positive(at: Place, value: timedelta | None) -> Iterator[Problem]:
    if value is not None and value <= timedelta(0):
        yield Problem(at, "must be longer than zero")


def at_least(at: Place, value: float, least: float) -> Iterator[Problem]:
    if value < least:
        yield Problem(at, f"must be at least {least}, found {value}")


def fraction(at: Place, value: float) -> Iterator[Problem]:
    if not 0 <= value <= 1:
        yield Problem(at, f"expected a fraction from 0 to 1, found {value}")
