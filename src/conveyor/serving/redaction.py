"""Values that are blanked before an observation is encoded, so that they reach no disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from conveyor.domain.project import KEY
from conveyor.errors import Refused


class Redaction:
    """Of features by name, and of the keys of requests. Raises Refused for a name that would redact nothing."""

    def __init__(self, names: Sequence[str], features: Sequence[str]) -> None:
        for name in names:
            if name != KEY and name not in features:
                raise Refused(
                    f"{name} is to be redacted, but is no feature of this model",
                    hint=f'`redact` names features, or "{KEY}"; this model has {", ".join(features)}.',
                )
        self.keys = KEY in names
        self._places = [place for place, name in enumerate(features) if name in names]

    def features(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What is logged: a copy with NaN, where something is to be blanked."""
        if not self._places:
            return matrix
        logged = matrix.copy()
        logged[:, self._places] = np.nan
        return logged


NOTHING = Redaction((), ())
