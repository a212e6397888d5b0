"""`conveyor data drift`: how far the columns of a table went, from a version or a file to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conveyor.cli.output import say, say_json, table
from conveyor.domain.reference import parse

if TYPE_CHECKING:
    from conveyor.domain.drift_report import ColumnDrift

_WHAT = "A Parquet or CSV file, or NAME, NAME@v12, NAME@TAG of a dataset"


def command(
    reference: Annotated[str, typer.Argument(help=f"{_WHAT}.")],
    current: Annotated[str, typer.Argument(help="As REFERENCE, or of the same dataset only what follows the @: v13.")],
    exact: Annotated[bool, typer.Option("--exact", help="Of all rows, not of a profile of the reference.")] = False,
    jointly: Annotated[bool, typer.Option("--jointly", help="All numbers together too, by a classifier.")] = False,
    limit: Annotated[float, typer.Option(help="The PSI above which a column has drifted.")] = 0.25,
    project: Annotated[str, typer.Option(help="The project, where there are several.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How far each column went, and whereto. Example: conveyor data drift transactions@v11 v12 --exact"""
    from conveyor.sdk.drift import drift

    second = current
    if not _is_file(reference) and not _is_file(current) and "@" not in current and "/" not in current:
        name = parse(reference).name
        second = current if current == name else f"{name}@{current}"
    found = drift(_source(reference, project), _source(second, project), exact=exact, jointly=jointly, limit=limit)
    if as_json:
        say_json(found)
        return
    say(f"{found.reference_rows:,} rows -> {found.rows:,} rows")
    say()
    heads = ("column", "PSI", "KS", "Jensen-Shannon", "Wasserstein", "p", "nulls", "mean", "")
    table(heads, [_row(column) for column in found.columns])
    for word, names in (("only in the reference", found.gone), ("only in the current one", found.new)):
        if names:
            say(f"  {word}, or of another kind: {', '.join(names)}")
    say()
    say(found.message)


def _source(given: str, project: str) -> Any:
    if _is_file(given):
        return Path(given)
    from conveyor.tables.table import open_table

    return open_table(given, project)


def _is_file(given: str) -> bool:
    return given.endswith((".parquet", ".csv"))


def _row(column: ColumnDrift) -> tuple[str, ...]:
    found, number = column.distances, column.kind == "number"
    mean = f"{column.reference_mean:.4g} -> {column.mean:.4g}" if number else ""
    nulls = f"{column.reference_null_share:.1%} -> {column.null_share:.1%}"
    said = ", ".join(word for word in ("moved away" if column.drifted else "steady", column.direction) if word)
    ks, apart = (f"{found.ks:.3f}", f"{found.wasserstein:.3g} sd") if number else ("", "")
    return (
        column.name,
        f"{found.psi:.3f}",
        ks,
        f"{found.jensen_shannon:.3f}",
        apart,
        f"{column.p_value:.2g}",
        nulls,
        mean,
        said,
    )
