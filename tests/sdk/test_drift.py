"""Drift between tables: every figure against SciPy on the same rows, and the same verdicts from a stored profile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

import conveyor
from conveyor.cli.main import app
from conveyor.errors import InputRejected
from conveyor.sdk import drift


def table(seed: int, rows: int, move: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "steady": random.normal(5, 2, rows),
            "moved": random.normal(move, 1, rows),
            "holes": np.where(random.random(rows) < 0.02 + move / 10, np.nan, random.lognormal(0, 1, rows)),
            "count": random.poisson(3, rows),
            "flag": random.random(rows) < 0.1 + move / 5,
            "kind": random.choice(["a", "b", "c"], rows, p=[0.6 - move / 4, 0.3, 0.1 + move / 4]),
        }
    )


def test_exact_figures_are_scipys_and_a_stored_profile_says_the_same(tmp_path: Path) -> None:
    before, after = table(1, 20_000), table(2, 15_000, 1.0)
    drift.save(conveyor.profile(before), tmp_path / "profile.json")
    exact = conveyor.drift(before, after.lazy(), exact=True)
    stored = conveyor.drift(drift.load(tmp_path / "profile.json"), after)
    figures = {column.name: column for column in exact.columns}
    for name in ("steady", "moved", "holes", "count"):
        old, new = (frame[name].drop_nans().to_numpy() for frame in (before.cast({"count": float}), after))
        found = figures[name].distances
        assert found.ks == pytest.approx(stats.ks_2samp(old, new).statistic, abs=1e-9)
        assert found.wasserstein == pytest.approx(stats.wasserstein_distance(old, new) / old.std(), rel=1e-9)
        close = next(column.distances for column in stored.columns if column.name == name)
        assert close.ks == pytest.approx(found.ks, abs=0.01)
        assert close.psi == pytest.approx(found.psi, abs=1e-4)
    kinds = np.array([[(frame["kind"] == k).sum() for k in "abc"] for frame in (before, after)])
    assert figures["kind"].distances.chi_square == pytest.approx(stats.chi2_contingency(kinds).statistic)
    assert set(exact.drifted) == set(stored.drifted) == {"moved", "kind"} | ({"flag"} & set(exact.drifted))
    assert figures["moved"].direction == "up by 1 sd"
    assert exact.message.startswith("moved (PSI ")
    assert conveyor.drift(before, table(3, 5_000)).drifted == ()


def test_columns_that_differ_are_named_and_odd_tables_do_no_harm(tmp_path: Path) -> None:
    before = table(1, 500)
    after = before.with_columns(steady=pl.lit("text"), extra=pl.lit(1)).drop("kind")
    for exact in (True, False):
        found = conveyor.drift(before, after, exact=exact)
        assert (set(found.gone), set(found.new), found.drifted) == ({"steady", "kind"}, {"steady", "extra"}, ())
        assert conveyor.drift(before.clear(), before, exact=exact).drifted == ()
        assert conveyor.drift(before, before.clear(), exact=exact).rows == 0
        empty = before.with_columns(moved=pl.lit(None, pl.Float64), count=pl.lit(7))
        assert set(conveyor.drift(before, empty, exact=exact).drifted) == {"moved", "count"}
        assert set(conveyor.drift(empty, before, exact=exact).drifted) == {"moved", "count"}
    with pytest.raises(InputRejected, match="of a profile"):
        conveyor.drift(conveyor.profile(before), before, exact=True)
    rows = pl.DataFrame({"rows": ["a", "b"] * 50})
    assert conveyor.drift(rows, rows).drifted == ()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputRejected, match="cannot be read"):
        conveyor.drift(tmp_path / "torn.parquet", before)
    with pytest.raises(InputRejected, match="is no file"):
        conveyor.drift(tmp_path / "none.parquet", before)


def test_the_command_compares_files(tmp_path: Path) -> None:
    table(1, 4000).write_parquet(tmp_path / "a.parquet")
    table(2, 4000, 1.0).write_csv(tmp_path / "b.csv")
    words = ["data", "drift", str(tmp_path / "a.parquet"), str(tmp_path / "b.csv")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "moved (PSI 1.04, up by 1.1 sd)" in said.output
    found = json.loads(CliRunner().invoke(app, [*words, "--exact", "--json"]).output)
    assert found["exact"] is True
    assert {"psi", "ks", "jensen_shannon", "wasserstein", "p_value"} <= found["columns"][0]["distances"].keys()


def test_columns_that_move_only_together_are_told_by_a_classifier_and_unchanged_ones_are_not() -> None:
    def related(seed: int, tie: float) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        a, noise = random.normal(size=(2, 3000))
        return pl.DataFrame({"a": a, "b": tie * a + np.sqrt(1 - tie**2) * noise, "c": random.random(3000)})

    found = conveyor.drift(related(1, 0.8), related(2, -0.8), jointly=True)
    assert found.drifted == (), "each column alone is as it was"
    assert found.together is not None
    assert found.together.drifted
    assert found.together.auc > 0.8
    assert "a classifier tells the two apart (AUC 0." in found.message
    for seed in range(4):
        same = conveyor.drift(related(10 + seed, 0.8), related(30 + seed, 0.8), jointly=True).together
        assert same is not None
        assert not same.drifted
    assert conveyor.drift(related(1, 0.8).head(20), related(2, 0.8), jointly=True).together is None
    with pytest.raises(InputRejected, match="of columns together was asked for of a profile"):
        conveyor.drift(conveyor.profile(related(1, 0.8)), related(2, 0.8), jointly=True)
