"""Figures as people read them."""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes: "812 B", "12 kB", "3.4 MB", "1.2 GB"."""
    if count < 1000:
        return f"{count} B"
    amount, units = count / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    unit = units[0]
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


def many(count: int, one: str) -> str:
    """ "1 file", "2,000 files"."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
