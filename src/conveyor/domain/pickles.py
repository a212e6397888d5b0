"""What is taken for a pickle, by its name and by how it begins. Pure.

Loading a pickle runs whatever code it holds. This finds those that say so; `effects.pickles` looks into the others.
"""

from __future__ import annotations

from collections.abc import Iterable

_ENDS = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".pt", ".pth", ".dill", ".pkl.gz", ".joblib.gz")
_PROTOCOLS = range(2, 6)


def pickled(path: str, head: bytes, members: Iterable[str] = ()) -> bool:
    """`head`: the first bytes; `members`: the names in it, where it is a zip (as PyTorch writes them)."""
    if path.lower().endswith(_ENDS):
        return True
    if len(head) > 1 and head[0] == 0x80 and head[1] in _PROTOCOLS:
        return True
    return any(name.lower().endswith(_ENDS) for name in members)
