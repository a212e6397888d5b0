"""The profile of a table of 1,000,000 rows x 30 columns, in one streaming pass, in a process of its own.

    make bench-profile            five rounds, medians
    QUICK=1 make bench-profile    one round

The file is Parquet, zstd, as an ingest writes it; the time is that of `conveyor.sdk.describe.measure` and the profile
made of it, without the start of Python; memory is the process's peak. Counts are compared with Polars', quantiles with
the exact ranks. Beside it, for scale: what Polars takes for exact quantiles of the numbers alone, in memory. One line
of JSON a figure; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = 1_000_000
SECONDS, MEGABYTES, RANK = 3.0, 500, 0.01


def main() -> int:
    if len(sys.argv) > 1:
        return {"make": make, "measure": measure, "exact": exact}[sys.argv[1]](Path(sys.argv[2]))
    rounds = 1 if os.environ.get("QUICK") == "1" else 5
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as scratch:
        path = Path(scratch) / "table.parquet"
        run("make", path)
        found = [run("measure", path) for _ in range(rounds)]
        beside = [run("exact", path) for _ in range(rounds)]
        size = path.stat().st_size
    seconds = statistics.median(each["seconds"] for each in found)
    told = [
        line("profile", seconds, "s", SECONDS, seconds < SECONDS, slowest=max(each["seconds"] for each in found)),
        line("peak memory", max(each["megabytes"] for each in found), "MB", MEGABYTES),
        line("rank error of quantiles, worst of all", max(each["rank"] for each in found), "share", RANK),
        line("wrong counts of rows, nulls, range", max(each["wrong"] for each in found), "columns", 0),
        line("sketches", found[0]["sketches"], "bytes", None, True, table=size),
        line("Polars, exact quantiles", statistics.median(each["seconds"] for each in beside), "s", None, True),
        line("Polars, peak memory", max(each["megabytes"] for each in beside), "MB", None, True),
    ]
    return 0 if all(told) else 1


def line(case: str, value: float, unit: str, goal: float | None, holds: bool | None = None, **more: float) -> bool:
    held = value <= goal if holds is None and goal is not None else bool(holds)
    told = {"bench": "profile", "case": case, "value": round(value, 4), "unit": unit, "goal": goal, **more}
    print(json.dumps({**told, "holds": held}), flush=True)
    return held


def run(what: str, path: Path) -> dict[str, float]:
    words = [sys.executable, __file__, what, str(path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout or "{}")
    return found


def make(path: Path) -> int:
    import numpy as np
    import polars as pl

    random = np.random.default_rng(7)
    columns: dict[str, object] = {f"normal{n}": random.normal(0, 10.0**n, ROWS) for n in range(8)}
    columns |= {f"price{n}": random.gamma(2, 30, ROWS).round(2) for n in range(6)}
    columns |= {f"code{n}": random.integers(0, 10 ** (n + 1), ROWS) for n in range(6)}
    columns |= {f"text{n}": pl.Series(random.integers(0, 10 ** (n + 1), ROWS)).cast(pl.String) for n in range(5)}
    columns["id"] = np.arange(ROWS)
    seconds = np.sort(random.integers(0, 183 * 86_400, ROWS))
    columns["at"] = np.datetime64("2018-04-01", "us") + seconds.astype("timedelta64[s]")
    columns["flag"] = random.random(ROWS) < 0.1
    columns["user"] = pl.Series([f"user-{n}" for n in random.permutation(ROWS)])
    columns["often zero"] = np.where(random.random(ROWS) < 0.4, 0.0, random.random(ROWS))
    table = pl.DataFrame(columns).with_columns(
        pl.when(pl.int_range(pl.len()) % (100 + n) != 5).then(pl.col(name)).alias(name)
        for n, name in enumerate(columns)
    )
    table.write_parquet(path, compression="zstd", statistics=True)
    return 0


def measure(path: Path) -> int:
    import time

    from conveyor.sdk import describe, sketch

    began = time.perf_counter()
    sketches = describe.measure([path])
    profile = describe.profile(sketches)
    seconds = time.perf_counter() - began
    said = {"seconds": seconds, "megabytes": peak(), "sketches": len(sketch.to_bytes(sketches))}
    print(json.dumps(said | check(path, profile)))
    return 0


def check(path: Path, profile: object) -> dict[str, float]:
    import numpy as np
    import polars as pl

    from conveyor.domain.dataset import QUANTILES, DatasetProfile

    assert isinstance(profile, DatasetProfile)
    wrong, rank = int(profile.rows != ROWS), 0.0
    for name, column in profile.columns.items():
        values = pl.read_parquet(path, columns=[name])[name]
        wrong += column.nulls != values.null_count()
        if not values.dtype.is_numeric():
            continue
        known = np.sort(values.drop_nulls().to_numpy())
        wrong += (column.min, column.max) != (known[0], known[-1])
        for share, value in zip(QUANTILES, column.quantiles, strict=True):
            low, high = (np.searchsorted(known, value, side) / known.size for side in ("left", "right"))
            rank = max(rank, low - share, share - high)
    return {"wrong": float(wrong), "rank": float(rank)}


def exact(path: Path) -> int:
    import time

    import polars as pl
    from polars import selectors

    began = time.perf_counter()
    numbers = selectors.numeric()
    shares = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    pl.scan_parquet(path).select(numbers.quantile(share).name.suffix(f"@{share}") for share in shares).collect()
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak()}))
    return 0


def peak() -> float:
    """Megabytes that this process held at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
