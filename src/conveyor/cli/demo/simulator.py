"""Card transactions with fraud, made up day by day, for machines without the published data.

Written from the description of the Fraud Detection Handbook's simulator (Le Borgne and others, 2022): customers and
terminals on a 100 x 100 plane, a customer buys within a radius of 5, and three kinds of fraud. Columns and types are
those of the published files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SIDE, RADIUS = 100.0, 5.0
DAY = 86_400
NOON_SPREAD = 20_000.0
"""Standard deviation of a purchase's time of day around noon, seconds."""
OBVIOUS = 220.0
"""Every amount above is a fraud (kind 1)."""
TERMINALS_A_DAY, TERMINAL_DAYS = 2, 28
"""Kind 2: terminals compromised each day, and for how long; all they sell is fraud."""
CUSTOMERS_A_DAY, CUSTOMER_DAYS, SHARE, FACTOR = 3, 14, 3, 5.0
"""Kind 3: customers compromised each day, for how long; one in SHARE of their purchases is FACTOR times as large."""
DTYPES = {
    "TRANSACTION_ID": pl.Int32,
    "CUSTOMER_ID": pl.Int32,
    "TERMINAL_ID": pl.Int32,
    "TX_AMOUNT": pl.Float64,
    "TX_TIME_SECONDS": pl.Int32,
    "TX_TIME_DAYS": pl.Int32,
    "TX_FRAUD": pl.Int8,
    "TX_FRAUD_SCENARIO": pl.Int8,
}


@dataclass(frozen=True, slots=True)
class World:
    """Who buys where: terminals within reach of customer c are `reach[start[c]:start[c + 1]]`."""

    mean_amount: Floats  # [customers], 5 to 100
    rate: Floats  # [customers], transactions a day, 0 to 4
    reach: Ints
    start: Ints  # [customers + 1]
    terminals: int


def simulate(
    days: int, seed: int, start: date, customers: int = 5000, terminals: int = 10000
) -> Iterator[tuple[date, pl.DataFrame]]:
    """One table a day, in order of time; the same seed gives the same tables."""
    rng = np.random.default_rng(seed)
    world = make_world(rng, customers, terminals)
    bad_terminals = np.full(terminals, -1, dtype=np.int64)  # the last day on which each is compromised
    bad_customers = np.full(customers, -1, dtype=np.int64)
    first_id = 0
    for day in range(days):
        bad_terminals[rng.choice(terminals, min(TERMINALS_A_DAY, terminals), replace=False)] = day + TERMINAL_DAYS
        bad_customers[rng.choice(customers, min(CUSTOMERS_A_DAY, customers), replace=False)] = day + CUSTOMER_DAYS
        table = one_day(rng, world, day, bad_terminals > day, bad_customers > day)
        yield start + timedelta(days=day), finished(table, start, day, first_id)
        first_id += table.height


def make_world(rng: np.random.Generator, customers: int, terminals: int) -> World:
    """Places, habits, and which terminals each customer can reach."""
    homes, places = rng.uniform(0, SIDE, (customers, 2)), rng.uniform(0, SIDE, (terminals, 2))
    mean_amount, rate = rng.uniform(5, 100, customers), rng.uniform(0, 4, customers)
    reach = [np.flatnonzero(((places - home) ** 2).sum(axis=1) < RADIUS**2) for home in homes]
    sizes = np.array([len(found) for found in reach], dtype=np.int64)
    return World(mean_amount, rate, np.concatenate(reach), np.concatenate([[0], np.cumsum(sizes)]), terminals)


def one_day(
    rng: np.random.Generator,
    world: World,
    day: int,
    bad_terminals: npt.NDArray[np.bool_],
    bad_customers: npt.NDArray[np.bool_],
) -> pl.DataFrame:
    """A day's purchases and which of them are frauds, in order of time."""
    choices = np.diff(world.start)
    counts = np.where(choices > 0, rng.poisson(world.rate), 0)
    customer = np.repeat(np.arange(len(counts)), counts)
    second = rng.normal(DAY / 2, NOON_SPREAD, len(customer)).astype(np.int64)
    mean = world.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount)
    terminal = world.reach[world.start[customer] + (rng.random(len(customer)) * choices[customer]).astype(np.int64)]
    inside = (second > 0) & (second < DAY)
    customer, second, amount, terminal = customer[inside], second[inside], amount[inside], terminal[inside]

    kind = np.zeros(len(customer), dtype=np.int8)
    kind[amount > OBVIOUS] = 1
    kind[bad_terminals[terminal]] = 2
    taken = bad_customers[customer] & (rng.random(len(customer)) < 1 / SHARE)
    amount[taken] *= FACTOR
    kind[taken] = 3
    columns = {
        "CUSTOMER_ID": customer,
        "TERMINAL_ID": terminal,
        "TX_AMOUNT": amount.round(2),
        "second": second,
        "TX_FRAUD_SCENARIO": kind,
    }
    return pl.DataFrame(columns).sort("second", maintain_order=True)


def finished(table: pl.DataFrame, start: date, day: int, first_id: int) -> pl.DataFrame:
    """The columns and types of the published files."""
    moment = pl.lit(start + timedelta(days=day)).cast(pl.Datetime("ns")) + pl.duration(
        seconds=pl.col("second"), time_unit="ns"
    )
    full = table.with_row_index("TRANSACTION_ID", offset=first_id).with_columns(
        moment.alias("TX_DATETIME"),
        (pl.col("second") + day * DAY).alias("TX_TIME_SECONDS"),
        pl.lit(day).alias("TX_TIME_DAYS"),
        (pl.col("TX_FRAUD_SCENARIO") > 0).alias("TX_FRAUD"),
    )
    ordered = ["TRANSACTION_ID", "TX_DATETIME", *list(DTYPES)[1:]]
    return full.select(ordered).cast(DTYPES)  # type: ignore[arg-type]
