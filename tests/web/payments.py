"""Two versions of a dataset with rows in them; in the second one the amounts are twice as large."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from conveyor.domain.dataset import DatasetVersion, Manifest, Part
from conveyor.sdk import sketch
from conveyor.sdk.describe import measure, profile
from conveyor.stores.manifests import put
from conveyor.stores.objects import Objects


def versions(objects: Objects, scratch: Path, start: datetime, hostile: str) -> tuple[DatasetVersion, DatasetVersion]:
    """Versions 11 and 12 of shop/payments, 4,000 rows each; a value of SHOP is `hostile`."""
    return tuple(_version(objects, scratch, start, hostile, number, scale) for number, scale in ((11, 1), (12, 2)))  # type: ignore[return-value]


def _version(
    objects: Objects, scratch: Path, start: datetime, hostile: str, number: int, scale: float
) -> DatasetVersion:
    random, rows = np.random.default_rng(number), 4000
    frame = pl.DataFrame(
        {
            "TX_DATETIME": [start - timedelta(minutes=each) for each in range(rows)],
            "TX_AMOUNT": scale * random.gamma(2.0, 30.0, rows),
            "TX_FRAUD": random.integers(0, 2, rows),
            "SHOP": random.choice(["north", "south", hostile], rows),
            "EMPTY": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )
    path = scratch / f"payments-{number}.parquet"
    frame.write_parquet(path)
    times = frame["TX_DATETIME"]
    part = Part(objects.put_file(path), rows, path.stat().st_size, times.min(), times.max())  # type: ignore[arg-type]
    sketches = measure([path])
    told = replace(profile(sketches), sketches=objects.put(sketch.to_bytes(sketches)))
    schema = {name: str(dtype) for name, dtype in frame.schema.items()}
    made = put(objects, Manifest((part,)))
    moments = (start, part.first, part.last)
    return DatasetVersion(
        "shop", "payments", number, number - 1, made, rows, part.bytes, schema, *moments, told, "1 file"
    )
