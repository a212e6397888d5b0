"""How requests ended, as the users of a version met it: counted by the proxy, each request once, when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, fields

# Envoy's response flags (envoyproxy.io, "Access logging", %RESPONSE_FLAGS%), by what they mean for a user.
# tests/effects/test_envoy_outcomes.py provokes each of these cases with a real Envoy.
_CAUSES = (
    ("aborted_by_client", {"DC"}),
    ("no_healthy", {"UH", "NC"}),
    ("refused", {"UF"}),
    ("overloaded", {"UO"}),
    ("timed_out", {"UT", "SI", "DT", "UMSDR"}),
)
_BROKEN = {"UC", "UR", "LR", "UPE"}  # the connection to the process ended, or what it said was no HTTP
_SWITCHED = 101


CAUSES = {
    "errors": "5xx by the application",
    "refused": "connection refused",
    "reset": "connection broken before the answer",
    "timed_out": "timed out",
    "no_healthy": "no healthy process",
    "overloaded": "overloaded",
    "cut_streams": "cut in the middle of the answer",
    "sockets_closed": "WebSocket ended by the process",
    "aborted_by_client": "left by the client",
    "other": "5xx by the proxy",
}
"""The names that people read."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Requests that have ended, and why those that failed did. Retries and mirrored copies are not counted."""

    ended: int = 0
    errors: int = 0  # 5xx, answered by the application
    refused: int = 0  # no connection to the process
    reset: int = 0  # the process broke the connection before its answer began
    timed_out: int = 0
    no_healthy: int = 0  # no process passed its health check
    overloaded: int = 0  # more in flight than the proxy allows
    cut_streams: int = 0  # the answer had begun, and the process broke it off
    sockets_closed: int = 0  # WebSockets that ended from the process's side; a clean end looks no different
    aborted_by_client: int = 0
    other: int = 0  # 5xx of the proxy for any other reason

    @property
    def failed(self) -> int:
        """Requests without a good answer for a reason that is not the client's; cut streams are told apart."""
        return self.errors + self.refused + self.reset + self.timed_out + self.no_healthy + self.overloaded + self.other

    @property
    def causes(self) -> dict[str, int]:
        """All but the good ends, in words, the most frequent first."""
        found = {name: getattr(self, field) for field, name in CAUSES.items()}
        return {name: count for name, count in sorted(found.items(), key=lambda item: -item[1]) if count}

    def plus(self, more: Outcomes) -> Outcomes:
        return Outcomes(*(getattr(self, each.name) + getattr(more, each.name) for each in fields(Outcomes)))

    def since(self, earlier: Outcomes) -> Outcomes:
        """What came after `earlier`; everything, when the proxy has begun to count anew in between."""
        if earlier.ended > self.ended:
            return self
        return Outcomes(*(max(0, getattr(self, f.name) - getattr(earlier, f.name)) for f in fields(Outcomes)))


def cause(code: int, flags: str) -> str:
    """The field of `Outcomes` that a request with this status and these flags of Envoy belongs to; empty if all went
    well. A status of 0 means that no answer had begun."""
    said = set(flags.split(","))
    for name, known in _CAUSES:
        if said & known:
            return name
    if said & _BROKEN:
        if code == _SWITCHED:
            return "sockets_closed"
        return "reset" if code == 0 or code >= 500 else "cut_streams"
    if code < 500:
        return ""
    return "errors" if said <= {"-", ""} else "other"


def counted(found: dict[tuple[int, str], int]) -> Outcomes:
    """From counters by status and flags."""
    sums = dict.fromkeys((each.name for each in fields(Outcomes)), 0)
    for (code, flags), count in found.items():
        sums["ended"] += count
        if name := cause(code, flags):
            sums[name] += count
    return Outcomes(**sums)
