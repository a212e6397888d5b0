"""Two versions of a table compared: only parts that one of them lacks are read, and of statistics only sketches."""

from __future__ import annotations

import polars as pl

from conveyor.domain.dataset import Part
from conveyor.domain.table_diff import RowsChanged, Shift, TableDiff, columns
from conveyor.sdk.shift import shifts as between
from conveyor.tables.table import Table


def diff(before: Table, after: Table) -> TableDiff:
    return TableDiff(
        before=_name(before),
        after=_name(after),
        rows=rows(before, after),
        columns=columns(before.profile, after.profile, shifts(before, after)),
    )


def rows(before: Table, after: Table) -> RowsChanged:
    """Which rows only one of them has. Parts that both have are not read; of the others, one row takes 16 bytes."""
    shared = _digests(before) & _digests(after)
    gone = [part for part in before.view.manifest.parts if part.digest not in shared]
    come = [part for part in after.view.manifest.parts if part.digest not in shared]
    counts = before.view.version.rows, after.view.version.rows
    key = after.view.key
    if not gone or not come:
        changed = None if key is None else 0
        return RowsChanged(*counts, sum(part.rows for part in come), sum(part.rows for part in gone), changed)
    old, new = _hashed(before, gone, key), _hashed(after, come, key)
    if key is None:
        times = old.group_by("row").len("old").join(new.group_by("row").len("new"), on="row", how="full", coalesce=True)
        found = times.with_columns(pl.col("old", "new").fill_null(0).cast(pl.Int64)).select(
            added=(pl.col("new") - pl.col("old")).clip(0).sum(), removed=(pl.col("old") - pl.col("new")).clip(0).sum()
        )
        return RowsChanged(*counts, *found.row(0))
    both = old.join(new, on="key", how="inner", suffix="_new")
    return RowsChanged(
        *counts,
        added=new.height - both.height,
        removed=old.height - both.height,
        changed=both.filter(pl.col("row") != pl.col("row_new")).height,
    )


def shifts(before: Table, after: Table) -> dict[str, Shift]:
    """How far each column moved."""
    old, new = before.sketches(), after.sketches()
    return between(old, new, (after.view.key, after.view.time)) if old and new else {}


def _hashed(table: Table, parts: list[Part], key: str | None) -> pl.DataFrame:
    names = sorted(table.view.version.schema)
    wanted = [pl.struct(names).hash().alias("row")]
    wanted += [pl.col(key).hash().alias("key")] if key else []
    return table.of(parts).select(wanted).collect(engine="streaming")


def _digests(table: Table) -> set[str]:
    return {part.digest for part in table.view.manifest.parts}


def _name(table: Table) -> str:
    return f"{table.view.version.name}@v{table.version}"
