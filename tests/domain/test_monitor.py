from __future__ import annotations

from dataclasses import replace

import pytest

from conveyor.domain import wire
from conveyor.domain.monitor import FeatureShift, Quality, Signal, SignalKind, Window, decay, signals
from conveyor.domain.project import MonitorConfig

CONFIG = MonitorConfig(rows=5000, psi=0.25, decay=0.1)
CALM = FeatureShift(0.01, 0.02, 5.0, 5.1, 0.0, 0.0)


def window(score: FeatureShift | None = CALM, nonfinite: int = 0, **features: FeatureShift) -> Window:
    calm = {"amount": CALM, "hour": CALM, "risk": CALM}
    return Window("shop/fraud@3#12", "shop/fraud", 3, 12, 5000, calm | features, score, nonfinite, 0.1)


def only(found: tuple[Signal, ...]) -> Signal:
    assert len(found) == 1
    assert wire.from_json(wire.to_json(found[0]), Signal) == found[0]
    return found[0]


def test_calm_traffic_gives_no_signal():
    assert signals(window(), CONFIG) == ()
    assert window().psi == {"amount": 0.01, "hour": 0.01, "risk": 0.01}


def test_drift_names_the_features_the_worst_first_with_figures_and_cause():
    found = only(signals(window(amount=replace(CALM, psi=0.31), risk=replace(CALM, psi=0.61, mean=0.5)), CONFIG))
    assert (found.kind, found.features, found.window) == (SignalKind.DRIFT, ("risk", "amount"), 12)
    assert found.figures == {"risk": 0.61, "amount": 0.31}
    assert found.message == (
        "risk (PSI 0.61, mean 0.5 against 5.1) and amount (PSI 0.31, mean 5 against 5.1) moved away from the training "
        "profile in window 12 of shop/fraud version 3 (5,000 rows); the limit is 0.25. "
        "Likely a change in the world or in the source of these features alone."
    )
    far = replace(CALM, psi=0.9)
    assert "upstream" in only(signals(window(amount=far, hour=far, risk=far), CONFIG)).message
    assert only(signals(window(score=far), CONFIG)).message.startswith("the score (PSI 0.90")


def test_what_the_calendar_does_by_itself_is_no_drift():
    assert signals(window(hour=replace(CALM, psi=2.1, natural=2.5, constant=True)), CONFIG) == ()
    assert only(signals(window(hour=replace(CALM, psi=2.6, natural=2.5)), CONFIG)).features == ("hour",)


@pytest.mark.parametrize(
    ("given", "blamed", "says"),
    [
        (window(amount=replace(CALM, null_share=0.12, psi=1.0)), "amount", "amount is missing in 12.0% of rows"),
        (window(amount=replace(CALM, constant=True, psi=3.0, mean=0)), "amount", "amount is 0 in every row (mean 5.1"),
        (window(nonfinite=51, score=replace(CALM, psi=1.0)), "score", "51 scores are NaN or infinite"),
    ],
)
def test_a_data_fault_is_named_and_not_taken_for_drift_as_well(given, blamed, says):
    found = only(signals(given, CONFIG))
    assert (found.kind, found.features) == (SignalKind.DATA_FAULT, (blamed,))
    assert says in found.message
    assert "mend the data first" in found.message


def test_what_was_missing_in_training_may_be_missing_now():
    assert signals(window(amount=replace(CALM, null_share=0.205, reference_null_share=0.2)), CONFIG) == ()
    assert signals(replace(window(amount=replace(CALM, constant=True, psi=3)), rows=99), CONFIG)[0].kind == "drift"


QUALITY = Quality("average_precision", 67_000, 560, 0.45, 0.41, 0.49, 0.95, "shop/fraud", 3)


def test_decay_wants_the_whole_interval_beyond_the_tolerated_loss():
    found = decay(QUALITY, 0.6, CONFIG)
    assert found is not None
    assert (found.kind, found.version) == (SignalKind.DECAY, 3)
    assert "0.4500 on 67,000 labelled predictions (95% interval 0.4100 to 0.4900), against 0.6000" in found.message
    assert found.figures["bound"] == pytest.approx(0.54)
    assert decay(replace(QUALITY, high=0.55), 0.6, CONFIG) is None
    assert decay(replace(QUALITY, positives=19), 0.6, CONFIG) is None, "insufficient evidence"
    assert decay(replace(QUALITY, value=None, low=None, high=None), 0.6, CONFIG) is None


def test_decay_of_an_error_is_a_rise():
    error = replace(QUALITY, metric="rmse", positives=0, value=3.0, low=2.8, high=3.2)
    assert decay(error, 2.5, CONFIG) is not None
    assert decay(error, 2.6, CONFIG) is None
    assert decay(replace(error, rows=19), 2.5, CONFIG) is None
