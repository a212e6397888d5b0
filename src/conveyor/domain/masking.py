"""Masks secret values in a stream of bytes, however the stream is cut into chunks. Pure; few imports on purpose."""

from __future__ import annotations

MASK = b"***"
SHORTEST = 4
"""Characters. What is shorter is part of ordinary words, and would turn a log into asterisks."""


def forms(values: list[str]) -> list[bytes]:
    """What to look for: each value, and the lines of one that has several (a key file is printed line by line)."""
    found = {line for value in values for line in (value, value.strip(), *value.splitlines())}
    return sorted(form.encode() for form in found if len(form.strip()) >= SHORTEST)


class Masker:
    """`feed` gives what may be shown so far, and keeps back an end that may be the beginning of a value.

    Occurrences that overlap become one mask. The result is the same for every way to cut the stream.
    """

    def __init__(self, values: list[str]) -> None:
        self._forms = forms(values)
        self._first = frozenset(form[0] for form in self._forms)
        self._longest = max((len(form) for form in self._forms), default=0)
        self._rest = b""
        self._covered = 0  # bytes at the front of the rest that a mask already stands for

    def feed(self, chunk: bytes, *, last: bool = False) -> bytes:
        data = self._rest + chunk
        hold = len(data) if last else self._hold(data)
        shown: list[bytes] = []
        at = 0
        for start, end in self._spans(data):
            if start >= hold:
                break
            shown.append(data[at:start])
            if not (start == 0 and self._covered):
                shown.append(MASK)
            at = end
        shown.append(data[at:hold])
        self._rest = data[hold:]
        self._covered = max(0, max(at, self._covered) - hold)
        return b"".join(shown)

    def _hold(self, data: bytes) -> int:
        """Where the longest end begins that more bytes could make a value of."""
        for start in range(max(0, len(data) - self._longest + 1), len(data)):
            if data[start] in self._first:
                end = data[start:]
                if any(len(form) > len(end) and form.startswith(end) for form in self._forms):
                    return start
        return len(data)

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """All occurrences, those that overlap joined."""
        found = [(0, self._covered)] if self._covered else []
        for form in self._forms:
            start = data.find(form)
            while start >= 0:
                found.append((start, start + len(form)))
                start = data.find(form, start + 1)
        joined: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if joined and start < joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined


def mask(text: str, values: list[str]) -> str:
    """A whole text at once."""
    return Masker(values).feed(text.encode(errors="surrogateescape"), last=True).decode(errors="replace")
