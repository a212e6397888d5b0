"""Is the new version worse than the live one? A sequential test: it may be looked at as often as one likes. Pure.

For a share of bad answers (failed, or slow) two hypotheses stand against each other: the new version is no worse than
`p0`, or it is as bad as `p1`. Their likelihood ratio is followed from the first request on (Wald 1945, Sequential
Tests of Statistical Hypotheses). While the first is true, the ratio passes 1 / alpha at *any* time with a probability
of at most alpha (Ville's inequality), so that looking ten times a second costs nothing. What has reached neither
bound is insufficient evidence: too little was seen, and nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt

ALPHA = 0.05
"""The most that false aborts may be of a whole rollout; divided among its steps."""
BETA = 0.04
"""The most that missed regressions may be of a step: a little under the 5 % that is promised."""
FEWEST_ERRORS = 3
"""A release is not given up for fewer bad answers than this: one may be chance, and what is rejected stays rejected."""
_CAUTION = 2.0  # standard errors by which the live version's share is doubted, in favour of neither verdict


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient evidence"


@dataclass(frozen=True, slots=True)
class Share:
    """`bad` of `total` answers; one may be bad in part."""

    bad: float
    total: int

    @property
    def rate(self) -> float:
        return self.bad / self.total if self.total else 0.0


def compare(new: Share, live: Share, tolerated: float, regression: float, looks: int = 1) -> Verdict:
    """The new version's bad answers against the live one's.

    `tolerated` is a share that is fine whatever the live version does; `regression` is the smallest rise over the
    larger of the two that must not go unseen. `looks`: how many such tests one rollout makes (Bonferroni).
    """
    low, high = interval(live) if live.total else (0.0, 0.0)
    if new.bad >= FEWEST_ERRORS and evidence(new, max(tolerated, high), regression) >= log(looks / ALPHA):
        return Verdict.FAIL
    passes = evidence(new, max(tolerated, low), regression) <= log(BETA / (1 - ALPHA))
    return Verdict.PASS if passes else Verdict.INSUFFICIENT


def evidence(seen: Share, p0: float, regression: float) -> float:
    """The logarithm of the likelihood ratio of p1 = p0 + regression against p0."""
    p0 = min(max(p0, 1e-6), 0.98)
    p1 = min(p0 + regression, 0.99)
    return seen.bad * log(p1 / p0) + (seen.total - seen.bad) * log((1 - p1) / (1 - p0))


def interval(share: Share, z: float = _CAUTION) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927)."""
    p, n = share.rate, share.total
    spread = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    middle, scale = p + z * z / (2 * n), 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def needed(tolerated: float, regression: float) -> int:
    """About how many answers of a version without errors show that it is fine."""
    return round(log(BETA / (1 - ALPHA)) / log((1 - tolerated - regression) / (1 - tolerated))) + 1
