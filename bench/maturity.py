"""One class's labels come twice as fast: what is labelled naively, and what is mature, beside the truth.

    python bench/maturity.py

Two classes, 10 % positive, a score with ROC AUC about .85 and scores that mean their probability. Labels of one class
take 1 to 2 days, those of the other twice that. Each day of thirty, the two weeks up to then are judged.
"""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from conveyor.domain.measures.maturity import mature_age

ROWS, DAYS, SHARE = 120_000, 60, 0.1
HORIZON = timedelta(days=14)


def main() -> None:
    random = np.random.default_rng(0)
    at = np.sort(random.uniform(0, DAYS, ROWS))
    positive = random.random(ROWS) < SHARE
    score = random.normal(positive * 1.5)
    for quick in ("positives", "negatives"):
        slower = positive if quick == "negatives" else ~positive
        told = at + random.uniform(1, 2, ROWS) * np.where(slower, 2, 1)
        found = [day(at, told, positive, score, now) for now in range(30, DAYS + 1)]
        for name in ("naive", "mature", "truth"):
            values = np.array([each[name] for each in found])
            names = ("newest_share", "training_share", "average_precision", "roc_auc")
            told_ = {key: round(float(mean), 4) for key, mean in zip(names, values.mean(axis=0), strict=True)}
            print(json.dumps({"quick": quick, "rows": name, **told_}))
        print(json.dumps({"quick": quick, "mature_after_days": round(float(np.mean([e["age"] for e in found])), 2)}))


def day(at, told, positive, score, now):  # type: ignore[no-untyped-def]
    """Share of positives in the newest three days that have labels and in two weeks of training rows; and metrics."""
    seen = (told <= now) & (at <= now)
    second = 86_400.0
    age = mature_age(
        (told - at)[seen] * second, (now - at)[seen] * second, positive[seen].astype(str).tolist(), HORIZON
    ) / timedelta(days=1)

    def figures(rows, until):  # type: ignore[no-untyped-def]
        newest = rows & (at > until - 3) & (at <= until)
        window = rows & (at > until - 14) & (at <= until)
        truth, given = positive[newest], score[newest]
        metrics = average_precision_score(truth, given), roc_auc_score(truth, given)
        return positive[newest].mean(), positive[window].mean(), *metrics

    every = np.ones(len(at), bool)
    return {
        "naive": figures(seen, now),
        "mature": figures(seen, now - age),
        "truth": figures(every, now - age),
        "age": age,
    }


if __name__ == "__main__":
    main()
