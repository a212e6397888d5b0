"""`python -m conveyor.sdk.parity SPEC.json OUT`: features as served, beside what the steps make of the data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from conveyor.domain.dataset import utc
from conveyor.domain.parity import ABSOLUTE, RELATIVE, FeatureParity, ParityReport, ParitySpec
from conveyor.errors import InputRejected
from conveyor.sdk import inputs, process

REPORT = "parity.json"
_WORST = 3


def work(spec: ParitySpec, out: Path) -> None:
    process.write_json(out / REPORT, compare(spec))


def compare(spec: ParitySpec) -> ParityReport:
    made = inputs.load(spec.made)
    schema = made.collect_schema()
    lacking = [name for name in (spec.made.key or "", *spec.features) if name not in schema]
    if lacking:
        raise InputRejected(
            f"what the model is trained on has no {lacking[0] or 'key'}",
            hint="Name the key of the dataset in conveyor.toml, and keep it in the steps.",
        )
    served = pl.scan_parquet(list(spec.served), missing_columns="insert", extra_columns="ignore")
    names = list(spec.features.values())
    served = served.filter(pl.col("key").is_not_null() & (pl.col("mark") != "shadow"))
    if spec.since is not None:
        served = served.filter(pl.col("time") >= utc(spec.since))
    asked = served.select("id", pl.col("key").alias("__key__"), *(pl.col(n).alias(f"__{n}__") for n in names)).collect()
    keys = pl.col(spec.made.key or "").cast(pl.String).alias("__key__")
    wanted = made.select(keys, *spec.features).unique("__key__", keep="last")
    both = asked.lazy().join(wanted, on="__key__", how="inner").collect(engine="streaming")
    found = {feature: _feature(both, feature, f"__{column}__") for feature, column in spec.features.items()}
    return ParityReport(asked.height, both.height, found)


def _feature(both: pl.DataFrame, feature: str, column: str) -> FeatureParity:
    """Where nothing was logged (a feature that is redacted) nothing is compared; the server takes no gaps."""
    served = both[column].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float64)
    made = both[feature].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float64)
    there = ~np.isnan(served)
    odd = there & ~np.isclose(served, made, rtol=RELATIVE, atol=ABSOLUTE)
    apart = np.where(odd, np.nan_to_num(np.abs(served - made), nan=np.inf), -1.0)
    worst = [int(place) for place in np.argsort(-apart, kind="stable")[:_WORST] if odd[place]]
    finite = apart[odd & np.isfinite(apart)]
    return FeatureParity(
        compared=int(there.sum()),
        differing=int(odd.sum()),
        largest=float(finite.max()) if finite.size else 0.0,
        worst=tuple((str(both["id"][place]), float(served[place]), float(made[place])) for place in worst),
    )


if __name__ == "__main__":
    sys.exit(process.run(sys.argv[1:], ParitySpec, work))
