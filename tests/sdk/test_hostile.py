"""Files that mean harm, each read by the process that reads them in earnest: refused by name, in bounded memory."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import polars as pl
import pytest
import zstandard
from e2e.hostile import claiming

from conveyor.domain import wire
from conveyor.domain.dataset import IngestedFile, IngestReport
from conveyor.domain.project import DataConfig, Limits
from conveyor.domain.rows import Frame, encode
from conveyor.domain.step import IngestFile, IngestSpec

LIMITS = Limits(rows=1_000_000, mb=64, memory_mb=1024)
GOOD = b"a,b\n1,x\n2,y\n"


def ingest(folder: Path, files: dict[str, bytes], limits: Limits = LIMITS) -> dict[str, IngestedFile]:
    """In a process of its own, whose largest memory is looked at."""
    (folder / "job").mkdir()
    given = []
    for index, (name, content) in enumerate(files.items()):
        (folder / f"object-{index}").write_bytes(content)
        given.append(IngestFile(str(folder / f"object-{index}"), name))
    spec = IngestSpec(DataConfig("d", limits=limits), tuple(given), None)
    (folder / "job" / "spec.json").write_bytes(wire.to_json(spec))
    words = [
        sys.executable,
        "-m",
        "conveyor.sdk.ingest",
        str(folder / "job" / "spec.json"),
        str(folder / "job" / "out"),
    ]
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a fork begins with its parent's peak
    assert usage.ru_maxrss <= max(1024 * 1024, inherited)  # KiB
    assert sorted(path.name for path in (folder / "job").iterdir()) == ["out", "spec.json"]
    report = wire.from_json((folder / "job" / "out" / "report.json").read_bytes(), IngestReport)
    return {file.name: file for file in report.files}


def parquet(folder: Path, table: pl.DataFrame) -> bytes:
    table.write_parquet(folder / "made.parquet", compression="uncompressed", statistics=False)
    return (folder / "made.parquet").read_bytes()


def zeros(megabytes: int) -> bytes:
    """Packs a thousandfold and more."""
    return b"a\n" + b"1\n" * (megabytes * 2**19)


def test_bombs_are_refused_and_the_rest_is_taken(tmp_path: Path) -> None:
    small = parquet(tmp_path, pl.DataFrame({"a": range(12_345), "b": ["x"] * 12_345}))
    many = tmp_path / "many.parquet"
    pl.select(a=pl.repeat(1, 50_000_000, dtype=pl.Int64)).write_parquet(many, compression="zstd")
    assert many.stat().st_size < 300_000
    found = ingest(
        tmp_path,
        {
            "good.csv": GOOD,
            "claims.parquet": claiming(small, 12_345, 10_000_000_000),
            "many.parquet": many.read_bytes(),
            "bomb.csv.gz": gzip.compress(zeros(300), 1),
            "bomb.csv.zst": zstandard.compress(zeros(300)),
            "bomb.csv": gzip.compress(zeros(300), 1),  # packed without saying so
            "bomb.ndjson": zlib.compress(b'{"a": 1, "b": "x"}\n' * 2**22),
            "long.csv": b"a,b\n" + b"x" * (65 * 2**20),
            "rows.csv.gz": gzip.compress(b"a,b\n" + b"1,\n" * 1_500_000, 1),
            "deep.ndjson": b'{"a": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}\n",
            "cut.csv.gz": gzip.compress(GOOD)[:-9],
            "cut.csv.zst": zstandard.compress(GOOD)[:-2],
            "noise.csv.gz": b"\x1f\x8b" + b"noise" * 100,
            "forged.ndjson.rows": GOOD,
            "forged.rows": GOOD,
            "forged.arrow.rows": encode(Frame(b"not a stream")),
            "packed.csv.gz": gzip.compress(GOOD),
            "packed.csv.zst": zstandard.compress(GOOD[:4]) + zstandard.compress(GOOD[4:]),
            "packed.ndjson.gz": gzip.compress(b'{"a": 5, "b": "z"}\n'),
        },
    )
    says = {
        "claims.parquet": "it has 10,000,000,000 rows, and one file may have 1,000,000",
        "many.parquet": "it has 50,000,000 rows, and one file may have 1,000,000",
        "bomb.csv.gz": "it unpacks to more than the 64 MB",
        "bomb.csv.zst": "it unpacks to more than the 64 MB",
        "bomb.csv": "it unpacks to more than the 64 MB",
        "bomb.ndjson": "it unpacks to more than the 64 MB",
        "long.csv": "it has more than the 64 MB",
        "rows.csv.gz": "it has 1,500,000 rows, and one file may have 1,000,000",
        "deep.ndjson": "cannot be read as ndjson: ",
        "cut.csv.gz": "cannot be unpacked: ",
        "cut.csv.zst": "cannot be unpacked: it breaks off",
        "noise.csv.gz": "cannot be unpacked: ",
        "forged.ndjson.rows": "is not a segment of rows",
        "forged.rows": "the format (no suffix) is not known",
        "forged.arrow.rows": "cannot be read as rows: ",
    }
    assert {name for name, file in found.items() if file.error} == set(says)
    for name, text in says.items():
        assert text in str(found[name].error)
        assert found[name].hint
    assert [found[name].rows for name in ("good.csv", "packed.csv.gz", "packed.csv.zst", "packed.ndjson.gz")] == [
        2,
        2,
        2,
        1,
    ]


def test_rows_that_would_not_fit_into_memory_are_refused_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    pl.select(a=pl.repeat(1, 80_000_000, dtype=pl.Int64)).write_parquet(path, compression="zstd")
    (file,) = ingest(tmp_path, {"wide.parquet": path.read_bytes()}, Limits(memory_mb=512)).values()
    assert file.error == ("wide.parquet: its 80,000,000 rows need 610 MB of memory at least, and 512 MB may be used")


@pytest.mark.parametrize("name", ["x" * 4000 + ".csv", "../../etc/passwd.csv", "a\nb.csv", "/abs.csv"])
def test_names_only_tell_the_format(tmp_path: Path, name: str) -> None:
    (file,) = ingest(tmp_path, {name: GOOD}).values()
    assert (file.rows, file.error) == (2, None)
    assert sorted(path.name for path in (tmp_path / "job" / "out").iterdir()) == [
        "0.parquet",
        "report.json",
        "sketches.bin",
    ]
