"""Models kept current by the governor, on published data: what `conveyor replay` finds, beside its goals.

    python bench/replay.py [DATA] [--only elec2|claims|fdh]

DATA is the folder of the data sets (`../shared/data`); a set that is not there is said to be missing. A first run
trains for about half an hour of a processor's time; what it trained is kept below `.bench/replay` for the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench" / "replay"
# Per set: example, model, dataset, files, goals by metric, and the words of the replay. Never is the first policy.
SETS = {
    "elec2": (
        "elec2", "price", "market", "elec2/*.parquet", {"roc_auc": 0.78, "average_precision": 0.73},
        "--block 28d --tick 7d --live-from 1996-07-30 --policy never --policy every:28d --policy every:7d",
    ),
    "claims": (
        "claims", "fraud", "claims", "vehicle_insurance_fraud/claims.parquet", {"average_precision": 0.34},
        "--block 30d --tick 5d --live-from 1994-07-01 --policy never --policy every:30d",
    ),
    "fdh": (
        "shop", "fraud", "transactions", "fdh_raw/*.parquet", {"average_precision": 0.68},
        "--to 2018-07-01 --score-from 2018-04-29 --policy never --policy every:7d --policy every:1d --policy live",
    ),
}  # fmt: skip
WITHIN = 1.2
"""The replay may take so much of the time that its trainings take."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=SETS)
    given = parser.parse_args()
    found = {name: measure(name, given.data.resolve()) for name in SETS if given.only in (None, name)}
    print(json.dumps(found, indent=2))
    return 0 if all(each.get("ok", True) for each in found.values()) else 1


def measure(name: str, data: Path) -> dict[str, object]:
    example, model, dataset, files, goals, words = SETS[name]
    folder = ROOT / "examples" / example
    if not list(data.glob(files)):
        return {"missing": f"{data / files}"}
    place = data / files
    if name == "claims":
        place = CACHE / "claims" / "claims.parquet"
        argv = [sys.executable, "-m", "claims.prepare", str(data / files), str(place.parent)]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    conveyor = Path(sys.executable).with_name("conveyor")
    argv = [str(conveyor), "replay", model, "--data", f"{dataset}={place}", *words.split(), "--json"]
    home = CACHE / f"home-{name}"
    done = subprocess.run(
        argv, cwd=folder, env=os.environ | {"CONVEYOR_HOME": str(home)}, check=True, capture_output=True, text=True
    )
    return told(json.loads(done.stdout), goals)


def told(found: dict[str, object], goals: dict[str, float]) -> dict[str, object]:
    walks = {walk["policy"]["name"]: walk for walk in found["walks"]}
    means = {name: {metric: mean(walk, metric) for metric in goals} for name, walk in walks.items()}
    chosen = found["recommendation"]["policy"]
    fresh = found["kept"] == 0
    share = round(found["seconds"] / found["training_seconds"], 2)
    return {
        "policies": {
            name: {**means[name], "trainings": len(walk["candidates"]), "seconds": seconds(walk)}
            for name, walk in walks.items()
        },
        "recommended": chosen,
        "goals": goals,
        "replay_seconds_of_training_seconds": share if fresh else f"{share} (found {found['kept']} trainings)",
        "ok": all(means[chosen][metric] >= goal for metric, goal in goals.items()) and (not fresh or share <= WITHIN),
    }


def mean(walk: dict[str, object], metric: str) -> float:
    values = [block["metrics"][metric] for block in walk["blocks"] if metric in block["metrics"]]
    return round(sum(values) / len(values), 4)


def seconds(walk: dict[str, object]) -> float:
    return round(sum(candidate["seconds"] for candidate in walk["candidates"]), 1)


if __name__ == "__main__":
    sys.exit(main())
