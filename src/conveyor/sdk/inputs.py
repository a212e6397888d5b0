"""Inputs of user code: Parquet files as a frame of the annotated type, with labels that are not known yet masked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from conveyor.domain.dataset import utc
from conveyor.domain.step import InputSpec
from conveyor.errors import InputRejected

FORMS = ("pl.LazyFrame", "pl.DataFrame", "pd.DataFrame", "pa.Table", "Path")


def load(spec: InputSpec) -> pl.LazyFrame:
    """Rows from `since` on; labels later than `known_until` are null. This is the only door to data for user code."""
    try:
        frame = pl.scan_parquet(list(spec.paths))
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputRejected(
            f"input {spec.name}: {error}", hint="The stored object is damaged or gone: run `conveyor doctor`."
        ) from error
    if spec.since is not None:
        frame = frame.filter(event_time(spec, schema) >= moment(spec.since, unit_of(spec, schema)))
    if spec.known_until is None or spec.label is None:
        return frame
    if spec.label not in schema:
        raise missing(spec, "label", spec.label, schema)
    known = event_time(spec, schema) <= moment(spec.known_until, unit_of(spec, schema))
    return frame.with_columns(pl.when(known).then(pl.col(spec.label)).otherwise(None).alias(spec.label))


def given(spec: InputSpec) -> pl.LazyFrame | Path:
    """What user code is given of an input: rows, or the folder with the files as they are."""
    return Path(spec.folder) if spec.folder else load(spec)


def event_time(spec: InputSpec, schema: pl.Schema) -> pl.Expr:
    """The event time as a naive UTC datetime in its own unit (a coarser one could let a label through)."""
    if spec.time is None:
        raise InputRejected(
            f"input {spec.name} has no event-time column, so rows cannot be told apart by time",
            hint='Name it in conveyor.toml: [data.<name>] time = "...".',
        )
    if spec.time not in schema:
        raise missing(spec, "event-time", spec.time, schema)
    column, dtype = pl.col(spec.time), schema[spec.time]
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Datetime("us"))
    if not isinstance(dtype, pl.Datetime):
        raise InputRejected(
            f"input {spec.name}: event-time column {spec.time} is {dtype}, not a date or datetime",
            hint="Convert it to a datetime where the data is written or in a step.",
        )
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else column


def unit_of(spec: InputSpec, schema: pl.Schema) -> str:
    dtype = schema.get(spec.time) if spec.time else None
    return dtype.time_unit if isinstance(dtype, pl.Datetime) else "us"


def moment(at: datetime, unit: str) -> pl.Expr:
    """A literal to compare an event time with; floored to the column's unit, which lets no more labels through."""
    return pl.lit(utc(at).astimezone(UTC).replace(tzinfo=None)).cast(pl.Datetime(unit))  # type: ignore[arg-type]


def missing(spec: InputSpec, kind: str, column: str, schema: pl.Schema) -> InputRejected:
    return InputRejected(
        f"input {spec.name} lacks its {kind} column {column}; it has {', '.join(schema.names())}",
        hint="Keep the column in the step that makes this input, or mend its name in conveyor.toml.",
    )


def form_of(annotation: Any) -> str:
    """The form that an annotation asks for, one of FORMS; without annotation a pl.LazyFrame.

    An annotation may be text (`from __future__ import annotations` with names that are not importable at run time).
    """
    if annotation is None:
        return "pl.LazyFrame"
    if isinstance(annotation, str):
        root, _, name = annotation.strip("'\" ").rpartition(".")
        package = {"polars": "pl", "pandas": "pd", "pyarrow": "pa", "pathlib": ""}.get(root, root)
    else:
        name = getattr(annotation, "__name__", str(annotation))
        package = {"polars": "pl", "pandas": "pd", "pyarrow": "pa"}.get(
            getattr(annotation, "__module__", "").partition(".")[0], ""
        )
    form = f"{package}.{name}" if package else name
    if form == "LazyFrame":
        return "pl.LazyFrame"
    if form not in FORMS:
        raise InputRejected(
            f"an input cannot be given as {annotation!r}", hint=f"Annotate the argument with one of {', '.join(FORMS)}."
        )
    return form


def deliver(frame: pl.LazyFrame | Path, form: str, name: str, scratch: Path) -> Any:
    """The frame in the form asked for. A Path is a Parquet file in `scratch`: stored objects hold unmasked labels.

    Files are a folder, and come in no other form than a Path.
    """
    if isinstance(frame, Path):
        if form != "Path":
            raise InputRejected(
                f"argument {name} is annotated {form}, but {name} is a dataset of files",
                hint=f"Annotate it `{name}: Path` (pathlib): it is given the folder with the files.",
            )
        return frame
    if form == "pl.LazyFrame":
        return frame
    if form == "Path":
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / f"{name}.parquet"
        frame.sink_parquet(path, compression="zstd")
        return path
    table = frame.collect(engine="streaming")
    if form == "pl.DataFrame":
        return table
    try:
        return table.to_arrow() if form == "pa.Table" else table.to_pandas()
    except ModuleNotFoundError as error:
        raise InputRejected(
            f"argument {name} is annotated {form}, which needs the package {error.name}",
            hint=f"Add {error.name} to the project's requirements, or annotate it pl.DataFrame.",
        ) from error
