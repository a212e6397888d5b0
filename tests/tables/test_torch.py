"""A table for PyTorch's DataLoader, where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conveyor.domain.project import DataConfig
from conveyor.errors import InputRejected

from .place import Place, payments

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_workers_share_the_rows_and_none_comes_twice(tmp_path: Path) -> None:
    place = Place(tmp_path, DataConfig("payments", time="at", key="id"))
    holes = payments(2).with_columns(pl.when(pl.col("id") % 5 > 0).then("amount").alias("amount"))
    place.take("payments", inline=True, a=payments(0), b=payments(1), c=holes)
    table = place.table("payments")
    place.close()
    rows = table.torch(columns=["id", "amount", "at"], batch=64)
    for workers in (0, 2):
        context = "spawn" if workers else None
        loader = torch.utils.data.DataLoader(
            rows, batch_size=None, num_workers=workers, multiprocessing_context=context
        )
        batches = list(loader)
        assert max(len(batch["id"]) for batch in batches) == 64
        ids = torch.cat([batch["id"] for batch in batches])
        assert sorted(ids.tolist()) == sorted(table.frame()["id"].to_list())
        amounts = torch.cat([batch["amount"] for batch in batches]).numpy()
        assert np.isnan(amounts).sum() == 100
    assert batches[0]["at"].dtype == torch.int64
    newest = [batch["id"] for batch in table.torch(columns=["id"], window="1d")]
    assert {int(each) // 100_000 for each in torch.cat(newest)} == {2}
    with pytest.raises(InputRejected, match="note is String"):
        table.torch(columns=["note"])
