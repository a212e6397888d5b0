"""`python -m conveyor.sdk.compare SPEC.json OUT`: how far two artifacts differ on the same rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from conveyor.domain import wire
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import CompareReport, CompareSpec
from conveyor.sdk import process, table
from conveyor.sdk.forms.scorer import score
from conveyor.sdk.forms.table import open_model

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def compare(spec: CompareSpec) -> CompareReport:
    """Scores of both, each by its own manifest; the difference is infinite where only one of them is a number."""
    holdout = pl.read_parquet(spec.holdout)
    one, other = (_scores(Path(folder), holdout, spec.trusted) for folder in (spec.one, spec.other))
    both, neither = np.isfinite(one) & np.isfinite(other), ~np.isfinite(one) & ~np.isfinite(other)
    with np.errstate(invalid="ignore"):
        apart = np.where(both, np.abs(one - other), np.where(neither, 0.0, np.inf))
    largest = float(apart.max()) if len(apart) else 0.0
    finite = largest if np.isfinite(largest) else None
    return CompareReport(len(apart), int((apart > 0).sum()), finite)


def _scores(folder: Path, holdout: pl.DataFrame, trusted: tuple[str, ...]) -> Floats:
    manifest = wire.from_json((folder / MANIFEST).read_bytes(), ModelManifest)
    model = open_model(manifest, folder / FILES[manifest.form], trusted)
    rows = table.matrix(holdout, manifest.signature.features)
    return score(model, rows, manifest.signature.score).astype(np.float64)


def main(argv: list[str]) -> int:
    return process.run(argv, CompareSpec, lambda spec, out: process.write_json(out / "compared.json", compare(spec)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
