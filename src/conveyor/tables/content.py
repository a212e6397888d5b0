"""Parquet whose row groups and pages end where the content says so, not where a count does.

Rows that are put in or taken out then change the groups that they are in, and no other: what comes behind is byte for
byte as it was, so that a store which cuts files by content keeps it once. Groups end at rows whose hash is a multiple
of `GROUP`; within a group pyarrow ends the pages by its own rolling hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 65_536
"""Rows between two cuts, in the mean; never fewer than a quarter of it, nor more than four times as many."""
_SINCE = 21  # the pyarrow that can


def able() -> bool:
    """Whether a pyarrow is here that ends pages by their content."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return False
    return int(pa.__version__.partition(".")[0]) >= _SINCE


def write(batches: Iterable[pl.DataFrame], schema: pl.Schema, target: Path) -> int:
    """Rows written. Needs `able`; memory is that of one group and one batch."""
    import pyarrow.parquet as pq

    arrow: pa.Schema = pl.DataFrame(schema=schema).to_arrow().schema
    # Of numbers a dictionary is larger than they are, or as large; it holds them in the order of a group, as strings.
    worded = [name for name, dtype in schema.items() if dtype in (pl.String, pl.Categorical, pl.Enum)]
    rows = 0
    with pq.ParquetWriter(
        target, arrow, compression="zstd", use_content_defined_chunking=True, use_dictionary=worded or False
    ) as out:
        for group in groups(batches):
            out.write_table(group.to_arrow().cast(arrow), row_group_size=group.height)
            rows += group.height
    return rows


def groups(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows in groups that end where a row's hash says so, however they came."""
    held: list[pl.DataFrame] = []
    count = 0
    for batch in batches:
        start = 0
        for end in _ends(batch):
            while count + end - start > 4 * GROUP:
                part = 4 * GROUP - count
                yield _joined([*held, batch.slice(start, part)])
                held, count, start = [], 0, start + part
            if count + end - start >= GROUP // 4:
                yield _joined([*held, batch.slice(start, end - start)])
                held, count, start = [], 0, end
        rest = batch.slice(start)
        held.append(rest)
        count += rest.height
        while count > 4 * GROUP:
            whole = _joined(held)
            yield whole.head(4 * GROUP)
            held, count = [whole.slice(4 * GROUP)], count - 4 * GROUP
    if count:
        yield _joined(held)


def _ends(batch: pl.DataFrame) -> list[int]:
    """The positions behind rows that may end a group."""
    return [int(row) + 1 for row in (batch.hash_rows(seed=0) % GROUP == 0).arg_true()]


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).rechunk()
