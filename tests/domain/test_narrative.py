from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.events import CATALOGUE, Event
from conveyor.domain.narrative import SENTENCES, sentence

NOW = datetime(2026, 3, 2, tzinfo=UTC)
VALUES = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
KEYS = ("commit", "kind", "about", "reason", "rows", "value", "metric", "psi", "metrics", "phase", "problems")


def event(type_: str, subject: str, data: dict[str, Any]) -> Event:
    return Event("1", type_, subject, NOW, "shop", data)


def test_every_type_has_a_sentence_and_no_other_has() -> None:
    assert set(SENTENCES) == set(CATALOGUE)


@given(st.sampled_from(sorted(CATALOGUE)), st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_whatever_the_data_there_is_one_line_that_ends(type_: str, data: dict[str, Any]) -> None:
    said = sentence(event(type_, "model/shop/fraud", data))
    assert said
    assert said.splitlines() == [said]
    assert said[-1] in ".!?…"


@pytest.mark.parametrize(
    ("type_", "subject", "data", "expected"),
    [
        (
            "data.version_created",
            "data/shop/payments",
            {"version": 4, "rows": 2001, "new_rows": 4, "until": "2018-04-04T23:59", "replaced": 3, "late": 1},
            "Version 4 of payments has 2,001 rows, 4 of them new, up to 2018-04-04; 3 rows gave way; 1 row came late.",
        ),
        (
            "data.tagged",
            "data/shop/payments",
            {"tag": "golden", "version": 3, "previous": 1, "reason": "audited"},
            "The tag golden of payments is version 3 now, before version 1: audited.",
        ),
        (
            "code.pushed",
            "project/shop",
            {"branch": "main", "commit": "1a2b3c4d5e", "author": "Ada", "message": "Round amounts"},
            "main of shop moved to 1a2b3c4d “Round amounts” by Ada.",
        ),
        (
            "run.failed",
            "run/77",
            {"kind": "train", "about": "shop/fraud", "error": "fit: exit code 1"},
            "The training of fraud failed: fit: exit code 1.",
        ),
        (
            "data.quarantined",
            "data/shop/payments",
            {"file": "may.parquet", "rows": 1, "reasons": {"amount >= 0": 1}},
            "1 row of may.parquet went to quarantine: amount >= 0 (1).",
        ),
        (
            "rollout.advanced",
            "environment/shop/production",
            {"release": 3, "phase": "canary", "percent": 25, "note": ""},
            "Release 3 in production entered canary with 25 % of the traffic.",
        ),
        (
            "rollout.rolled_back",
            "environment/shop/production",
            {"release": 3, "back_to": 2, "reason": "web answered 12 of 40 with 5xx"},
            "Release 3 in production was rolled back; traffic is back on release 2: web answered 12 of 40 with 5xx.",
        ),
        (
            "monitor.quality",
            "model/shop/fraud",
            {"version": 2, "metric": "average_precision", "value": None, "rows": 1200},
            "average_precision of version 2 of fraud is undefined on 1,200 rows.",
        ),
        ("system.error", "releases", {"error": "KeyError"}, "releases met an error and tries again: KeyError."),
    ],
)
def test_sentences(type_: str, subject: str, data: dict[str, Any], expected: str) -> None:
    assert sentence(event(type_, subject, data)) == expected
