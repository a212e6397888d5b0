"""How many different values a column has: the k smallest hashes of them, which merge over parts.

Bottom-k sampling (Bar-Yossef et al. 2002; Beyer et al. 2007): with k values kept and the largest of them at the share
t of the range of hashes, (k - 1) / t estimates the number. Its relative standard error is 1 / sqrt(k - 2): 3.1 %.
The hash must be the same in every version of every library, so it is spelled out here for numbers, and for text it is
that of the theta sketch of Apache DataSketches, whose format is fixed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import datasketches
import numpy as np
import numpy.typing as npt

KEPT = 1024
_DROPPED = np.uint64(24)  # low bits of a hash that are not kept: 40 tell 10^9 values apart well enough
_RANGE = float(2**64)

Hashes = npt.NDArray[np.uint64]


def _none() -> Hashes:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Distinct:
    """The at most `KEPT` smallest different hashes, in order. Below that many the count is exact."""

    hashes: Hashes = field(default_factory=_none)

    def merge(self, other: Hashes) -> Distinct:
        if self.hashes.size == KEPT:
            other = other[other < self.hashes[-1]]
        elif other.size > 16 * KEPT:
            # Where enough different ones lie below this, nothing above it can be among the smallest.
            low = np.unique(other[other < np.uint64(4 * KEPT * (2**64 // other.size))])
            other = low if low.size >= KEPT else other
        return Distinct(np.unique(np.concatenate([self.hashes, other]))[:KEPT]) if other.size else self

    def to_bytes(self) -> bytes:
        """5 bytes a hash, about: differences between neighbours, their bytes in planes, compressed."""
        steps = np.diff(self.hashes >> _DROPPED, prepend=np.uint64(0)).astype("<u8")
        return zlib.compress(steps.view(np.uint8).reshape(-1, 8).T.tobytes())

    @staticmethod
    def from_bytes(raw: bytes) -> Distinct:
        planes = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(8, -1)
        steps = np.ascontiguousarray(planes.T).view("<u8").reshape(-1)
        return Distinct(np.cumsum(steps, dtype=np.uint64) << _DROPPED)

    @property
    def estimate(self) -> int:
        if self.hashes.size < KEPT:
            return int(self.hashes.size)
        return round((KEPT - 1) * _RANGE / float(self.hashes[-1]))


def of_numbers(values: npt.NDArray[np.generic]) -> Hashes:
    """The hash of every value, by its 64 bits (splitmix64; Steele et al. 2014). -0.0 counts as 0.0."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0
    bits = np.ascontiguousarray(values if values.dtype.itemsize == 8 else values.astype(np.int64)).view(np.uint64)
    with np.errstate(over="ignore"):
        mixed = bits + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return _kept(mixed ^ (mixed >> np.uint64(31)))


def of_texts(texts: Iterable[str]) -> Hashes:
    """The smallest hashes among those of `texts`; empty text has one as well."""
    sketch = datasketches.update_theta_sketch(12)  # up to 8192 of them: more than are kept
    update = sketch.update
    for text in texts:
        update(text or "\0")
    found = np.fromiter(sketch.compact(), np.uint64)
    return _kept(found << np.uint64(1))  # the library's hashes have 63 bits


def _kept(hashes: Hashes) -> Hashes:
    return (hashes >> _DROPPED) << _DROPPED
