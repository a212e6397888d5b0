"""From data that arrive to the model that they made, live under traffic: where the time goes.

    make bench-arrival              5 arrivals
    QUICK=1 make bench-arrival      2 arrivals

A day of rows is handed over by `conveyor data add`'s call; it is ingested, starts a training, passes the gates, becomes
a release and is rolled out with no hold, while 16 clients ask. The time ends when the alias `live` moves. Training
time, which is taken off, is that of the step `train`: the process that calls the project's function. The others are
told apart. One line of JSON a figure; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import switches

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.domain.run import Run

GOAL = 5.0


def main() -> int:
    switches.CONFIG = switches.CONFIG.replace("steps = [50, 100]", "steps = [100]").replace(
        'drain = "5s"', 'drain = "1s"'
    )
    arrivals = 2 if os.environ.get("QUICK") == "1" else 5
    scratch = Path(tempfile.mkdtemp(prefix="bench-arrival-"))
    home = scratch / ".conveyor"
    settings = lifecycle.up(home)
    client = lifecycle.client(home)
    try:
        switches.prepare(scratch, settings, client)
        with switches.load(scratch, settings.public_port) as seen:
            time.sleep(2)
            took = [arrive(client, scratch, 4 + number) for number in range(arrivals)]
        return 0 if report(took, sum(seen["failed"].values()), seen["requests"]) else 1
    finally:
        lifecycle.down(home)
        shutil.rmtree(scratch, ignore_errors=True)


def arrive(client: Client, scratch: Path, day: int) -> dict[str, float]:
    """Seconds by part: `whole` from the call to the alias, each step of the training, and the rest."""
    path = switches.rows(scratch, day)
    before, newest = switches.live(client), client.events(newest=True, limit=1)[0].seq
    began = time.time()
    client.add_data(switches.NAME, switches.DATASET, path)

    def moved() -> float:
        events = client.events(after=newest, types=("model.alias_moved",), limit=100)
        return next(
            (e.time.timestamp() for e in events if e.data["version"] > before and e.data["alias"] == "live"), 0.0
        )

    switches.wait(moved, 120, "the next version")
    whole = moved() - began
    run = client.runs(project=switches.NAME, kind="train", limit=1)[0]
    parts = {step.name: seconds(run, step.name) for step in run.steps}
    switches.wait(lambda: switches.live(client) > before, 60, "the end of its rollout")
    landed = run.created.timestamp() - began
    over = run.ended.timestamp() if run.ended else began
    steps = sum(parts.values())
    between = over - run.created.timestamp() - steps
    return {
        "whole": whole,
        **parts,
        "to the training": landed,
        "between steps": between,
        "rollout": whole - (over - began),
    }


def seconds(run: Run, name: str) -> float:
    step = run.step(name)
    return (step.ended - step.started).total_seconds() if step.started and step.ended else 0.0


def report(took: list[dict[str, float]], failed: int, asked: int) -> bool:
    without = statistics.median(each["whole"] - each["train"] for each in took)
    parts = {name: round(statistics.median(each.get(name, 0.0) for each in took), 2) for name in took[0]}
    lines = [
        line("data arrival to a live model, training excluded, median", round(without, 2), GOAL, parts=parts),
        line("failed requests", failed, 0, requests=asked),
    ]
    return all(lines)


def line(case: str, value: float, goal: float, **more: object) -> bool:
    """Prints a figure; goals are upper bounds."""
    unit = "requests" if "requests" in case else "s"
    body = {"bench": "arrival", "case": case, "value": value, "unit": unit, "peer": None, "peer_value": None}
    print(json.dumps(body | {"ratio": None, "goal": goal, "holds": value <= goal} | more), flush=True)
    return value <= goal


if __name__ == "__main__":
    sys.exit(main())
