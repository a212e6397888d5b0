"""Rows put in the place of those with the same key: parts that hold such rows are written anew, others are kept.

Memory is that of the keys that arrived and of the largest part; cost is a look at the keys of the parts whose range of
keys may meet them, and a rewrite of those that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from blake3 import blake3

from conveyor.domain.dataset import IngestedFile, RewrittenPart
from conveyor.domain.step import EarlierPart, IngestSpec
from conveyor.errors import InputRejected
from conveyor.sdk.parts import ends, save
from conveyor.sdk.version_profile import sketches_of


def newest(
    files: Sequence[IngestedFile], key: str, time: str | None, out: Path
) -> tuple[list[IngestedFile], pl.Series]:
    """Of the files of one ingest the last that brings a key wins; the files without the others, and all keys."""
    kept: list[IngestedFile] = []
    keys: pl.Series | None = None
    for file in reversed(files):
        if file.output is None:
            kept.append(file)
            continue
        table = pl.read_parquet(out / file.output, glob=False)
        rest = table if keys is None else table.filter(~pl.col(key).is_in(keys.implode()))
        keys = rest[key] if keys is None else keys.append(rest[key])
        lost = table.height - rest.height
        if lost:
            name = file.output if rest.height else None
            if rest.height:
                save(rest, out / file.output)
            else:
                (out / file.output).unlink()
            first, last = ends(rest, time)
            file = replace(file, output=name, rows=rest.height, first=first, last=last, superseded=lost)
        kept.append(file)
    return kept[::-1], keys if keys is not None else pl.Series(key, [])


def rewrite(spec: IngestSpec, keys: pl.Series, out: Path) -> list[RewrittenPart]:
    """The earlier parts that hold some of the keys, without those rows, as `OUT/<digest>.parquet`."""
    key = spec.data.key or ""
    low, high = keys.min(), keys.max()
    found = []
    for part in spec.earlier:
        near = pl.scan_parquet(part.path, glob=False).filter(pl.col(key).is_between(pl.lit(low), pl.lit(high)))
        hits = near.select(key).join(keys.to_frame().lazy(), on=key, how="semi").select(pl.len()).collect().item()
        if hits:
            found.append(_without(part, keys, int(hits), spec, out))
    return found


def _without(part: EarlierPart, keys: pl.Series, hits: int, spec: IngestSpec, out: Path) -> RewrittenPart:
    key = spec.data.key or ""
    _verify(part)
    rest = pl.read_parquet(part.path, glob=False).filter(~pl.col(key).is_in(keys.implode()))
    if rest.is_empty():
        return RewrittenPart(part.digest, hits)
    output = f"{part.digest}.parquet"
    save(rest, out / output)
    sketches = sketches_of(output, rest.height, out)
    first, last = ends(rest, spec.data.time)
    return RewrittenPart(part.digest, hits, rest.height, first, last, output, sketches)


def _verify(part: EarlierPart) -> None:
    hasher = blake3()
    hasher.update_mmap(part.path)
    if hasher.hexdigest() != part.digest:
        raise InputRejected(
            f"part {part.digest[:12]} of the version before is damaged, so its rows cannot be carried over",
            hint="Restore the object from a backup or a remote, and add the file again.",
        )
