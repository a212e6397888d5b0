"""`python -m conveyor.sdk.replay`: the process that trains and judges for a replay, in the project's environment.

A line of JSON each from standard input: `{"what": "step" | "train" | "scores" | "evaluate", "spec": ..., "out": ...}`.
One line is answered when it is done: `{"seconds": ...}`, or `{"error": ..., "hint": ..., "input": bool}`. It ends with
its input. What it calls is what trainings at the server call.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from conveyor.domain import wire
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.model import ModelManifest
from conveyor.domain.step import EvaluateSpec, StepSpec, TrainSpec
from conveyor.errors import InputRejected
from conveyor.sdk import evaluate, process, step, table, train
from conveyor.sdk.forms.scorer import score
from conveyor.sdk.forms.table import open_model

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ScoresSpec:
    """`OUT` gets the scores, float32, of the rows [start, stop) of a Parquet file, by the model of a folder."""

    folder: str
    rows: str
    start: int
    stop: int
    trusted: tuple[str, ...] = ()


def scores(spec: ScoresSpec, out: Path) -> None:
    folder = Path(spec.folder)
    manifest = wire.from_json((folder / MANIFEST).read_bytes(), ModelManifest)
    model = open_model(manifest, folder / FILES[manifest.form], spec.trusted)
    rows = (
        pl.scan_parquet(spec.rows)
        .slice(spec.start, spec.stop - spec.start)
        .select(manifest.signature.features)
        .collect()
    )
    found = score(model, table.matrix(rows, manifest.signature.features), manifest.signature.score)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.npy")
    np.save(temporary, found.astype(np.float32))
    temporary.rename(out)


def do(what: str, spec: Any, out: Path) -> None:
    if what == "step":
        out.mkdir(parents=True, exist_ok=True)
        step.build(wire.from_builtins(spec, StepSpec), out)
    elif what == "train":
        out.mkdir(parents=True, exist_ok=True)
        process.write_json(out / "training.json", train.train(wire.from_builtins(spec, TrainSpec), out))
    elif what == "scores":
        scores(wire.from_builtins(spec, ScoresSpec), out)
    else:
        process.write_json(out, evaluate.evaluate(wire.from_builtins(spec, EvaluateSpec)))


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what user code prints goes to the log
    sys.path.insert(0, str(Path.cwd()))
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        try:
            do(asked["what"], asked["spec"], Path(asked["out"]))
            answer: dict[str, Any] = {"seconds": time.perf_counter() - began}
        except (Exception, SystemExit) as error:
            said = process.explain(error, Path.cwd())
            answer = {"error": said.message, "hint": said.hint, "input": isinstance(error, InputRejected)}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    serve()
