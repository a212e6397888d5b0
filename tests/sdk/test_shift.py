"""Drift by sketches against the same index counted on the rows themselves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from conveyor.sdk import describe
from conveyor.sdk.shift import shift
from conveyor.sdk.sketch import Sketch

ROWS = 40_000


def sketched(values: object) -> Sketch:
    column = pl.Series("x", values)
    made = Sketch(str(column.dtype))
    describe.add(made, column)
    return made


def exact(before: np.ndarray, after: np.ndarray) -> float:  # type: ignore[type-arg]
    """The textbook's formula over the exact deciles of `before`; no bin of either is empty here."""
    edges = [-np.inf, *np.quantile(before, np.arange(1, 10) / 10), np.inf]
    p, q = (np.histogram(values, edges)[0] / values.size for values in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


@pytest.mark.parametrize("move", [0.0, 0.2, 0.4, 0.8, 1.2])
def test_it_is_the_index_of_the_rows(move: float) -> None:
    random = np.random.default_rng(5)
    before, after = random.normal(0, 1, ROWS), random.normal(move, 1, ROWS)
    found = shift(sketched(before), sketched(after))
    assert found is not None
    assert found.psi == pytest.approx(exact(before, after), rel=0.1, abs=0.01)
    assert found.drifted == (move > 0.5)


def test_flags_texts_nulls_and_small_samples() -> None:
    random = np.random.default_rng(6)
    flags = [random.random(ROWS) < share for share in (0.1, 0.1, 0.5)]
    kinds = [random.choice(["a", "b", "c"], ROWS, p=p) for p in ([0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.3, 0.6])]
    for same, other in ((0, 1), (0, 2)):
        for family in (flags, kinds, [kind == "a" for kind in kinds]):
            found = shift(sketched(family[same]), sketched(family[other]))
            assert found is not None
            assert found.drifted == (other == 2), family
    full, holes = (
        random.normal(size=ROWS),
        pl.Series(random.normal(size=ROWS)).set(pl.Series(random.random(ROWS) < 0.5), None),
    )
    missing = shift(sketched(full), sketched(holes))
    assert missing is not None
    assert missing.drifted
    chance = shift(sketched(random.normal(size=12)), sketched(random.normal(size=12)))
    assert chance is not None
    assert not chance.drifted
    at = pl.Series([1, 2, 3]).cast(pl.Datetime("us"))
    assert shift(sketched(at), sketched(at)) is None
    assert shift(sketched([1, 2]), sketched([1.0, 2.0])) is None
    assert shift(sketched([str(n) for n in range(5000)]), sketched([str(n) for n in range(5000, 10_000)])) is None
