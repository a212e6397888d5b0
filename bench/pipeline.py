"""Pipelines of steps: Conveyor beside DVC, Prefect, Dagster, ZenML and Metaflow, in one run.

    make bench-pipeline               ours
    PEERS=1 make bench-pipeline       the peers beside us (the first run installs each into .bench/NAME)
    QUICK=1 make bench-pipeline       fewer rounds, shorter steps
    make bench-pipeline ARGS="noop"   only some of: same noop trivial parallel server

same: what `dvc repro` and `conveyor run` make of the same dvc.yaml. noop: a run of 10 steps of which nothing changed,
as a whole command; the median. trivial: what one more step costs when it does nothing and is recorded durably, from the
difference of a run of many and a run of few; functions in all, since peers count so. parallel: two steps that do not
need each other and sleep for five seconds. server: ten steps of which nothing changed, and two of five seconds, at a
control plane: from the request that starts the run to its end.

The peers are used with their defaults, without analytics, with state in a folder of the same disk. One line of JSON a
figure: a `ratio` above 1 means that Conveyor is better; exit 1 when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline_parts.server import serving

ROOT = Path(__file__).resolve().parent.parent
PARTS = Path(__file__).parent / "pipeline_parts"
BIN = Path(sys.executable).parent
QUICK = os.environ.get("QUICK") == "1"
PEERS = os.environ.get("PEERS", "0") == "1"
QUIET = {
    "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": "", "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
    "ZENML_ANALYTICS_OPT_IN": "false", "ZENML_LOGGING_VERBOSITY": "ERROR", "AUTO_OPEN_DASHBOARD": "false",
    "DAGSTER_DISABLE_TELEMETRY": "true", "USERNAME": "bench",
}  # fmt: skip
_HELD: list[bool] = []
_NOT_OURS = ("CONVEYOR", "VIRTUAL_ENV", "PYTHON")
"""Variables that say something of whoever runs the benchmark."""
_PIPELINE = """
stages:
  first:
    cmd: seq ${rows} > data.txt
    params: [rows]
    outs: [data.txt]
  each:
    foreach: [1, 2, 3, 4, 5, 6, 7]
    do:
      cmd: mkdir -p parts/${item} && awk '$1 % 7 == ${item} - 1' data.txt > parts/${item}/rows.txt
      deps: [data.txt]
      outs: ["parts/${item}"]
  count:
    cmd: wc -l < parts/1/rows.txt > count.txt
    deps: [parts/1]
    outs: [count.txt]
  report:
    cmd: 'echo "{\\"total\\": $(cat parts/*/rows.txt | wc -l)}" > report.json'
    deps: [parts, count.txt]
    metrics: [report.json: {cache: false}]
"""


def main() -> int:
    cases: dict[str, Callable[[Path], None]] = {
        "same": same,
        "noop": noop,
        "trivial": trivial,
        "parallel": parallel,
        "server": server,
    }
    for name in sys.argv[1:] or cases:
        scratch = Path(tempfile.mkdtemp(prefix="bench-pipeline-"))
        try:
            cases[name](scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(_HELD) else 1


# --- the cases


def same(scratch: Path) -> None:
    """Not a figure of speed: the files that both make, after each of three changes."""
    dvc = peer("dvc")
    if dvc is None:
        return
    ours, theirs = project(scratch / "ours"), project(scratch / "theirs")
    git_and_dvc(theirs, dvc)
    differing = 0
    for change in ({}, {"params.yaml": "rows: 50\n"}, {"params.yaml": "rows: 100\n"}):
        for place in (ours, theirs):
            for name, text in change.items():
                (place / name).write_text(text)
        run([BIN / "conveyor", "run"], ours)
        run([dvc, "repro"], theirs)
        made = [contents(place) for place in (ours, theirs)]
        differing += sum(made[0].get(name) != made[1].get(name) for name in {*made[0], *made[1]})
    told("same", "files that differ from those of dvc repro", differing, holds=differing == 0)


def noop(scratch: Path) -> None:
    ours = project(scratch / "ours")
    for _ in range(3):
        run([BIN / "conveyor", "run"], ours)
    rounds = 5 if QUICK else 20
    seconds = median(lambda: run([BIN / "conveyor", "run"], ours), rounds)
    (ours / "params.yaml").touch()
    touched = median(lambda: (ours / "params.yaml").touch() or run([BIN / "conveyor", "run"], ours), 3)
    told("noop", "run of 10 steps, nothing changed, ms", seconds * 1000)
    told("noop", "run of 10 steps, a file was touched, ms", touched * 1000)
    if (dvc := peer("dvc")) is not None:
        theirs = project(scratch / "theirs")
        git_and_dvc(theirs, dvc)
        run([dvc, "repro"], theirs)
        other = median(lambda: run([dvc, "repro"], theirs), 2 if QUICK else 5)
        told("noop", "dvc repro of the same, ms", other * 1000, ratio=other / seconds, goal=5)


def trivial(scratch: Path) -> None:
    few, many = 10, 60 if QUICK else 210
    times: dict[int, list[float]] = {few: [], many: []}
    for round_ in range(1 if QUICK else 3):
        for count in times:
            place = functions(scratch / f"{count}-{round_}", count)
            times[count].append(run([BIN / "conveyor", "run", "--quiet"], place))
    ours = (statistics.median(times[many]) - statistics.median(times[few])) / (many - few)
    told("trivial", "one more function step, ms", ours * 1000, holds=ours < 0.002)
    for name, part, counts in (
        ("prefect", "prefect_flow.py", (20, 220)),
        ("dagster", "dagster_job.py", (20, 120)),
        ("zenml", "zenml_pipeline.py", (2, 22)),
        ("metaflow", "metaflow_flow.py", (3, 13)),
    ):
        if QUICK and name in ("zenml", "metaflow"):
            continue
        other = asked(name, part, counts, scratch / name)
        if other is not None:
            told("trivial", f"one more step of {name}, ms", other * 1000, ratio=other / ours)


def parallel(scratch: Path) -> None:
    nap = 2 if QUICK else 5
    scratch.joinpath("dvc.yaml").write_text(
        f"stages:\n  a: {{cmd: sleep {nap}, always_changed: true}}\n  b: {{cmd: sleep {nap}, always_changed: true}}\n"
    )
    seconds = run([BIN / "conveyor", "run"], scratch)
    told("parallel", f"two steps of {nap} s at once, s", seconds, holds=seconds < nap + 1)


def server(scratch: Path) -> None:
    with serving(scratch) as served:
        seconds = served.nothing(5 if QUICK else 50)
        _, pair = served.run("a", "b", force=True)
    told("server", "run of 10 steps, nothing changed, ms", seconds * 1000)
    told("server", "two steps of 5 s at once, s", pair, holds=pair < 6)
    if (dvc := peer("dvc")) is not None:
        theirs = project(scratch / "theirs")
        git_and_dvc(theirs, dvc)
        run([dvc, "repro"], theirs)
        other = median(lambda: run([dvc, "repro"], theirs), 2 if QUICK else 5)
        told("server", "dvc repro of 10 steps, ms", other * 1000, ratio=other / seconds, goal=50)


# --- projects


def project(place: Path) -> Path:
    place.mkdir()
    (place / "dvc.yaml").write_text(_PIPELINE)
    (place / "params.yaml").write_text("rows: 100\n")
    return place


def functions(place: Path, count: int) -> Path:
    """Steps that do nothing, none of which waits for another."""
    place.mkdir()
    (place / "flow.py").write_text("def step(number):\n    return {'number': number}\n")
    steps = "".join(f'[step.s{n}]\nrun = "flow:step"\nparams = {{ number = {n} }}\n' for n in range(count))
    (place / "conveyor.toml").write_text(f'[project]\nname = "bench"\n{steps}')
    return place


def git_and_dvc(place: Path, dvc: Path) -> None:
    run(["git", "init", "-q"], place)
    run([dvc, "init", "-q"], place)


def contents(place: Path) -> dict[str, bytes]:
    found = [path for path in place.rglob("*") if path.is_file() and not path.name.startswith((".", "dvc."))]
    inner = [path.relative_to(place) for path in found]
    return {str(each): (place / each).read_bytes() for each in inner if not each.parts[0].startswith(".")}


# --- running and measuring


def run(words: list[str | Path], place: Path) -> float:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    began = time.perf_counter()
    done = subprocess.run(words, cwd=place, env=kept | QUIET, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds


def median(measure: Callable[[], float], rounds: int) -> float:
    return statistics.median(measure() for _ in range(rounds))


def peer(name: str, program: str = "") -> Path | None:
    """A peer's program in an environment of its own; None without PEERS, or where it cannot be installed."""
    if not PEERS:
        return None
    home = ROOT / ".bench" / name
    if not (home / ".ready").exists():
        package = {"zenml": "zenml[local]"}.get(name, name)
        for words in ([BIN / "uv", "venv", "-q", "--clear", home], [
            BIN / "uv", "pip", "install", "-q", "--python", home / "bin" / "python", package
        ]):  # fmt: skip
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                why = done.stderr.strip().splitlines()[-1:]
                print(json.dumps({"case": "peers", "peer": name, "not installed": why}))
                return None
        (home / ".ready").touch()
    return home / "bin" / (program or name)


def asked(name: str, part: str, counts: tuple[int, int], place: Path) -> float | None:
    """Seconds that one more step takes in a peer, from the times of two counts."""
    python = peer(name, "python")
    if python is None:
        return None
    place.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    env = kept | QUIET | {
        "HOME": str(place), "PREFECT_HOME": str(place), "DAGSTER_HOME": str(place),
        "ZENML_CONFIG_PATH": str(place / "zenml"), "PATH": f"{python.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    (place / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    seconds = {}
    for count in (counts[0], *counts):  # the first time is for what the first time costs
        began = time.perf_counter()
        try:
            words = [python, PARTS / part, str(count)]
            done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, check=False, timeout=100)
        except subprocess.TimeoutExpired:
            print(json.dumps({"case": "trivial", "peer": name, "failed": "no answer within 100 s"}))
            return None
        if done.returncode:
            print(json.dumps({"case": "trivial", "peer": name, "failed": (done.stderr or done.stdout)[-300:]}))
            return None
        seconds[count] = time.perf_counter() - began  # with its end: what is recorded in the background counts
    return (seconds[counts[1]] - seconds[counts[0]]) / (counts[1] - counts[0])


def told(case: str, what: str, value: float, *, ratio: float = 0.0, goal: float = 0.0, holds: bool = True) -> None:
    line: dict[str, object] = {"case": case, "what": what, "value": round(value, 2)}
    if ratio:
        line["ratio"] = round(ratio, 1)
    if goal:
        line["goal"], holds = goal, ratio >= goal
    line["holds"] = holds
    _HELD.append(holds)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
