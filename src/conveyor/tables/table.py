"""A version of a dataset as a table, read straight from the store: only parts whose event times are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from conveyor.client import Client, connect
from conveyor.config.duration import parse_duration
from conveyor.domain.dataset import DatasetProfile, Manifest, Part, utc
from conveyor.domain.families import model_of
from conveyor.domain.reference import parse
from conveyor.domain.step import InputSpec
from conveyor.domain.views import TableView
from conveyor.errors import InputRejected, NotFound, Unavailable
from conveyor.sdk import inputs, sketch
from conveyor.sdk.schema import parse_type
from conveyor.tables import content
from conveyor.tables.store import Store, find

if TYPE_CHECKING:
    import duckdb as duckdb_
    import pandas as pd
    import pyarrow as pa

    from conveyor.tables.torch import Rows

_BATCH = 65_536


class Table:
    """`view` is the record of the version; nothing is read before it is asked for."""

    def __init__(self, view: TableView, store: Store) -> None:
        self.view = view
        self._store = store

    def __repr__(self) -> str:
        version = self.view.version
        return f"<{version.name}@v{version.version}: {version.rows:,} rows, {len(version.schema)} columns>"

    @property
    def version(self) -> int:
        return self.view.version.version

    @property
    def profile(self) -> DatasetProfile | None:
        return self.view.version.profile

    def sketches(self) -> dict[str, sketch.Sketch] | None:
        """What the profile merges from; None in versions of an earlier Conveyor, and where the object is gone."""
        digest = self.profile.sketches if self.profile else ""
        try:
            return sketch.from_bytes(self._store.whole(digest).read_bytes()) if digest else None
        except NotFound:
            return None

    def parts(self, *, window: str | None = None, since: Any = None, until: Any = None) -> Manifest:
        """The parts that may hold rows of that time; `scan` reads no other."""
        after, first, last = self._range(window, since, until)
        return self.view.manifest.within(after or first, last)

    def scan(
        self,
        *,
        window: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """The rows, lazily. Without arguments all of them.

        `window` ("28d", "6h") is the newest stretch of event time: later than `until` less the window, up to `until`,
        which is the version's newest event time unless it is given. `since` is included. Times without a zone are UTC.
        """
        after, first, last = self._range(window, since, until)
        manifest = self.view.manifest.within(after or first, last)
        frame = self._open([self._store.place(part) for part in manifest.parts])
        if (after or first or last) is not None:
            frame = self._cut(frame, after, first, last)
        return frame if columns is None else frame.select(columns)

    def frame(self, **which: Any) -> pl.DataFrame:
        """As `scan`, read."""
        try:
            return self.scan(**which).collect(engine="streaming")
        except (pl.exceptions.ComputeError, OSError) as error:
            raise Unavailable(
                f"{self!r} cannot be read from {self.view.objects}: {error}",
                hint="Is the store reachable from here, with credentials (AWS_...)? `verify=True` reads by the API.",
            ) from error

    def first(self, rows: int, **which: Any) -> pl.DataFrame:
        """The first rows; no more parts are read than hold them."""
        found: list[pl.DataFrame] = []
        for batch in self.batches(max(rows, 1), **which):
            found.append(batch.head(rows - sum(each.height for each in found)))
            if sum(each.height for each in found) >= rows:
                break
        return pl.concat(found) if found else self._open([]).collect()

    def of(self, parts: Sequence[Part]) -> pl.LazyFrame:
        """The rows of some parts of this version."""
        return self._open([self._store.place(part) for part in parts])

    def arrow(self, **which: Any) -> pa.Table:
        with _needs("pyarrow"):
            return self.frame(**which).to_arrow()

    def pandas(self, **which: Any) -> pd.DataFrame:
        with _needs("pandas", "pyarrow"):
            return self.frame(**which).to_pandas()

    def duckdb(self, **which: Any) -> duckdb_.DuckDBPyRelation:
        """A relation of DuckDB, for SQL."""
        with _needs("duckdb", "pyarrow"):
            import duckdb

            return duckdb.from_arrow(self.arrow(**which))

    def torch(self, *, columns: Sequence[str], batch: int = 1024, **which: Any) -> Rows:
        """A PyTorch IterableDataset of dicts of tensors, column -> [batch]; parts are shared among its workers."""
        with _needs("torch"):
            from conveyor.tables.torch import Rows

            return Rows(self, tuple(columns), batch, which)

    def batches(
        self,
        rows: int = _BATCH,
        *,
        share: int = 0,
        of: int = 1,
        window: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows, some at a time, part after part: memory is that of one batch. `share`-th of `of` parts only."""
        after, first, last = self._range(window, since, until)
        for part in self.view.manifest.within(after or first, last).parts[share::of]:
            frame = self._open([self._store.place(part)])
            for start in range(0, part.rows, rows):
                piece = frame.slice(start, rows)
                piece = self._cut(piece, after, first, last) if (after or first or last) is not None else piece
                found = (piece if columns is None else piece.select(columns)).collect()
                if found.height:
                    yield found

    def _open(self, places: list[str]) -> pl.LazyFrame:
        # Of no part nothing but the footer of one is read, for the order of its columns.
        chosen = places or [self._store.place(part) for part in self.view.manifest.parts[-1:]]
        if not chosen:
            return pl.LazyFrame(schema=self._schema())
        more: dict[str, Any] = {}
        if model_of(self.view.version.name):  # its models need not all have had the same features
            more = {"schema": self._schema(), "missing_columns": "insert", "extra_columns": "ignore"}
        frame = pl.scan_parquet(chosen, glob=False, storage_options=self._store.options, **more)
        return frame if places else frame.clear()

    def _schema(self) -> pl.Schema:
        return pl.Schema({name: parse_type(dtype) for name, dtype in self.view.version.schema.items()})

    def _cut(
        self, frame: pl.LazyFrame, after: datetime | None, first: datetime | None, last: datetime | None
    ) -> pl.LazyFrame:
        spec = InputSpec(self.view.version.name, (), time=self.view.time)
        schema = self._schema()
        at, unit = inputs.event_time(spec, schema), inputs.unit_of(spec, schema)
        if after is not None:
            frame = frame.filter(at > inputs.moment(after, unit))
        if first is not None:
            frame = frame.filter(at >= inputs.moment(first, unit))
        return frame if last is None else frame.filter(at <= inputs.moment(last, unit))

    def _range(
        self, window: str | None, since: datetime | str | None, until: datetime | str | None
    ) -> tuple[datetime | None, datetime | None, datetime | None]:
        """(later than, from, up to)."""
        first, last = _moment(since), _moment(until)
        if window is None:
            return None, first, last
        length = parse_duration(window)
        if length is None or length <= timedelta(0):
            raise InputRejected(f"{window!r} is not a stretch of time", hint='Write "28d", "6h" or "90m".')
        if first is not None:
            raise InputRejected("`window` and `since` say the same twice", hint="Give one of them.")
        newest = last or self.view.version.watermark
        if newest is None:
            raise InputRejected(
                f"{self!r} has no event time, so it has no window",
                hint=f"Name its column in conveyor.toml: [data.{self.view.version.name}] time = ...",
            )
        return utc(newest) - length, None, utc(newest)


def open_table(reference: str, project: str = "", verify: bool | None = None, client: Client | None = None) -> Table:
    """The version that a reference names, in the Conveyor of this folder or of the environment."""
    asked = parse(reference)
    found = client or connect()
    view = found.table(asked.project or found.project(project), asked.name, asked.which)
    return Table(view, find(found, view, os.environ, verify))


def write(table: Table, target: Path, **which: Any) -> int:
    """Rows written to a Parquet or CSV file, whole or not at all; memory is that of some batches.

    Parquet is written so that the next version's file shares most of its bytes, where pyarrow 21 or newer is installed.
    """
    suffix = target.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise InputRejected(f"{target.name} is neither .parquet nor .csv", hint="Name a file with one of them.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    frame = table.scan(**which)
    try:
        if suffix == ".parquet" and content.able():
            content.write(table.batches(4 * content.GROUP, **which), frame.collect_schema(), temporary)
        elif suffix == ".parquet":
            frame.sink_parquet(temporary, compression="zstd")
        else:
            frame.sink_csv(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        rows = pl.scan_parquet(temporary) if suffix == ".parquet" else pl.scan_csv(temporary, infer_schema=False)
        written = int(rows.select(pl.len()).collect().item())
        temporary.replace(target)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputRejected(
            f"{target} cannot be written: {getattr(error, 'strerror', None) or error}",
            hint="Is there room, and may you write there? A CSV file holds no lists.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return written


class _needs:  # noqa: N801 - reads as a clause: with _needs("pyarrow")
    """Says which package is not installed, instead of how an import failed."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModuleNotFoundError):
            needed = " and ".join(self._packages)
            raise InputRejected(
                f"this form needs the package {error.name}", hint=f"Install {needed}, or use .frame() or .scan()."
            ) from error


def _moment(at: datetime | str | None) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return None if at is None else utc(at)
    try:
        return utc(datetime.fromisoformat(at))
    except ValueError as error:
        raise InputRejected(f"{at!r} is not a time", hint="Write 2018-05-01 or 2018-05-01T06:30.") from error
