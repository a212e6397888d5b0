"""Datasets of files: Conveyor beside DVC, in one run, as whole commands; the median of three.

    make bench-data                   ours
    PEERS=1 make bench-data           DVC beside us (the first run installs it into .bench/dvc)
    QUICK=1 make bench-data           one run of each, smaller
    make bench-data ARGS="small"      only some of: small large growth many million history

small: 10,000 files of 10 KiB. large: one file of 1 GiB. growth: what a second version of a file costs. many: 100,000
files of which one changed. million: 1,000,000 files of which ten are touched. history: log, status and add at 1 and at
10,000 earlier versions.

All contents are random bytes, except for the tables. DVC is used as its documentation has it, with its defaults and
without analytics; both push to a folder of the same disk. Page caches are warm for both, and both have their modules
compiled, as an installation has. One line of JSON a figure: a `ratio` above 1 means that Conveyor is better; exit 1
when a goal does not hold.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars

from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.store import DataStore
from conveyor.tables import content as pages

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
QUICK = os.environ.get("QUICK") == "1"
PEERS = os.environ.get("PEERS", "0") == "1"
RUNS = 1 if QUICK else 3
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_HELD: list[bool] = []


def main() -> int:
    cases: dict[str, Callable[[Path], None]] = {
        "small": small,
        "large": large,
        "growth": growth,
        "many": many,
        "million": million,
        "history": history,
    }
    warm()
    for name in sys.argv[1:] or cases:
        scratch = Path(tempfile.mkdtemp(prefix="bench-data-"))
        try:
            cases[name](scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(_HELD) else 1


def warm() -> None:
    """Every command once, so that what it imports is compiled."""
    with tempfile.TemporaryDirectory(prefix="bench-data-") as scratch:
        place = Place(Path(scratch) / "place")
        spread(place.path / "data", 1, 1)
        for words in (("add", "set", "data"), ("status",), ("push", "set", "--to", f"{scratch}/remote")):
            place.run(*words)
        shutil.rmtree(place.path / "data")
        place.run("checkout", "set")
        place.run("log", "set")


# --- the cases


def small(scratch: Path) -> None:
    count = 2000 if QUICK else 10_000
    files = spread(scratch / "source", count, 10_240)
    ours: dict[str, list[float]] = {"add": [], "status": [], "checkout": [], "push": []}
    theirs: dict[str, list[float]] = {name: [] for name in ours}
    for number in range(RUNS):
        place = Place(scratch / f"ours-{number}")
        shutil.copytree(files, place.path / "data")
        os.sync()
        ours["add"].append(place.run("add", "set", "data"))
        place.run("status")
        ours["status"].append(place.run("status"))
        ours["push"].append(place.run("push", "set", "--to", str(scratch / f"remote-{number}")))
        shutil.rmtree(place.path / "data")
        os.sync()
        ours["checkout"].append(place.run("checkout", "set"))
        if PEERS:
            peer = Dvc(scratch / f"dvc-{number}", scratch / f"dvc-remote-{number}")
            shutil.copytree(files, peer.path / "data")
            os.sync()
            theirs["add"].append(peer.run("add", "data"))
            peer.run("status")
            theirs["status"].append(peer.run("status"))
            theirs["push"].append(peer.run("push"))
            shutil.rmtree(peer.path / "data")
            os.sync()
            theirs["checkout"].append(peer.run("checkout"))
    for name, goal in (("add", 6), ("status", 5), ("checkout", 5), ("push", 10)):
        versus(f"{count:,} files of 10 KiB, {name}", ours[name], theirs[name], goal)
    report("status of unchanged files", median(ours["status"]), "s", most=0.15)


def large(scratch: Path) -> None:
    size = (128 if QUICK else 1024) * 1024 * 1024
    source = scratch / "large.bin"
    with source.open("wb") as file:
        for number in range(size // (1 << 23)):
            file.write(random.Random(number).randbytes(1 << 23))
    ours: list[float] = []
    copied: list[float] = []
    theirs: list[float] = []
    memory = 0
    for number in range(RUNS):
        os.sync()
        begun = time.perf_counter()
        with (scratch / "copy").open("wb") as file, source.open("rb") as reading:
            shutil.copyfileobj(reading, file, 1 << 23)
            os.fsync(file.fileno())
        copied.append(time.perf_counter() - begun)
        (scratch / "copy").unlink()
        place = Place(scratch / f"ours-{number}")
        os.sync()
        ours.append(place.run("add", "set", str(source)))
        memory = max(memory, place.memory)
        shutil.rmtree(place.path)
        if PEERS:
            peer = Dvc(scratch / f"dvc-{number}", scratch / "dvc-remote")
            source.rename(peer.path / "large.bin")
            os.sync()
            theirs.append(peer.run("add", "large.bin"))
            shutil.copy(peer.path / "large.bin", source)
            shutil.rmtree(peer.path)
    versus("one file of 1 GiB, add", ours, theirs, 3)
    report("one file of 1 GiB, add against a copy with fsync", median(ours) / median(copied), "times", most=3)
    report("one file of 1 GiB, peak memory of add", memory / 1e6, "MB", most=300)


def growth(scratch: Path) -> None:
    """By how much the store grows, as a share of the file."""
    wanted = (25 if QUICK else 250) * 1024 * 1024
    head, rows = "id,time,amount,terminal,note\n", []
    drawn, size = random.Random(1), 0
    while size < wanted:
        number = len(rows)
        note = f"n{drawn.getrandbits(64):x}"
        rows.append(f"{number},{1.6e9 + number * 7.3:.1f},{drawn.random() * 500:.2f},{drawn.randrange(9999)},{note}\n")
        size += len(rows[-1])
    share = len(rows) // 100
    fresh = [f"new{row}" for row in rows[:share]]
    middle = len(rows) // 2
    tables = {
        "CSV, 1 % of rows appended": (rows, rows + fresh),
        "CSV, 1 % of rows inserted in the middle": (rows, rows[:middle] + fresh + rows[middle:]),
    }
    for name, (old, new) in tables.items():
        first, second = (head + "".join(lines) for lines in (old, new))
        grew(scratch / "csv", name, [first.encode(), second.encode()], 1.5)
    frame = polars.DataFrame(
        {
            "id": range(len(rows)),
            "time": [1.6e9 + number * 7.3 for number in range(len(rows))],
            **{f"x{column}": [drawn.random() for _ in rows] for column in range(3 if QUICK else 5)},
        }
    )
    added = frame.head(share).with_columns(polars.col("id") + len(rows))
    parquet = []
    for table in (frame, polars.concat([frame, added])):
        table.rechunk().write_parquet(scratch / "table.parquet", compression="zstd", row_group_size=100_000)
        parquet.append((scratch / "table.parquet").read_bytes())
    grew(scratch / "parquet", "Parquet, 1 % of rows appended", parquet, 3)
    if not QUICK:  # of a small file one group of rows is already some percent
        exported(scratch, frame, added)


def exported(scratch: Path, frame: polars.DataFrame, added: polars.DataFrame) -> None:
    """Parquet as `conveyor data export` writes it."""
    middle = frame.height // 2
    with_words = polars.col("id").hash(1) % 9973
    frame, added = (each.with_columns(with_words.cast(polars.String).alias("word")) for each in (frame, added))
    tables = {
        "appended": (3, [frame, added]),
        "inserted in the middle": (20, [frame.head(middle), added, frame.slice(middle)]),
    }
    for name, (most, pieces) in tables.items():
        written = []
        for batches in ([frame], pieces):
            pages.write(batches, frame.schema, scratch / "table.parquet")
            written.append((scratch / "table.parquet").read_bytes())
        if not polars.read_parquet(scratch / "table.parquet").equals(polars.concat(pieces)):
            raise SystemExit("what was written does not read as it was")
        grew(scratch / "parquet", f"Parquet written by us, 1 % of rows {name}", written, most)


def grew(scratch: Path, name: str, contents: list[bytes], most: float) -> None:
    place = Place(scratch)
    sizes = []
    for content in contents:
        (place.path / "table").write_bytes(content)
        place.run("add", "set", "table")
        sizes.append(used(place.path / ".conveyor" / "data"))
    report(
        f"growth by a second version: {name}",
        (sizes[1] - sizes[0]) / len(contents[0]) * 100,
        "% of the file",
        most=most,
    )
    shutil.rmtree(place.path)


def many(scratch: Path) -> None:
    count = 10_000 if QUICK else 100_000
    place = Place(scratch / "hundred")
    files = spread(place.path / "data", count, 100)
    place.run("add", "set", "data")
    store = DataStore(LocalBackend(place.path / ".conveyor" / "data"), place.path / ".conveyor" / "data" / "cache")
    seconds, whole, grown = [], [], []
    for number in range(RUNS):
        changed = sorted(files.rglob("*.bin"))[count // 2 + number]
        changed.write_bytes(b"changed %d" % number)
        before = used(place.path / ".conveyor" / "data", "packs", "versions")
        seconds.append(one_file(place, store, changed))
        grown.append(used(place.path / ".conveyor" / "data", "packs", "versions") - before)
        changed.write_bytes(b"changed again %d" % number)
        whole.append(place.run("add", "set"))
    report(f"{count:,} files, one changed: the store grows by", median(grown) / 1000, "kB", most=100)
    report(f"{count:,} files, one changed: a version of that file takes", median(seconds) * 1000, "ms", most=200)
    report(f"{count:,} files, one changed: adding the whole folder takes", median(whole), "s")


def one_file(place: Place, store: DataStore, path: Path) -> float:
    from conveyor.stores.data.add import add
    from conveyor.stores.data.order import Order, sources_of

    begun = time.perf_counter()
    add(store, Order("default", "set", sources_of(store.folders, "default", "set", [str(path)])))
    return time.perf_counter() - begun


def million(scratch: Path) -> None:
    count = 20_000 if QUICK else 1_000_000
    place = Place(scratch)
    files = spread(place.path / "data", count, 64)
    os.sync()
    seconds = place.run("add", "set", "data")
    report(f"{count:,} files of 64 bytes, add", seconds, "s")
    report(f"{count:,} files of 64 bytes, peak memory of add", place.memory / 1e6, "MB", most=1000)
    place.run("status")
    touched = []
    for number in range(RUNS):
        for path in sorted((files / "000").iterdir())[number * 10 : number * 10 + 10]:
            path.write_bytes(b"touched")
        touched.append(place.run("status", code=1))
    report(f"{count:,} files, status after touching 10", median(touched), "s", most=5)


def history(scratch: Path) -> None:
    """At 1 and at 10,000 earlier versions; the versions between are copies of the first one's document."""
    versions = 500 if QUICK else 10_000
    place = Place(scratch)
    spread(place.path / "data", 200, 1000)
    place.run("add", "set", "data")
    figures: dict[str, list[float]] = {}
    for length in (1, versions):
        store = DataStore(LocalBackend(place.path / ".conveyor" / "data"), scratch / "cache")
        newest, first = store.versions.tip("default", "set")
        assert first is not None
        for number in range(newest + 1, length + 1):
            made = first.created + timedelta(seconds=number)
            assert store.versions.create(replace(first, version=number, parent=number - 1, created=made))
        for word, words in {"log": ["log", "set"], "status": ["status", "set"], "add": ["add", "set", "data"]}.items():
            times = []
            for _ in range(5):
                (place.path / "data" / "000" / "changing.bin").write_bytes(os.urandom(100))
                times.append(place.run(*words, code=None))
            figures.setdefault(word, []).append(median(times))
    for word, (few, lots) in figures.items():
        report(f"{word} at {versions:,} earlier versions against 1", lots / few, "times", most=1.5)


# --- what is measured with


class Place:
    """A folder with a `.conveyor` of its own; `memory` is the peak of the last command, in bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memory = 0
        path.mkdir(parents=True, exist_ok=True)

    def run(self, *words: str, code: int | None = 0) -> float:
        environment = {**ENVIRONMENT, "CONVEYOR_HOME": str(self.path / ".conveyor")}
        seconds, self.memory = command([str(BIN / "conveyor"), "data", *words], self.path, environment, code)
        return seconds


class Dvc:
    """A git repository with DVC in it, and a folder as its remote."""

    def __init__(self, path: Path, remote: Path) -> None:
        self.path = path
        self._program = ROOT / ".bench" / "dvc" / "bin" / "dvc"
        if not (ROOT / ".bench" / "dvc" / ".ready").exists():
            python, uv = ROOT / ".bench" / "dvc" / "bin" / "python", str(BIN / "uv")
            home = str(ROOT / ".bench" / "dvc")
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], check=True)
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), "dvc"]
            subprocess.run(install, check=True)
            (ROOT / ".bench" / "dvc" / ".ready").touch()
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "--quiet", str(path)], check=True)
        self.run("init", "--quiet")
        self.run("config", "core.analytics", "false")
        self.run("remote", "add", "--default", "there", str(remote))

    def run(self, *words: str) -> float:
        return command([str(self._program), *words], self.path, ENVIRONMENT, None)[0]


_MEASURE = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - begun, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]))
"""


def command(words: list[str], cwd: Path, environment: dict[str, str], code: int | None) -> tuple[float, int]:
    """(seconds, peak memory in bytes) of a whole command, started by a small process: a child's peak memory counts that
    of the process it was forked from."""
    measuring = [sys.executable, "-S", "-c", _MEASURE, *words]
    done = subprocess.run(measuring, cwd=cwd, env=environment, capture_output=True, check=True)
    seconds, memory, ended = json.loads(done.stdout)
    if code is not None and ended != code:
        raise SystemExit(f"{' '.join(words)} ended with {ended}: {done.stderr.decode()}")
    return seconds, memory


def spread(folder: Path, count: int, size: int) -> Path:
    """Files of random bytes, a thousand a folder at most."""
    drawn = random.Random(count)
    each = 1000 if count >= 100_000 else 100
    for start in range(0, count, each):
        place = folder / f"{start // each:03d}"
        place.mkdir(parents=True)
        for number in range(start, min(start + each, count)):
            handle = os.open(f"{place}/{number:07d}.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(handle, drawn.randbytes(size))
            os.close(handle)
    return folder


def used(folder: Path, *parts: str) -> int:
    """Bytes of all files, the caches left out."""
    places = [folder / part for part in parts] or [path for path in folder.iterdir() if path.name != "cache"]
    found = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    return sum(path.stat().st_size for path in found if path.is_file())


def median(values: list[float]) -> float:
    return statistics.median(values)


def versus(case: str, ours: list[float], theirs: list[float], goal: float) -> None:
    line: dict[str, Any] = {"bench": "data", "case": case, "value": round(median(ours), 3), "unit": "s"}
    if theirs:
        ratio = median(theirs) / median(ours)
        line |= {"peer": "dvc", "peer_value": round(median(theirs), 3), "ratio": round(ratio, 1), "goal": goal}
        told(line, ratio >= goal)
    else:
        told(line, True)


def report(case: str, value: float, unit: str, most: float | None = None) -> None:
    line: dict[str, Any] = {"bench": "data", "case": case, "value": round(value, 3), "unit": unit}
    if most is not None:
        line["goal"] = most
    told(line, most is None or value <= most)


def told(line: dict[str, Any], holds: bool) -> None:
    """With QUICK the sizes are not those of the goals: they are shown, and do not decide."""
    _HELD.append(holds or QUICK)
    print(json.dumps({**line, "holds": holds}), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
