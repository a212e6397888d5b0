"""Whether a training that was done again gave the same, and if not, what differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conveyor.domain.step import CompareReport


@dataclass(frozen=True, slots=True)
class FilePair:
    """The digests of a file of the artifact: then, and made again."""

    name: str
    then: str
    again: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """`changed` names what went in that is not what it was; `holdout`: whether it was judged on the same rows."""

    version: str
    equal: bool
    files: tuple[FilePair, ...]
    rows: int
    differ: int  # rows of the holdout with another score
    max_abs_difference: float | None
    holdout: bool = True
    changed: tuple[str, ...] = field(default=())


def judge(
    version: str,
    then: Mapping[str, str],
    again: Mapping[str, str],
    compared: CompareReport,
    *,
    holdout: bool,
    changed: tuple[str, ...],
) -> Reproduction:
    files = tuple(FilePair(name, then.get(name, ""), again.get(name, "")) for name in sorted({*then, *again}))
    equal = all(each.then == each.again for each in files)
    return Reproduction(
        version, equal, files, compared.rows, compared.differ, compared.max_abs_difference, holdout, changed
    )


def changes(then: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Materials (uri -> digest) whose digest is another one, or that only one side has."""
    return tuple(uri for uri in dict.fromkeys([*then, *now]) if then.get(uri) != now.get(uri))


def told(found: Reproduction) -> tuple[str, ...]:
    """The lines that a person reads."""
    if found.equal:
        return (f"{found.version} was trained again: every byte of its artifact is the same.",)
    lines = [f"{found.version} was trained again, and differs:"]
    for each in found.files:
        same = "the same bytes" if each.then == each.again else f"{each.then[:12] or '-'} then, {each.again[:12]} now"
        lines.append(f"  {each.name}: {same}")
    largest = "not a number on one side" if found.max_abs_difference is None else f"{found.max_abs_difference:.3g}"
    rows = "" if found.holdout else " (the holdout differs too; these are the rows of now)"
    lines.append(f"  scores: {found.differ:,} of {found.rows:,} rows of the holdout differ, by at most {largest}{rows}")
    nothing = "nothing: code, data, environment and seed are the same, so the training is not deterministic"
    inputs = ", ".join(found.changed) or nothing
    lines.append(f"  what went in differs in: {inputs}")
    return tuple(lines)
