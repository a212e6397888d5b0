"""Drift of 30 columns: Conveyor against a stored profile and of all rows, beside Evidently and NannyML.

    make bench-drift                ours
    PEERS=1 make bench-drift        beside Evidently and NannyML (the first run installs them under .bench/)
    QUICK=1 make bench-drift        100,000 rows only
    PEERS=nannyml make bench-drift ARGS=1000000
                                    one peer, one size
    make bench-drift ARGS=power     false alarms and power of the monitor: the tables of docs/monitoring.md

Each measurement is a process of its own. `seconds` is of the calculation alone, with the frames in memory, for us as
for the peers, and `ratio` is of those. We need no frames: `from_files` is our time from two unread Parquet files to all
figures, and `megabytes` our peak of that way; a peer's peak is with its frames, which it needs. Evidently is asked for
its preset (one test a column), NannyML for Kolmogorov-Smirnov, Jensen-Shannon and Wasserstein; what it fits to the
reference is part of its time. One line of JSON a figure; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUICK, PEERS = os.environ.get("QUICK") == "1", os.environ.get("PEERS", "0")
SIZES = (100_000,) if QUICK else (100_000, 1_000_000)
COLUMNS = 30
PACKAGES = {  # neither asks for all that it imports, nor refuses the pandas that it cannot import
    "evidently": ("evidently==0.7.23", "pandas<3", "numpy<2.4", "pyarrow"),
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pandas<3", "numpy<2.4", "pyarrow"),
}
GOALS = {"stored": {"evidently": 50, "nannyml": 15}, "exact": {"evidently": 15, "nannyml": 6}}


def main() -> int:
    if sys.argv[1:] == ["power"]:
        from drift_parts import jointly, power

        code = power.tables()
        jointly.tables()
        return code
    if len(sys.argv) > 2:
        ways = {"make": make, "store": store, "stored": ours, "exact": ours}
        return (ways | {"evidently": evidently, "nannyml": nannyml})[sys.argv[1].partition("+")[0]]()
    held = True
    with tempfile.TemporaryDirectory(prefix="bench-drift-") as scratch:
        for rows in map(int, sys.argv[1:] or SIZES):
            folder = Path(scratch) / str(rows)
            folder.mkdir()
            run("make", folder, rows)
            run("store", folder, rows)
            held &= compare(folder, rows)
    return 0 if held else 1


def compare(folder: Path, rows: int) -> bool:
    mine = {way: best(way, folder, rows) for way in GOALS}
    peers = {name: found for name in PACKAGES if PEERS in ("1", name) and (found := peer(name, folder, rows))}
    held = True
    for way, found in mine.items():
        own = {"from_files": found["seconds"], "megabytes": found["megabytes"]}
        found |= {"seconds": best(f"{way}+read", folder, rows)["seconds"]}
        if not peers:
            tell(f"{rows:,} x {COLUMNS}, {way}", found["seconds"], "s", **own)
        for name, theirs in peers.items():
            ratio, least = theirs["seconds"] / found["seconds"], theirs["megabytes"] / found["megabytes"]
            goal = GOALS[way][name]
            more = {
                **own,
                "peer": f"{name} {theirs['version']}",
                "peer_seconds": theirs["seconds"],
                "ratio": round(ratio, 1),
            }
            more |= {"peer_megabytes": theirs["megabytes"], "memory_ratio": round(least, 2), "goal": goal}
            held &= tell(
                f"{rows:,} x {COLUMNS}, {way}", found["seconds"], "s", **more, holds=ratio >= goal and least >= 3
            )
    return held


def tell(case: str, value: float, unit: str, **more: Any) -> bool:
    print(json.dumps({"bench": "drift", "case": case, "value": round(value, 4), "unit": unit, **more}), flush=True)
    return bool(more.get("holds", True))


def best(what: str, folder: Path, rows: int) -> dict[str, Any]:
    """The median of three rounds by time."""
    found = sorted((run(what, folder, rows) for _ in range(3)), key=lambda one: one["seconds"])
    return found[len(found) // 2]


def peer(name: str, folder: Path, rows: int) -> dict[str, Any] | None:
    home, uv = ROOT / ".bench" / name, str(Path(sys.executable).parent / "uv")
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES[name]], check=True)
        (home / ".ready").touch()
    try:
        return run(name, folder, rows, str(python))
    except subprocess.CalledProcessError as error:
        tell(f"{rows:,} x {COLUMNS}, {name}", 0.0, "failed", says=error.stderr[-300:])
        return None


def run(what: str, folder: Path, rows: int, python: str = sys.executable) -> dict[str, Any]:
    words = [python, __file__, what, str(folder), str(rows)]
    quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}  # no time of theirs for reports home
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=900, env=quiet)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}")
    return found


def make() -> int:
    import numpy as np
    import polars as pl

    folder, rows = Path(sys.argv[2]), int(sys.argv[3])
    for seed, name in enumerate(("reference", "current")):
        random = np.random.default_rng(seed)
        columns: dict[str, Any] = {f"normal{n}": random.normal(0.02 * n * seed, 1, rows) for n in range(12)}
        columns |= {f"price{n}": random.lognormal(3, 1, rows).round(2) for n in range(10)}
        columns |= {f"count{n}": random.poisson(n + 1, rows).astype(float) for n in range(8)}
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    return 0


def store() -> int:
    from conveyor.sdk.drift import profile, save

    folder = Path(sys.argv[2])
    save(profile(folder / "reference.parquet"), folder / "profile.json")
    return 0


def ours() -> int:
    from conveyor.sdk.drift import drift, load

    (way, _, read), folder = sys.argv[1].partition("+"), Path(sys.argv[2])
    tables: list[Any] = [folder / f"{name}.parquet" for name in ("reference", "current")]
    if read:
        import polars as pl

        tables = [pl.read_parquet(path) if way == "exact" or path is tables[1] else path for path in tables]
    began = time.perf_counter()
    reference = load(folder / "profile.json") if way == "stored" else tables[0]
    found = drift(reference, tables[1], exact=way == "exact")
    return said(time.perf_counter() - began, len(found.columns))


def evidently() -> int:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    reference, current = (pd.read_parquet(Path(sys.argv[2]) / f"{name}.parquet") for name in ("reference", "current"))
    began = time.perf_counter()
    definition = DataDefinition(numerical_columns=list(reference.columns))
    sets = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    found = Report([DataDriftPreset()]).run(*sets).dict()
    return said(time.perf_counter() - began, len(found["metrics"]) - 1, "evidently")


def nannyml() -> int:
    import nannyml as nml
    import pandas as pd

    reference, current = (pd.read_parquet(Path(sys.argv[2]) / f"{name}.parquet") for name in ("reference", "current"))
    began = time.perf_counter()
    methods = ["kolmogorov_smirnov", "jensen_shannon", "wasserstein"]
    calculator = nml.UnivariateDriftCalculator(
        column_names=list(reference.columns), continuous_methods=methods, chunk_number=1
    )
    found = calculator.fit(reference).calculate(current).to_df()
    return said(time.perf_counter() - began, found.shape[1] // 4 // len(methods), "nannyml")


def said(seconds: float, columns: int, package: str = "conveyor") -> int:
    import resource
    from importlib.metadata import version

    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {
        "seconds": round(seconds, 4),
        "megabytes": round(megabytes),
        "columns": columns,
        "version": version(package),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
