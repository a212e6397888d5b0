"""What is tracked: experiments, runs, their params, tags and metrics, in the words of MLflow's REST. Pure values."""

from __future__ import annotations

import math
from typing import Any

import msgspec

ACTIVE, DELETED = "active", "deleted"
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
STATUSES = (RUNNING, "SCHEDULED", FINISHED, FAILED, KILLED)
LARGEST = 1.7976931348623157e308
"""Infinities are kept as the largest numbers, as MLflow does."""


class Pair(msgspec.Struct):
    """A param or a tag."""

    key: str
    value: str = ""


class Point(msgspec.Struct):
    """One value of a metric. `timestamp` in milliseconds; `value` is the text "NaN" where it is no number."""

    key: str
    value: float | str
    timestamp: int = 0
    step: int = 0
    model_id: str | msgspec.UnsetType = msgspec.UNSET
    dataset_name: str | msgspec.UnsetType = msgspec.UNSET
    dataset_digest: str | msgspec.UnsetType = msgspec.UNSET


class Experiment(msgspec.Struct, omit_defaults=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: list[Pair] = []


class RunInfo(msgspec.Struct, omit_defaults=True):
    """`start_time`, `end_time` in milliseconds."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int | None = None


class RunData(msgspec.Struct):
    metrics: list[Point]
    params: list[Pair]
    tags: list[Pair]


class TrackedRun(msgspec.Struct):
    info: RunInfo
    data: RunData
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}


class File(msgspec.Struct, omit_defaults=True):
    """An artifact, or a folder of them."""

    path: str
    is_dir: bool
    file_size: int | None = None


def number(value: float | str) -> tuple[float, bool]:
    """The value as it is kept, and whether it is no number. Raises ValueError."""
    found = float(value)
    if math.isnan(found):
        return 0.0, True
    return max(-LARGEST, min(LARGEST, found)), False
