"""Asks the fraud model by the Open Inference Protocol. No answer in time is an answer too: None, never an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import polars as pl

from shop import features

Columns = Mapping[str, Sequence[float]]

PAYMENT_TIMEOUT, BATCH_TIMEOUT = 1.0, 30.0
"""Seconds. A customer waits for the first, nobody for the second."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Fraud probabilities of the rows asked for, and who gave them."""

    values: list[float]
    model_version: str
    prediction_id: str


class FraudModel:
    """`url` is the model's base (`.../v2/models/fraud`); None when no model is bound to this release yet."""

    def __init__(self, url: str | None) -> None:
        self._url = f"{url.rstrip('/')}/infer" if url else None
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=60)
        self._client = httpx.Client(limits=limits, headers={"content-type": "application/json"})

    def score(self, rows: Columns, timeout: float) -> Scores | None:
        """`rows` has the features, the key and the event time (microseconds)."""
        if self._url is None:
            return None
        body = json.dumps(request(rows)).encode()
        for _attempt in range(2):  # a kept connection may have been closed under us: once more, on a new one
            try:
                response = self._client.post(self._url, content=body, timeout=timeout)
                return answer(response.json(), len(rows[features.KEY])) if response.status_code == 200 else None
            except httpx.TimeoutException:
                return None
            except httpx.TransportError:
                continue
            except (ValueError, KeyError, IndexError, TypeError):
                return None
        return None

    def close(self) -> None:
        self._client.close()


def columns(rows: pl.DataFrame) -> Columns:
    """What `score` asks for, from a table with the features, the key and the event time."""
    return {
        features.KEY: rows[features.KEY].to_list(),
        features.TIME: rows[features.TIME].dt.timestamp("us").to_list(),
        **{name: rows[name].cast(pl.Float64).to_list() for name in features.FEATURES},
    }


def request(rows: Columns) -> dict[str, Any]:
    """One tensor a feature, and the key and event time, so that a label can find its prediction later."""
    whole = (features.KEY, features.TIME)
    tensors = [
        {"name": name, "datatype": "INT64" if name in whole else "FP32", "shape": [len(values)], "data": values}
        for name, values in rows.items()
    ]
    return {"inputs": tensors}


def answer(body: dict[str, Any], rows: int) -> Scores:
    """The probability of the last class of each row. Raises when the answer does not have the rows asked for."""
    output = next(tensor for tensor in body["outputs"] if tensor["name"] == "probabilities")
    data = output["data"]
    flat = (
        [row[-1] for row in data] if isinstance(data[0], list) else data[output["shape"][-1] - 1 :: output["shape"][-1]]
    )
    if len(flat) != rows:
        raise ValueError(f"{rows} rows asked, {len(flat)} answered")
    return Scores([float(value) for value in flat], str(body["model_version"]), str(body["id"]))
