"""What a reproduction tells where it is not the same: which bytes, how far the scores, and which of the inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl

from conveyor.domain import wire
from conveyor.domain.reproduction import changes, judge, told
from conveyor.domain.step import CompareReport, CompareSpec

from .test_verification import files, folder


def test_the_difference_is_shown(tmp_path: Path) -> None:
    then, again = folder(tmp_path / "then", files(3.0)), folder(tmp_path / "again", files(3.25))
    holdout = tmp_path / "holdout.parquet"
    pl.DataFrame({"x": [0.0, 1.0, -4.0], "__label__": [0, 1, 0]}).write_parquet(holdout)
    spec = tmp_path / "spec.json"
    spec.write_bytes(wire.to_json(CompareSpec(str(then), str(again), str(holdout))))
    argv = [sys.executable, "-m", "conveyor.sdk.compare", str(spec), str(tmp_path)]
    subprocess.run(argv, check=True, timeout=60)
    report = wire.from_json((tmp_path / "compared.json").read_bytes(), CompareReport)
    assert (report.rows, report.differ, report.max_abs_difference) == (3, 2, 1.0)

    data, code = "conveyor:shop/data/days@3", "conveyor:shop/code/fraud"
    was = {data: {"blake3": "1" * 64}, code: {"blake3": "2" * 64}}
    changed = changes(was, was | {data: {"blake3": "3" * 64}})
    assert changed == (data,)
    digests = {"model.json": "a" * 64, "model.onnx": "b" * 64}
    found = judge("shop/fraud@3", digests, digests | {"model.onnx": "c" * 64}, report, holdout=True, changed=changed)
    assert not found.equal
    text = "\n".join(told(found))
    assert "model.onnx: bbbbbbbbbbbb then, cccccccccccc now" in text
    assert "2 of 3 rows of the holdout differ, by at most 1" in text
    assert f"what went in differs in: {data}" in text
    same = judge("shop/fraud@3", digests, digests, report, holdout=True, changed=())
    assert told(same) == ("shop/fraud@3 was trained again: every byte of its artifact is the same.",)
