"""Windows over predictions: what model servers logged is counted into the bins of the training profile.

Rows are read once and kept nowhere; a window is closed after exactly `MonitorConfig.rows` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from conveyor.domain.contract import Rule
from conveyor.domain.drift import FeatureProfile, Profile
from conveyor.domain.estimate import Calibrator
from conveyor.domain.measures import expected
from conveyor.domain.measures.against import against
from conveyor.domain.measures.profile import counts_in
from conveyor.domain.monitor import FeatureShift, Window
from conveyor.domain.observation import Prediction
from conveyor.domain.project import MonitorConfig
from conveyor.domain.skew import Skew
from conveyor.errors import CorruptObject
from conveyor.monitoring.open_window import OpenWindow, Tally

SPREAD_MARGIN = 1.5
"""A window may stray so much farther than the farthest block of the training rows did."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Floats = npt.NDArray[np.float32]


def observe(
    window: OpenWindow,
    predictions: Sequence[Prediction],
    profile: Profile,
    features: tuple[str, ...],
    config: MonitorConfig,
    rules: Sequence[Rule] = (),
    calibrator: Calibrator | None = None,
    metric: str = "",
) -> tuple[OpenWindow, tuple[Window, ...]]:
    """Counts predictions of the window's version, in order; gives the window now open, and those that were closed.

    Shadow predictions are left out: they repeat what the live version was asked. `features` names the columns in the
    order of the manifest's signature. With a calibrator each closed window
    has an estimate of `metric`. Raises CorruptObject when a prediction's bytes do not fit its rows.
    """
    counted = [each for each in predictions if each.mark != "shadow" and each.rows > 0]
    closed: list[Window] = []
    if not counted:
        return window, ()
    matrix, scores = matrices(counted, len(features))
    ends = np.cumsum([each.rows for each in counted])
    skew, start = Skew(features, rules), 0
    while start < len(scores):
        stop = min(start + max(config.rows - window.rows, 1), len(scores))
        first, last = (int(np.searchsorted(ends, row, side="right")) for row in (start, stop - 1))
        part = _tallied(window, matrix[start:stop], scores[start:stop], profile, features)
        blocks = expected.tally(scores[start:stop], calibrator.edges) if calibrator else None
        part = replace(part, skew=skew.broken(matrix[start:stop]), blocks=blocks)
        window = window.add(_timed(part, counted[first : last + 1]))
        if window.rows >= config.rows:
            closed.append(close(window, profile, calibrator, metric))
            window = window.next()
        start = stop
    return window, tuple(closed)


def close(window: OpenWindow, profile: Profile, calibrator: Calibrator | None = None, metric: str = "") -> Window:
    """The window's figures against the training profile; features that the profile does not know are left out."""
    shifts = {
        name: _shift(tally, profile.features[name])
        for name, tally in window.features.items()
        if name in profile.features
    }
    score = window.score
    return Window(
        id=f"{window.id}#{window.number}",
        model=window.model,
        version=window.version,
        number=window.number,
        rows=window.rows,
        features=shifts,
        score=_shift(score, profile.score) if score and profile.score else None,
        nonfinite=score.nulls if score else 0,
        mean_score=score.mean if score else 0.0,
        first=window.first,
        last=window.last,
        first_event=window.first_event,
        last_event=window.last_event,
        skew=window.skew,
        estimate=expected.estimate(metric, window.blocks, calibrator) if window.blocks and calibrator else None,
    )


def matrices(predictions: Sequence[Prediction], features: int) -> tuple[Floats, Floats]:
    """Features float32 [rows, features] and scores float32 [rows] of all predictions, in order."""
    for each in predictions:
        if len(each.features) != 4 * each.rows * features or len(each.scores) != 4 * each.rows:
            raise CorruptObject(
                f"prediction {each.id} says {each.rows} rows of {features} features, but holds "
                f"{len(each.features)} bytes of features and {len(each.scores)} of scores",
                hint="Its segment is damaged or of another model version; set the segment aside.",
            )
    matrix = np.frombuffer(b"".join(each.features for each in predictions), dtype="<f4").reshape(-1, features)
    scores = np.frombuffer(b"".join(each.scores for each in predictions), dtype="<f4")
    return matrix, scores


def _tallied(
    window: OpenWindow, matrix: Floats, scores: Floats, profile: Profile, features: tuple[str, ...]
) -> OpenWindow:
    columns = np.ascontiguousarray(matrix.T)
    tallies = {
        name: _tally(columns[place], profile.features[name].grid)
        for place, name in enumerate(features)
        if name in profile.features
    }
    score = _tally(scores, profile.score.grid if profile.score else ())
    return OpenWindow(window.model, window.version, window.number, len(scores), tallies, score)


def _timed(window: OpenWindow, predictions: Sequence[Prediction]) -> OpenWindow:
    walls = [each.at for each in predictions]
    events = [time for each in predictions for time in each.times]
    return replace(
        window,
        first=datetime.fromtimestamp(min(walls), UTC),
        last=datetime.fromtimestamp(max(walls), UTC),
        first_event=EPOCH + timedelta(microseconds=min(events)) if events else None,
        last_event=EPOCH + timedelta(microseconds=max(events)) if events else None,
    )


def _tally(values: Floats, edges: tuple[float, ...]) -> Tally:
    finite = values[np.isfinite(values)]
    counts, _ = counts_in(finite, edges)
    some = finite.size > 0
    return Tally(
        counts=tuple(counts.tolist()),
        nulls=int(values.size - finite.size),
        total=float(finite.sum(dtype=np.float64)),
        low=float(finite.min()) if some else None,
        high=float(finite.max()) if some else None,
    )


def _shift(tally: Tally, reference: FeatureProfile) -> FeatureShift:
    rows = tally.finite + tally.nulls
    distances = against(reference, tally.counts, tally.nulls, tally.low, tally.high)
    return FeatureShift(
        psi=distances.psi,
        natural=SPREAD_MARGIN * reference.stray(rows),
        mean=tally.mean,
        reference_mean=reference.mean,
        null_share=tally.nulls / rows if rows else 0.0,
        reference_null_share=reference.nulls / reference.rows if reference.rows else 0.0,
        constant=tally.nulls == 0 and tally.low is not None and tally.low == tally.high and not reference.constant,
        distances=distances,
        reference_std=reference.std,
    )
