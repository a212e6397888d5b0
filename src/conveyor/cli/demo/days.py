"""The calendar: one table of transactions a day, published or simulated, as the shop sees it and as files that land."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from conveyor.cli.demo.simulator import simulate
from conveyor.errors import NotFound

_SEED = 7
_START = date(2018, 4, 1)
NAMES = {
    "TRANSACTION_ID": "transaction_id",
    "TX_DATETIME": "at",
    "CUSTOMER_ID": "customer_id",
    "TERMINAL_ID": "terminal_id",
    "TX_AMOUNT": "amount",
}


@dataclass(frozen=True, slots=True)
class Day:
    name: str
    table: pl.DataFrame

    def columns(self) -> dict[str, list[object]]:
        """The transactions by the shop's names, without labels; times as microseconds since the epoch."""
        frame = self.table.select(list(NAMES)).with_columns(pl.col("TX_DATETIME").dt.timestamp("us"))
        return frame.rename(NAMES).to_dict(as_series=False)

    def labels(self) -> dict[str, list[object]]:
        """What is known a week later."""
        return self.table.select(transaction_id="TRANSACTION_ID", fraud="TX_FRAUD").to_dict(as_series=False)

    def payments(self, count: int) -> list[dict[str, object]]:
        """Some of the day's transactions as single payments, in the order of time."""
        rows = self.table.gather_every(max(1, self.table.height // count)).select(list(NAMES)).rename(NAMES)
        return rows.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S")).to_dicts()

    def drifted(self, factor: float) -> Day:
        """The injected drift: every amount is `factor` times as large."""
        return Day(self.name, self.table.with_columns(pl.col("TX_AMOUNT") * factor))

    def land(self, folder: Path) -> None:
        """As a file that is whole when it appears."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{self.name}.new"
        self.table.write_parquet(temporary)
        temporary.replace(folder / f"{self.name}.parquet")


def days(data: Path | None, count: int) -> Iterator[Day]:
    """`count` days in order, from a folder of files named by date, or from the simulator."""
    if data is None:
        for day, table in simulate(count, _SEED, _START):
            yield Day(day.isoformat(), table)
        return
    files = sorted(data.glob("*.parquet"))[:count]
    if len(files) < count:
        raise NotFound(f"{data} has {len(files)} daily files; {count} are needed", hint="Ask for fewer --weeks.")
    for path in files:
        yield Day(path.stem, pl.read_parquet(path))
