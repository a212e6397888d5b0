"""Figures as people read them."""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes: "812 B", "12 kB", "3.4 MB", "1.2 GB"."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.5:
            break
    else:
        amount, unit = amount / 1000, "TB"
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"


def many(count: int, one: str) -> str:
    """ "1 file", "2,000 files"."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
