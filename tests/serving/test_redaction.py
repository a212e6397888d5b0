"""What is redacted reaches no disk, changes no answer, and is not monitored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conveyor.delivery.monitor import watched
from conveyor.domain.contract import rules_of
from conveyor.domain.drift import FeatureProfile, Profile
from conveyor.domain.model import Example, ModelManifest, Score, Signature
from conveyor.domain.observation import Prediction
from conveyor.errors import Refused
from conveyor.serving.redaction import Redaction
from conveyor.stores.observations import ObservationLog

from .conftest import Start
from .support import FEATURES, Artifact, free_port, matrix, spawn


def test_a_redacted_feature_and_the_keys_are_not_in_the_log(start: Start, artifact: Artifact) -> None:
    server = start("--redact", FEATURES[0], "--redact", "key")
    rows = artifact.rows[:2].copy()
    secret = np.float32(123.4567)
    rows[:, 0] = secret
    keys = {"name": "order", "shape": [2], "datatype": "BYTES", "data": ["subject-17", "subject-18"]}
    answer = server.infer(matrix(rows), keys, id="asked").json()
    assert answer["outputs"][0]["data"] == artifact.expected(rows)[0]
    server.terminate()
    raw = b"".join(path.read_bytes() for path in server.observations.iterdir())
    assert b"subject-17" not in raw
    assert secret.tobytes() not in raw
    log = ObservationLog(server.observations)
    (found,) = (each for path in log.segments() for each in log.read(path))
    assert isinstance(found, Prediction)
    values = np.frombuffer(found.features, "<f4").reshape(rows.shape)
    assert np.isnan(values[:, 0]).all()
    assert (values[:, 1:] == rows[:, 1:]).all()
    assert (found.id, found.keys) == ("asked", ())


def test_a_name_that_redacts_nothing_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    process = spawn(artifact.directory, tmp_path, free_port(), "--redact", "ammount")
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "ammount is to be redacted, but is no feature of this model" in said
    with pytest.raises(Refused):
        Redaction(("b",), ("a",))


def test_nothing_of_a_redacted_feature_is_watched() -> None:
    profile = Profile(1, {name: FeatureProfile((), (1,)) for name in ("age", "amount")})
    manifest = ModelManifest(
        Signature(("age", "amount"), (), (), Score("p")),
        Example((0.0, 0.0), 0.0, 1.0),
        profile,
        "none",
        rules=rules_of({"age": {"not_null": True}, "amount": {"min": 0}}),
    )
    seen = watched(manifest, ("age", "key"))
    assert set(seen.profile.features) == {"amount"}
    assert [rule.column for rule in seen.rules] == ["amount"]
    assert watched(manifest, ()) is manifest
