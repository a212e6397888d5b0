"""How often the monitor errs on unchanged traffic, and at how many rows it sees what changed.

Seeded simulation with the monitor's own code: a profile of 30 features over two weeks of 9,500 rows a day, and
windows judged by `monitor.signals`. Prints the tables of docs/monitoring.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from conveyor.domain.drift import Profile
from conveyor.domain.measures.profile import counts_in, profile
from conveyor.domain.monitor import SignalKind, Window, signals
from conveyor.domain.project import MonitorConfig
from conveyor.monitoring.open_window import OpenWindow, Tally
from conveyor.monitoring.windows import close

QUICK = os.environ.get("QUICK") == "1"
WINDOWS, TRIES = (100, 10) if QUICK else (1000, 50)
DAY = 9_500  # rows
TRAINING = 14 * DAY
SIZES = (200, 500, 1000, 2000, 5000, 20_000, 50_000)
LIMITS = (0.25, 0.1, 0.05, 0.01, 0.005)
Rows = np.ndarray
SHIFTS: dict[str, Callable[[np.random.Generator, Rows], Rows]] = {
    "mean by 0.1 sd": lambda random, x: x + 0.1,
    "mean by 0.25 sd": lambda random, x: x + 0.25,
    "mean by 0.5 sd": lambda random, x: x + 0.5,
    "mean by 1 sd": lambda random, x: x + 1.0,
    "scale by 1.5": lambda random, x: x * 1.5,
    "5 % missing": lambda random, x: np.where(random.random(x.size) < 0.05, np.nan, x),
}


def normal(random: np.random.Generator, start: int, rows: int) -> Rows:
    return random.normal(size=rows)


def kinds(random: np.random.Generator, start: int, rows: int) -> Rows:
    return random.choice(5, rows, p=[0.5, 0.2, 0.15, 0.1, 0.05]).astype(float)


def weekend(random: np.random.Generator, start: int, rows: int) -> Rows:
    return ((np.arange(start, start + rows) // DAY) % 7 >= 5).astype(float)


SHAPES: tuple[Callable[[np.random.Generator, int, int], Rows], ...] = (
    *[normal] * 12,
    *[lambda random, start, rows: random.lognormal(3, 1, rows)] * 6,
    *[lambda random, start, rows: random.poisson(2, rows).astype(float)] * 5,
    *[kinds] * 5,
    weekend,
    lambda random, start, rows: ((np.arange(start, start + rows) % DAY) < DAY // 4).astype(float),
)


def tables() -> int:
    random = np.random.default_rng(1)
    features = {f"f{n}": profile(shape(random, 0, TRAINING)) for n, shape in enumerate(SHAPES)}
    reference = Profile(TRAINING, features, profile(random.normal(size=20_000)))
    worst = false_alarms(reference)
    power(reference)
    return 0 if worst <= MonitorConfig().false_alarms else 1


def false_alarms(reference: Profile) -> float:
    """Unchanged windows in a row, day after day, with every limit on the same windows."""
    print(f"{WINDOWS:,} windows of unchanged traffic, 30 features and the score; false_alarms = 0.01\n")
    print("| rows | " + " | ".join(f"psi = {limit:g}" for limit in LIMITS) + " | features that differ in their day |")
    print("|---:|" + "---:|" * (len(LIMITS) + 1))
    worst = 0.0
    for rows in (1000, 5000):
        random, start = np.random.default_rng(rows), 0
        raised, calendar = dict.fromkeys(LIMITS, 0), 0
        for _ in range(WINDOWS):
            window = filled(reference, {f"f{n}": shape(random, start, rows) for n, shape in enumerate(SHAPES)}, random)
            start += rows
            for limit in LIMITS:
                raised[limit] += bool(signals(window, MonitorConfig(rows=rows, psi=limit)))
            calendar += max(window.psi["f28"], window.psi["f29"]) > 0.25
        worst = max(worst, *(count / WINDOWS for count in raised.values()))
        shares = " | ".join(f"{raised[limit] / WINDOWS:.1%}" for limit in LIMITS)
        print(f"| {rows:,} | {shares} | {calendar / WINDOWS:.1%} |", flush=True)
    return worst


def power(reference: Profile) -> None:
    """The fewest rows of a window, of SIZES, in which at least 90 % of windows raise a signal for the feature."""
    print(f"\nRows of a window in which at least 90 % of {TRIES} windows raise a signal for the feature that moved\n")
    print("| change of one feature in 30 | PSI | " + " | ".join(f"psi = {limit:g}" for limit in LIMITS) + " |")
    print("|---|---:|" + "---:|" * len(LIMITS))
    cases = {name: ("f0", change) for name, change in SHIFTS.items()}
    cases["one category of 10 % to 20 %"] = ("f23", lambda random, x: np.where(random.random(x.size) < 0.11, 3.0, x))
    cases["one category vanishes (5 %)"] = ("f23", lambda random, x: np.where(x == 4.0, 0.0, x))
    for said, (name, change) in cases.items():
        found, moved = least_rows(reference, name, change)
        told = " | ".join(f"{found[limit]:,}" if limit in found else "-" for limit in LIMITS)
        print(f"| {said} | {moved:.3f} | {told} |", flush=True)


def least_rows(reference: Profile, name: str, change: Callable[..., Rows]) -> tuple[dict[float, int], float]:
    found: dict[float, int] = {}
    random, moved = np.random.default_rng(7), 0.0
    for rows in SIZES:
        seen = dict.fromkeys(LIMITS, 0)
        for _ in range(TRIES):
            start = int(random.integers(0, 50)) * DAY
            columns = {f"f{n}": shape(random, start, rows) for n, shape in enumerate(SHAPES)}
            columns[name] = change(random, columns[name])
            window = filled(reference, columns, random)
            moved = window.psi[name]
            for limit in LIMITS:
                told = signals(window, MonitorConfig(rows=rows, psi=limit))
                seen[limit] += any(name in one.features for one in told if one.kind is not SignalKind.DECAY)
        for limit in LIMITS:
            if limit not in found and seen[limit] >= 0.9 * TRIES:
                found[limit] = rows
    return found, moved


def filled(reference: Profile, columns: dict[str, Rows], random: np.random.Generator) -> Window:
    rows = len(next(iter(columns.values())))
    tallies = {name: tally(values, reference.features[name].grid) for name, values in columns.items()}
    assert reference.score is not None
    score = tally(random.normal(size=rows), reference.score.grid)
    return close(OpenWindow("shop/fraud", 1, 1, rows, tallies, score), reference)


def tally(values: Rows, edges: tuple[float, ...]) -> Tally:
    single = values.astype(np.float32)
    finite = single[np.isfinite(single)]
    counts, _ = counts_in(finite, edges)
    total = float(finite.sum(dtype=np.float64))
    return Tally(tuple(counts.tolist()), values.size - finite.size, total, float(finite.min()), float(finite.max()))
