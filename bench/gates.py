"""`python bench/gates.py`: how often the gate against the live version errs, and how often it sees what is there.

Seeded simulation (conveyor.domain.measures.binormal); prints the table of docs/gates.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from conveyor.domain.evaluation import Comparison, Evaluation
from conveyor.domain.gate import Outcome
from conveyor.domain.gates.config import MetricGate
from conveyor.domain.gates.versus_live import versus_live
from conveyor.domain.measures import paired
from conveyor.domain.measures.binormal import Pair, worse_by

LIVE = Pair(positives=0.1, live=2.0, candidate=2.0)
MARGIN = 0.03
RULES = ("better", "not_worse", "not_shown_worse")


def rates(pair: Pair, metric: str, rows: int, candidates: int, resamples: int) -> dict[str, float]:
    """The share of candidates that each rule lets pass; all rules on the same holdouts."""
    passed = dict.fromkeys(RULES, 0)
    for seed in range(candidates):
        truth, candidate, live, _ = pair.draw(np.random.default_rng(seed), rows)
        found = paired.difference(metric, truth, candidate, live, resamples=resamples, confidence=0.95, seed=seed)
        comparison = Comparison(3, None, None, found.point, found.low, found.high, 0.95, found.resamples, found.method)
        evaluation = Evaluation(metric, 0.5, rows, int(truth.sum()), {}, None, {}, 0.0, 0, comparison)
        for rule in RULES:
            verdict = versus_live(MetricGate(versus_live=rule, margin=MARGIN), evaluation)
            passed[rule] += verdict.outcome is Outcome.PASS
    return {rule: count / candidates for rule, count in passed.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="*", default=[500, 2000, 8000])
    given = parser.parse_args()
    print(f"{given.candidates} candidates a line, margin {MARGIN:g}, confidence 0.95, {LIVE.positives:.0%} positive\n")
    print("| metric | positives | candidate | better | not_worse | not_shown_worse |")
    print("|---|---:|---|---:|---:|---:|")
    for metric in ("average_precision", "roc_auc"):
        worse, gains = worse_by(LIVE, metric, MARGIN), worse_by(LIVE, metric, -MARGIN)
        cases = {"equal to live": replace(LIVE), f"worse by {MARGIN:g}": worse, f"better by {MARGIN:g}": gains}
        for rows in given.rows:
            for said, pair in cases.items():
                found = rates(pair, metric, rows, given.candidates, given.resamples)
                shares = " | ".join(f"{found[rule]:.1%}" for rule in RULES)
                print(f"| {metric} | {rows * LIVE.positives:.0f} | {said} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
