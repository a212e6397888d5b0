"""How far scores are from being probabilities, and how far they would be by chance alone."""

from __future__ import annotations

import math
import statistics as standard

import numpy as np
import numpy.typing as npt

from conveyor.domain.evaluation import Calibration

Floats = npt.NDArray[np.float64]

BINS = 15
SIMULATED = 500


def calibration(y: Floats, p: Floats, seed: int) -> Calibration | None:
    """None where scores are not probabilities, or there are fewer rows than bins.

    `ece`: mean |share of positives - mean score| over BINS bins of equally many rows (Naeini et al. 2015).
    `chance`: what 95 of 100 perfectly calibrated models with these very scores stay under, by labels drawn from the
    scores (consistency resampling, Broecker and Smith 2007): a small holdout shows some error by itself.
    `z`: Spiegelhalter's statistic (1986), standard normal for a calibrated model.
    """
    if p.size < BINS or not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        return None
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    edges = np.linspace(0, p.size, BINS + 1).astype(np.int64)[:-1]
    random = np.random.default_rng(seed)
    drawn = [_ece(_drawn(random, p), p, edges) for _ in range(SIMULATED)]
    spread = float((((1 - 2 * p) ** 2) * p * (1 - p)).sum())
    z = float(((y - p) * (1 - 2 * p)).sum()) / math.sqrt(spread) if spread > 0 else 0.0
    return Calibration(
        ece=_ece(y, p, edges),
        chance=float(np.quantile(drawn, 0.95)),
        brier=float(((y - p) ** 2).mean()),
        z=z,
        p_value=2.0 * (1.0 - standard.NormalDist().cdf(abs(z))),
    )


def _drawn(random: np.random.Generator, p: Floats) -> Floats:
    labels: Floats = (random.random(p.size) < p).astype(np.float64)
    return labels


def _ece(y: Floats, p: Floats, edges: npt.NDArray[np.int64]) -> float:
    return float(np.abs(np.add.reduceat(y - p, edges)).sum() / p.size)
