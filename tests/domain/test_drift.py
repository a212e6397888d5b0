from __future__ import annotations

import subprocess
import sys

from conveyor.domain import wire
from conveyor.domain.drift import FeatureProfile, Profile


def test_profiles_survive_json_and_know_their_rows():
    feature = FeatureProfile(edges=(0.5,), counts=(3, 4), nulls=2, min=0.0, max=1.0, spread=((500, 0.3), (2000, 0.1)))
    profile = Profile(9, {"flag": feature}, FeatureProfile((), (0,)))
    assert wire.from_json(wire.to_json(profile), Profile) == profile
    assert (feature.rows, feature.constant) == (9, False)
    assert [feature.stray(rows) for rows in (10, 500, 1999, 2000, 10**6)] == [0.3, 0.3, 0.3, 0.1, 0.1]
    assert FeatureProfile((), (0,)).stray(100) == 0.0


def test_what_the_command_line_and_the_model_server_import_does_not_import_numpy():
    names = "drift, gate, governor, metric, model, monitor"
    code = (
        f"import sys; from conveyor.domain import {names}; sys.exit('numpy' in sys.modules or 'polars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
