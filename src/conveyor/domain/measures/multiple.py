"""Many tests at once: p-values corrected, so that one of them by chance does not count as a finding. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values (Holm 1979), in the order given: comparing each with alpha errs anywhere at most alpha often.

    It holds whatever the dependence between the tests, which slices that overlap need.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, least = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = least
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values (Benjamini and Hochberg 1995), in the order given.

    Taking those up to alpha for findings, at most the share alpha of findings is false; where nothing changed at all,
    there is one in at most the share alpha of cases.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    adjusted, least = [1.0] * len(p_values), 1.0
    for place, at in enumerate(order):
        least = min(least, p_values[at] * len(p_values) / (len(p_values) - place))
        adjusted[at] = least
    return tuple(adjusted)
