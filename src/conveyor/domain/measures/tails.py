"""Tails of the distributions that tests of drift compare with; written out, for SciPy is not where drift is judged."""

from __future__ import annotations

import math


def chi_square_tail(value: float, degrees: int) -> float:
    """P(chi-square with `degrees` >= value), by the finite sums for whole degrees (Abramowitz and Stegun 26.4.4-5)."""
    if degrees < 1:
        return 1.0
    half = value / 2.0
    if half <= 0.0:
        return 1.0
    if half > 745.0 + degrees * math.log1p(half):
        return 0.0  # below the least double, and so is each term
    whole = degrees % 2 == 0
    total = 0.0 if whole else math.erfc(math.sqrt(half))
    places = range(degrees // 2) if whole else (n + 0.5 for n in range(degrees // 2))
    log = math.log(half)
    total += math.fsum(math.exp(place * log - half - math.lgamma(place + 1.0)) for place in places)
    return min(1.0, total)


def kolmogorov_tail(value: float) -> float:
    """P(sqrt(n) D >= value) in the limit of many rows (Kolmogorov 1933), by whichever series is the faster."""
    if value <= 0.0:
        return 1.0
    if value < 1.18:
        scale = -((math.pi / value) ** 2) / 8.0
        below = sum(math.exp(scale * (2 * k - 1) ** 2) for k in range(1, 6))
        return 1.0 - math.sqrt(2.0 * math.pi) / value * below
    return 2.0 * math.fsum((1 if k % 2 else -1) * math.exp(-2.0 * (k * value) ** 2) for k in range(1, 6))


def ks_tail(distance: float, first: int, second: int) -> float:
    """The chance of such a two-sample Kolmogorov-Smirnov distance, or a larger one, between samples of one source.

    The limit with Stephens' (1970) correction for few rows. Values that repeat make it larger than the truth.
    """
    if not first or not second:
        return 1.0
    root = math.sqrt(first * second / (first + second))
    return kolmogorov_tail((root + 0.12 + 0.11 / root) * distance)
