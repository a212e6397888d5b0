"""The quarantine's desk: rows that failed the contract are shown, put back, or given up; each on record.

What is put back is a new arrival that waits like any other, so it meets the contract of that day. The rows' object is
stored before the transaction that lets them go, and a crash in between leaves them where they were.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import polars as pl

from conveyor.delivery.arrivals import configured
from conveyor.delivery.lookup import latest_build
from conveyor.domain import requests, wire
from conveyor.domain.state import Act, Arrival, Quarantined
from conveyor.domain.views import Message, QuarantinedRow, QuarantinedRows
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound
from conveyor.sdk.conform import RESERVED
from conveyor.stores.collections import ARRIVALS, QUARANTINE, QUARANTINE_PAST
from conveyor.stores.records import Collection, Transaction

_ROW, _RULE, _REASON = RESERVED


class QuarantineDesk:
    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def past(self, project: str, dataset: str, limit: int) -> list[Quarantined]:
        """Entries that hold no rows any more, with what became of them."""
        with self._context.records.read() as tx:
            configured(latest_build(tx, project), project, dataset)
            return _of(tx, QUARANTINE_PAST, f"{project}/{dataset}", limit)

    def show(self, project: str, dataset: str, word: str, limit: int) -> QuarantinedRows:
        """The entry's held rows, by their number in their file."""
        entry = self._entry(project, dataset, word)
        if entry.state != "held":
            return QuarantinedRows(entry, ())
        table = self._table(entry).head(max(0, min(limit, 10_000)))
        columns = tuple(name for name in table.columns if name not in RESERVED)
        return QuarantinedRows(entry, tuple(_row(values) for values in table.to_dicts()), columns)

    def release(self, project: str, dataset: str, word: str, request: requests.ReleaseRows) -> Message:
        entry = self._entry(project, dataset, word)
        if (done := _done(entry, "released", request.rows)) is not None:
            return Message(
                f"{entry.name} of {entry.file}: released already at {done.at:%Y-%m-%d %H:%M} UTC by {done.by}"
            )
        _need_held(entry)
        table = self._table(entry)
        chosen = _chosen(table, request.rows, entry)
        rest = table.filter(~pl.col(_ROW).is_in(chosen[_ROW].to_list()))
        digest = self._put(chosen.drop(RESERVED))
        left = self._put(rest) if rest.height else entry.digest
        number = len(entry.acts) + 1
        arrival = Arrival(
            id=f"{project}/{dataset}/{digest}/{entry.name}-{number}",
            project=project,
            name=dataset,
            file=f"released-{entry.name}-{number}-{PurePath(entry.file).name.removesuffix('.parquet')}.parquet",
            digest=digest,
            created=self._context.clock.now(),
            origin=entry.id,
            force=request.force,
            note=f"released by {request.by or 'a person'}" + (f": {request.why}" if request.why else ""),
        )
        numbers = tuple(chosen[_ROW].to_list()) if rest.height or request.rows else ()
        act = self._act(
            "released", chosen, request, digest=entry.digest, arrival=arrival.id, numbers=numbers, force=request.force
        )
        after = replace(
            entry,
            rows=rest.height,
            reasons=reasons_of(rest),
            digest=left,
            state="held" if rest.height else "released",
            acts=(*entry.acts, act),
        )
        told = self._context.event(
            "data.released", f"data/{entry.dataset}", project, file=entry.file, entry=entry.name, rows=act.rows,
            force=request.force, by=act.by, why=act.why, arrival=arrival.file,
        )  # fmt: skip
        with self._context.records.transaction() as tx:
            _need_same(tx, entry)
            tx.put(ARRIVALS, arrival)
            put(tx, after)
            tx.append(told)
        self._poke()
        how = "as they are" if request.force else "through the present contract"
        return Message(f"{_rows(act.rows)} of {entry.file} put back {how}, as {arrival.file}")

    def drop(self, project: str, dataset: str, word: str, request: requests.DropRows) -> Message:
        entry = self._entry(project, dataset, word)
        if (done := _done(entry, "dropped", ())) is not None:
            return Message(
                f"{entry.name} of {entry.file}: dropped already at {done.at:%Y-%m-%d %H:%M} UTC by {done.by}"
            )
        _need_held(entry)
        act = Act(
            "dropped", entry.rows, entry.reasons, self._context.clock.now(), request.by or "a person", request.why,
            entry.digest,
        )  # fmt: skip
        with self._context.records.transaction() as tx:
            _need_same(tx, entry)
            put(tx, replace(entry, rows=0, reasons={}, state="dropped", acts=(*entry.acts, act)))
            tx.append(
                self._context.event(
                    "data.dropped", f"data/{entry.dataset}", project, file=entry.file, entry=entry.name,
                    rows=act.rows, reasons=act.reasons, by=act.by, why=act.why,
                )
            )  # fmt: skip
        kept = "which and why is kept, their bytes go with `conveyor gc`"
        return Message(f"{_rows(act.rows)} of {entry.file} dropped; {kept}")

    def _entry(self, project: str, dataset: str, word: str) -> Quarantined:
        with self._context.records.read() as tx:
            configured(latest_build(tx, project), project, dataset)
            entries = [
                entry for kept in (QUARANTINE, QUARANTINE_PAST) for entry in _of(tx, kept, f"{project}/{dataset}")
            ]
        found = [each for each in entries if word and (each.id == word or each.name.startswith(word))]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(each.name for each in found[:5])
            raise InputRejected(f"{word!r} is short for several entries", hint=f"Give more of it: {names}.")
        raise NotFound(
            f"there is no entry {word!r} in the quarantine of {dataset}",
            hint=f"`conveyor data quarantine list {dataset}` names them.",
        )

    def _table(self, entry: Quarantined) -> pl.DataFrame:
        return pl.read_parquet(self._context.objects.path(entry.digest), glob=False)

    def _put(self, table: pl.DataFrame) -> str:
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd", statistics=True)
        return self._context.objects.put(buffer.getvalue())

    def _act(
        self,
        what: str,
        table: pl.DataFrame,
        request: requests.ReleaseRows,
        *,
        digest: str,
        arrival: str,
        numbers: tuple[int, ...],
        force: bool,
    ) -> Act:
        why = " ".join(filter(None, (request.why, "(past the contract)" if force else "")))
        return Act(
            what, table.height, reasons_of(table), self._context.clock.now(), request.by or "a person", why, digest,
            arrival, numbers,
        )  # fmt: skip


def reasons_of(table: pl.DataFrame) -> dict[str, int]:
    """Rule -> rows that break it; a row may break several."""
    counted = Counter(rule for rules in table[_RULE].to_list() for rule in rules.split("; "))
    return dict(sorted(counted.items()))


def put(tx: Transaction, entry: Quarantined) -> None:
    """Among those that hold rows, or among those that did."""
    tx.put(QUARANTINE if entry.state == "held" else QUARANTINE_PAST, entry)
    if entry.state != "held":
        tx.delete(QUARANTINE, entry.id)


def _of(tx: Transaction, kept: Collection[Quarantined], dataset: str, limit: int = 100_000) -> list[Quarantined]:
    return tx.find(kept, where={"dataset": dataset}, limit=limit)


def _chosen(table: pl.DataFrame, numbers: Sequence[int], entry: Quarantined) -> pl.DataFrame:
    if not numbers:
        return table
    held = set(table[_ROW].to_list())
    unknown = sorted(set(numbers) - held)
    if unknown:
        raise InputRejected(
            f"{entry.name} of {entry.file} holds no row {', '.join(map(str, unknown[:10]))}",
            hint=f"It holds {', '.join(map(str, sorted(held)[:10]))}{' …' if len(held) > 10 else ''}.",
        )
    return table.filter(pl.col(_ROW).is_in(sorted(set(numbers))))


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _done(entry: Quarantined, what: str, numbers: Sequence[int]) -> Act | None:
    """The act that did this already: what was asked for twice is done once."""
    acts = [act for act in entry.acts if act.what == what]
    if not numbers:
        return acts[-1] if acts and entry.state == what else None
    return next((act for act in reversed(acts) if set(numbers) <= set(act.numbers)), None)


def _need_held(entry: Quarantined) -> None:
    if entry.state != "held":
        raise Conflict(
            f"{entry.name} of {entry.file} holds no rows any more: they were {entry.state}",
            hint="`conveyor data quarantine list --all` shows what became of each.",
        )


def _need_same(tx: Transaction, entry: Quarantined) -> None:
    if tx.get(QUARANTINE, entry.id) != entry:
        raise Conflict(f"{entry.name} of {entry.file} was changed meanwhile", hint="Look at it again, and repeat.")


def _row(values: dict[str, Any]) -> QuarantinedRow:
    number, rule, reason = (values.pop(name) for name in RESERVED)
    return QuarantinedRow(number, rule, reason, {name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    """What JSON can hold; all else as text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return wire.to_builtins(value) if hasattr(value, "isoformat") else str(value)
