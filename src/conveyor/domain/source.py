"""What `inputs` name: `step.features`, `step.features:FILE`, `data.transactions`, `data.transactions@v12`. Pure.

A dataset without @ is its newest version, and new versions start trainings. One that is pinned, by a version, a tag or
a time, is looked up when a training starts, and starts none itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

DATA, STEP = "data", "step"


@dataclass(frozen=True, slots=True)
class Source:
    """`which` is what follows the @ of a dataset's reference; empty where it is not pinned. `file`: a step's output."""

    kind: str
    name: str
    which: str = ""
    file: str = ""

    @property
    def key(self) -> str:
        """By which a training remembers the version that it read: the two may be read side by side."""
        return f"{self.name}@{self.which}" if self.which else self.name


def source(reference: str) -> Source:
    kind, _, rest = reference.partition(".")
    if kind == STEP:
        name, _, file = rest.partition(":")
        return Source(kind, name, file=file)
    name, _, which = rest.partition("@")
    return Source(kind, name, which)


def read_of(data: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(dataset, version) of all that a training read, from what it remembers by `Source.key`."""
    return ((key.partition("@")[0], number) for key, number in data.items())


def versions_of(data: Mapping[str, int], dataset: str) -> set[int]:
    """Which versions of a dataset a training read."""
    return {number for name, number in read_of(data) if name == dataset}
