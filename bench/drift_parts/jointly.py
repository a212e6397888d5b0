"""How often the classifier of `conveyor.drift(..., jointly=True)` tells apart what did not change, and what it sees."""

from __future__ import annotations

import os

import numpy as np
import polars as pl

from conveyor.sdk.together import together

TRIES = 10 if os.environ.get("QUICK") == "1" else 100
COLUMNS = 10


def table(seed: int, rows: int, tie: float, move: float = 0.0) -> pl.LazyFrame:
    """Normal columns, the first two of which correlate by `tie`; the first is moved by so many sd."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(COLUMNS, rows))
    values[1] = tie * values[0] + np.sqrt(1 - tie**2) * values[1]
    values[0] += move
    return pl.DataFrame({f"c{n}": column for n, column in enumerate(values)}).lazy()


def tables() -> None:
    names = [f"c{n}" for n in range(COLUMNS)]
    print(f"\n{TRIES} pairs of tables of 2,000 rows x {COLUMNS}; columns 1 and 2 correlate by 0.5 in the reference\n")
    print("| change | mean AUC | told apart |")
    print("|---|---:|---:|")
    cases = {"none": (0.5, 0.0), "correlation 0.3": (0.3, 0.0), "correlation 0": (0.0, 0.0)}
    cases |= {"correlation -0.5": (-0.5, 0.0), "mean of one column by 0.25 sd": (0.5, 0.25)}
    for said, (tie, move) in cases.items():
        found = [
            each
            for seed in range(TRIES)
            if (each := together(table(2 * seed, 2000, 0.5), table(2 * seed + 1, 2000, tie, move), names, seed))
        ]
        share = sum(each.drifted for each in found) / len(found)
        print(f"| {said} | {np.mean([each.auc for each in found]):.3f} | {share:.0%} |", flush=True)
