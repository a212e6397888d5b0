"""Whose rows may stand on both sides of the cut between training and holdout."""

from __future__ import annotations

import polars as pl

from conveyor.domain.step import TrainSpec
from conveyor.errors import InputRejected


def split(spec: TrainSpec, training: pl.DataFrame, holdout: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """By `spec.group_split`, of rows that time has already parted, so that no group's future is ever trained on:

    past    a group's earlier rows may be trained on, as they will be when the model serves.
    unseen  holdout rows of groups that training has seen are left out: how does it do on new ones?
    apart   training rows of groups that the holdout holds are left out: the same question, on every holdout row.
    Rows without a group are nobody's, and stay.
    """
    if spec.group is None:
        return training, holdout
    for frame in (training, holdout):
        if spec.group not in frame.columns:
            raise InputRejected(
                f"group {spec.group} is not a column of the training input; it has {', '.join(frame.columns)}",
                hint="Keep the column in the step, or take `group` out of the model.",
            )
    if spec.group_split == "unseen":
        return training, _without(holdout, training, spec.group)
    if spec.group_split == "apart":
        return _without(training, holdout, spec.group), holdout
    return training, holdout


def _without(rows: pl.DataFrame, others: pl.DataFrame, group: str) -> pl.DataFrame:
    return rows.join(others.select(group).unique(), on=group, how="anti", maintain_order="left")
