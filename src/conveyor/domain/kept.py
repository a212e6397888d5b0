"""Files that clients gave: which are kept, and which an admin trusts although they are pickles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An artifact that something tracked names; the collection of objects leaves it alone."""

    id: str  # digest


@dataclass(frozen=True, slots=True)
class TrustedFile:
    id: str  # digest
    by: str
    reason: str
    at: datetime
