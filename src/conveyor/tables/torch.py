"""A table for PyTorch's DataLoader. Imported only where PyTorch is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch.utils.data import IterableDataset, get_worker_info

from conveyor.errors import InputRejected
from conveyor.sdk.schema import parse_type

if TYPE_CHECKING:
    from conveyor.tables.table import Table


class Rows(IterableDataset):  # type: ignore[misc]
    """Batches as dicts, column -> tensor [rows of the batch]. Null becomes NaN; times become microseconds.

    With several workers each reads its share of the parts, so no row comes twice; give DataLoader batch_size=None.
    """

    def __init__(self, table: Table, columns: tuple[str, ...], batch: int, which: dict[str, Any]) -> None:
        super().__init__()
        schema = {name: parse_type(dtype) for name, dtype in table.view.version.schema.items()}
        for name in columns:
            dtype = schema.get(name)
            if dtype is None or not (dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean):
                raise InputRejected(
                    f"column {name} is {dtype or 'not in the table'}, which no tensor holds",
                    hint="Name columns of numbers, times or booleans.",
                )
        self._table, self._columns, self._batch, self._which = table, columns, batch, which

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        share, of = (worker.id, worker.num_workers) if worker else (0, 1)
        for found in self._table.batches(self._batch, share=share, of=of, columns=self._columns, **self._which):
            yield {column.name: _tensor(column) for column in found}


def _tensor(column: pl.Series) -> torch.Tensor:
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).cast(pl.Int64) if column.dtype != pl.Time else column.cast(pl.Int64)
    if column.null_count():
        column = column.cast(pl.Float64).fill_null(float("nan"))
    return torch.from_numpy(column.to_numpy(writable=True))
