"""Conveyor: continuous delivery for software and machine-learning models.

import conveyor

conveyor.dataset("transactions@v12").scan(window="28d")  # a polars.LazyFrame of the newest 28 days of version 12
"""

from __future__ import annotations

TYPE_CHECKING = False  # an import of typing would cost `conveyor status` a third of its time; checkers know the name
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from conveyor.domain.drift import TableProfile
    from conveyor.domain.drift_report import DriftReport
    from conveyor.tables.table import Table

__version__ = "0.1.0"


def dataset(reference: str, *, project: str = "", verify: bool | None = None) -> Table:
    """A version of a dataset, read straight from the store by `scan`, `frame`, `pandas`, `arrow`, `duckdb`, `torch`.

    `reference` is NAME, NAME@v12, NAME@TAG or NAME@2018-05-01T00:00. It is looked up in the Conveyor of the current
    folder (CONVEYOR_HOME names another), or at CONVEYOR_URL with CONVEYOR_TOKEN. `verify`: compare the digest of each
    object that is read; left out, this is done where whole objects are at hand (a local store, downloads), and ranged
    reads of S3 are not verified.
    """
    from conveyor.tables.table import open_table

    return open_table(reference, project, verify)


def profile(reference: Any) -> TableProfile:
    """A reference for `drift` in constant size: of a frame, a Parquet or CSV file, or a dataset's version."""
    from conveyor.sdk.drift import profile as profiled

    return profiled(reference)


def drift(
    reference: Any, current: Any, *, exact: bool = False, jointly: bool = False, limit: float = 0.25
) -> DriftReport:
    """How far each column of `current` went from `reference`, with direction, effect size and corrected p-value.

    Either is a Polars frame, a Parquet or CSV file, or `conveyor.dataset(...)`; `reference` may be a `profile` as well.
    `exact` compares all rows of both; else the distances are of the reference's profile, within 1 % of rank. `jointly`
    asks a classifier to tell rows of both apart by all numbers together, too (scikit-learn).
    """
    from conveyor.sdk.drift import drift as compared

    return compared(reference, current, exact=exact, jointly=jointly, limit=limit)


def log_metric(name: str, value: float, step: int = 0) -> None:
    """Log a number of the training that calls this: a point of a curve. Outside of a training nothing happens."""
    from conveyor.sdk.run import current

    current().log_metric(name, value, step)


def log_param(name: str, value: Any) -> None:
    """Log what the training was made with; the first value of a name stays."""
    from conveyor.sdk.run import current

    current().log_param(name, value)


def log_artifact(path: str | Path, name: str = "") -> None:
    """Keep a copy of a file with the training, under `name` or its own."""
    from conveyor.sdk.run import current

    current().log_artifact(path, name)


def log_figure(figure: Any, name: str) -> None:
    """Keep a figure of matplotlib, plotly or Altair; what kind of file it is, `name` says: roc.png, roc.html."""
    from conveyor.sdk.run import current

    current().log_figure(figure, name)
