"""Week by week: the scores that the model of the day gave, beside those of the frozen first version."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl

from conveyor.cli.demo.repository import example
from conveyor.domain import wire
from conveyor.domain.model import ModelManifest
from conveyor.domain.statistics import average_precision


@dataclass(frozen=True, slots=True)
class Screened:
    """A day's scores as the live model gave them, before any label of that day was known."""

    week: int
    keys: list[int]
    scores: list[float | None]
    version: int | None


def by_week(served: list[pl.DataFrame], screened: list[Screened], first: Path, seed_days: int) -> list[dict[str, Any]]:
    """`served`: all days in order, as they were served, with their final labels. Average precision of both models.

    The frozen model's features are recomputed here by the example's own module; it shifts labels by their delay itself.
    """
    whole = pl.concat(served)
    frozen = _frozen(whole, first)
    truth = pl.concat(served[seed_days:]).select("TRANSACTION_ID", "TX_FRAUD")
    weeks = []
    for week in sorted({day.week for day in screened}):
        days = [day for day in screened if day.week == week]
        current = pl.DataFrame(
            {"TRANSACTION_ID": [k for d in days for k in d.keys], "current": [s for d in days for s in d.scores]},
            schema={"TRANSACTION_ID": truth.schema["TRANSACTION_ID"], "current": pl.Float64},
        )
        rows = current.join(truth, on="TRANSACTION_ID").join(frozen, on="TRANSACTION_ID").drop_nulls()
        label = rows["TX_FRAUD"].to_numpy().astype(float)
        weeks.append(
            {
                "week": week,
                "ap_current": round(average_precision(label, rows["current"].to_numpy()), 4),
                "ap_frozen": round(average_precision(label, rows["frozen"].to_numpy()), 4),
                "rows": rows.height,
                "frauds": int(label.sum()),
                "versions": sorted({d.version for d in days if d.version is not None}),
            }
        )
    return weeks


def _frozen(whole: pl.DataFrame, first: Path) -> pl.DataFrame:
    manifest = wire.from_json((first / "model.json").read_bytes(), ModelManifest)
    frame = _features().build(whole.lazy()).collect()
    matrix = frame.select(manifest.signature.features).to_numpy().astype(np.float32)
    session = onnxruntime.InferenceSession(first / "model.onnx", providers=["CPUExecutionProvider"])
    score = manifest.signature.score
    (output,) = session.run([score.output], {session.get_inputs()[0].name: matrix})
    values = np.asarray(output)
    column = values[:, score.column] if score.column is not None else values.ravel()
    keys: pl.DataFrame = frame.select("TRANSACTION_ID")
    return keys.with_columns(frozen=pl.Series(column.astype(np.float64)))


def _features() -> Any:
    spec = importlib.util.spec_from_file_location("shop_features", example() / "shop" / "features.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
