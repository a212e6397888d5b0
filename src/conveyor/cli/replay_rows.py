"""Where a replay takes the rows of a dataset from: files that are named or watched, or the Conveyor of this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from blake3 import blake3

from conveyor.domain.project import DataConfig
from conveyor.domain.step import IngestFile
from conveyor.effects.folders import stamp_of
from conveyor.errors import ConveyorError, InputRejected, NotFound
from conveyor.sdk import reading
from conveyor.tables.table import open_table


def rows_of(data: DataConfig, project: str, root: Path, cache: Path, given: Mapping[str, str], stored: bool) -> Path:
    """One Parquet file, named by what it was made of: of given files, else of what is stored, else of watched ones."""
    cache.mkdir(parents=True, exist_ok=True)
    if data.name in given:
        return _of_files(data, _matching(root, [given[data.name]]), cache)
    if stored:
        try:
            return _of_store(data, project, cache)
        except ConveyorError as error:
            found = _matching(root, [pattern for pattern in data.watch if "://" not in pattern])
            if not found:
                raise NotFound(
                    f"dataset {data.name}: {error.message}, and no file here matches {', '.join(data.watch) or 'it'}",
                    hint=f"Name its files: --data '{data.name}=FOLDER/*.parquet'.",
                ) from error
            return _of_files(data, found, cache)
    return _of_files(data, _matching(root, [pattern for pattern in data.watch if "://" not in pattern]), cache)


def given_of(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, pattern = word.partition("=")
        if not equals or not name or not pattern:
            raise InputRejected(f"--data {word} has no files", hint="Write it as --data 'NAME=FOLDER/*.parquet'.")
        found[name] = pattern
    return found


def _matching(root: Path, patterns: Sequence[str]) -> list[Path]:
    found: set[Path] = set()
    for pattern in patterns:
        place = Path(pattern).expanduser()
        base = root
        while place.parts and place.parts[0] == "..":
            base, place = base.parent, Path(*place.parts[1:])
        if place.is_absolute():
            base, place = Path(place.anchor), place.relative_to(place.anchor)
        found |= {path for path in base.glob(str(place)) if path.is_file()}
    return sorted(found)


def _of_files(data: DataConfig, files: Sequence[Path], cache: Path) -> Path:
    if not files:
        raise NotFound(
            f"no file of dataset {data.name} is here", hint=f"Name them: --data '{data.name}=FOLDER/*.parquet'."
        )
    stamps = [f"{path} {stamp_of(path.stat())}" for path in files]
    target = cache / f"rows-{data.name}-{blake3(chr(10).join(stamps).encode()).hexdigest()[:24]}.parquet"
    if target.exists():
        return target
    frames = [
        pl.scan_parquet(path)
        if reading.format_of(path.name) == "parquet"
        else reading.read(IngestFile(str(path), path.name), limits=data.limits, scratch=cache).lazy()
        for path in files
    ]
    return _written(pl.concat(frames, how="diagonal_relaxed"), target, data)


def _of_store(data: DataConfig, project: str, cache: Path) -> Path:
    table = open_table(data.name, project, None)
    target = cache / f"rows-{data.name}-{table.view.version.manifest[:24]}.parquet"
    return target if target.exists() else _written(table.scan(), target, data)


def _written(rows: pl.LazyFrame, target: Path, data: DataConfig) -> Path:
    temporary = target.with_name(f".{target.name}")
    try:
        rows.sink_parquet(temporary, compression="zstd")
    except pl.exceptions.PolarsError as error:
        raise InputRejected(
            f"the rows of dataset {data.name} cannot be read: {str(error).splitlines()[0]}",
            hint="Are all files of one kind? Mend the one that is named, or choose others with --data.",
        ) from error
    temporary.rename(target)
    return target
