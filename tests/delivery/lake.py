"""A control plane's data side as it is: records, objects, desk, arrivals, ingests in real processes."""

from __future__ import annotations

import io
import os
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from conveyor.config.load import load
from conveyor.config.settings import Settings, make_folders
from conveyor.delivery.arrivals import Arrivals
from conveyor.delivery.desk import Desk
from conveyor.delivery.ingest import IngestRecipe
from conveyor.delivery.lookup import latest_data, manifest_of
from conveyor.delivery.rows import Rows
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.release import Build
from conveyor.domain.run import RunState
from conveyor.domain.state import Arrival, Project, Quarantined
from conveyor.effects.clock import SystemClock
from conveyor.engine.context import Context
from conveyor.engine.runs import Runs
from conveyor.stores.collections import ARRIVALS, BUILDS, PROJECTS, RUNS
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records
from conveyor.stores.rowlog import RowLog

CONFIG = """
[project]
name = "shop"

[data.payments]
time = "at"
key = "id"
debounce = "0s"
"""
RULES = "[data.payments.rules]\namount = { min = 0, max = 100 }\n"
DAY = datetime(2026, 1, 1)


def payments(ids: range, *, day: int = 0, amount: float = 10.0) -> pl.DataFrame:
    """Customer 100 + id % 5; every amount is within the rules unless told otherwise."""
    return pl.DataFrame(
        {
            "id": list(ids),
            "at": [DAY + timedelta(days=day, minutes=n) for n in range(len(ids))],
            "customer": [100 + each % 5 for each in ids],
            "amount": [amount] * len(ids),
        }
    )


class Lake:
    def __init__(self, root: Path, rules: str = RULES) -> None:
        self.open(root)
        settings = self.context.settings
        assert self.context.renew()
        (settings.builds / "tree").mkdir()
        (settings.envs / "environment").symlink_to(sys.prefix)
        self.contract(rules)

    def open(self, root: Path) -> None:
        """Another process's look at the same state."""
        self.root = root
        settings = Settings(root / ".conveyor")
        make_folders(settings)
        self.context = Context(
            settings,
            Records(f"sqlite:///{settings.database}"),
            Objects(str(settings.objects), root / "cache"),
            SystemClock(),
            lambda: secrets.token_hex(6),
            f"test-{os.getpid()}",
        )
        self.rowlog = Rows(self.context, RowLog(self.context.settings.rows, 1 << 20))
        self.desk = Desk(self.context, lambda: None, lambda: True, dict, self.rowlog)

    def contract(self, rules: str) -> None:
        """A push that changes what the rules say."""
        with self.context.records.transaction() as tx:
            tx.put(PROJECTS, Project("shop", datetime.now(UTC)))
            tx.put(
                BUILDS,
                Build(
                    "shop", secrets.token_hex(4), "c", "tree", "environment", load(CONFIG + rules), datetime.now(UTC)
                ),
            )

    def land(self, name: str, table: pl.DataFrame | bytes) -> Arrival:
        raw = table if isinstance(table, bytes) else parquet(table)
        path = self.root / "upload"
        path.write_bytes(raw)
        accepted = self.desk.upload("shop", "payments", name, path)
        with self.context.records.read() as tx:
            return tx.need(ARRIVALS, f"shop/payments/{accepted.digest}")

    def settle(self) -> None:
        """Until nothing waits and no run is open."""
        assert self.context.renew()
        arrivals, runs = Arrivals(self.context, self.rowlog), Runs(self.context, [IngestRecipe(self.context)])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            arrivals.turn()
            runs.turn()
            with self.context.records.read() as tx:
                waiting = tx.count(ARRIVALS, where={"dataset": "shop/payments", "state": "waiting"})
                if not waiting and not tx.count(RUNS, where={"state": RunState.RUNNING}):
                    return
            time.sleep(0.05)
        raise AssertionError("the ingest did not end")

    def version(self) -> DatasetVersion:
        with self.context.records.read() as tx:
            found = latest_data(tx, "shop", "payments")
        assert found is not None
        return found

    def versions(self) -> list[DatasetVersion]:
        return list(reversed(self.desk.dataset_versions("shop", "payments")))

    def rows(self, version: DatasetVersion | None = None) -> pl.DataFrame:
        parts = manifest_of(self.context.objects, version or self.version()).parts
        frames = [pl.read_parquet(self.context.objects.path(part.digest), glob=False) for part in parts]
        return pl.concat(frames).sort("id") if frames else payments(range(0))

    def held(self) -> list[Quarantined]:
        return self.desk.quarantine("shop", "payments")

    def told(self, *types: str) -> list[dict[str, object]]:
        return [event.data for event in self.desk.events(types=types, limit=1000)]

    def close(self) -> None:
        self.context.release()
        self.context.records.close()


def parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="snappy")  # not as ingest writes it
    return buffer.getvalue()
