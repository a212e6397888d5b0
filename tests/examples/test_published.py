"""The example that makes the published tables again: its quick part, by the command and by its figures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[2] / "examples" / "published"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def example() -> Iterator[None]:
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))
    for name in [name for name in sys.modules if name == "published" or name.startswith("published.")]:
        del sys.modules[name]


def test_conveyor_run_judges_a_model(published: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "published")
    command = [str(Path(sys.executable).with_name("conveyor")), "run", "tree", "--param", f"data={published}"]
    for said in ("tree: ran", "2 steps: up to date"):
        done = subprocess.run(
            command, cwd=tmp_path / "published", capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


@pytest.mark.parametrize(
    ("step", "model", "params"),
    [
        ("logistic", "logistic", {}),
        ("tree", "tree", {"max_depth": 2}),
        ("deep_tree", "tree", {}),
        ("xgboost",) * 2 + ({},),
    ],
)
def test_the_figures_of_one_split_are_the_published_ones(
    step: str, model: str, params: dict[str, int], published: Path
) -> None:
    from published.models import judged
    from published.report import FIGURES, SPLIT
    from published.transactions import read

    first = "2018-07-25"
    found = judged(read(str(published), first, 21), model, params, date.fromisoformat(first))
    assert [found.figures[name] for name in FIGURES] == pytest.approx(list(SPLIT[step]), abs=0.005)
    assert found.form == "onnx"
    assert found.parity < 1e-5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 50), st.booleans()), min_size=1))
def test_a_card_is_found_once(rows: list[tuple[int, int, int, bool]]) -> None:
    """Against a slow count by hand, with three cards checked a day."""
    from published.protocol import card_precision

    days = [date(2018, 8, 1 + day) for day, *_ in rows]
    cards, scores, frauds = [row[1] for row in rows], [row[2] / 10 for row in rows], [int(row[3]) for row in rows]
    test = pl.DataFrame({"day": days, "CUSTOMER_ID": cards, "TX_FRAUD": frauds})
    found: set[int] = set()
    shares = []
    for day in sorted(set(days)):
        of_day = [(c, s, f) for d, c, s, f in zip(days, cards, scores, frauds, strict=True) if d == day]
        best = {c: max(s for card, s, _ in of_day if card == c) for c, _, _ in of_day if c not in found}
        checked = sorted(best, key=lambda card: (-best[card], card))[:3]
        hits = {c for c in checked if any(f for card, _, f in of_day if card == c)}
        found |= hits
        shares.append(len(hits) / 3)
    counted = card_precision(test, pl.Series(scores).to_numpy(), 3)
    assert counted == pytest.approx(sum(shares) / len(shares))
