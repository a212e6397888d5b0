"""Verification with real artifacts and processes: what is wrong is told and barred, what is live is not touched."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from conveyor.delivery import verification
from conveyor.delivery.attest import attest, signer
from conveyor.delivery.registry_desk import resolve
from conveyor.delivery.targets import artifact_dir
from conveyor.domain import wire
from conveyor.domain.drift import Profile
from conveyor.domain.model import Example, ModelManifest, ModelStatus, ModelVersion, Score, Signature, Tensor
from conveyor.domain.requests import MoveAlias, PromoteModel, VerifyModel
from conveyor.domain.run import Run, RunState
from conveyor.engine.context import Context
from conveyor.errors import Refused
from conveyor.serving.check import Checked, Limits, Server, check
from conveyor.stores import collections as c

from .conftest import START, Plane
from .test_registry import roll_out, start, train

FLOAT = TensorProto.FLOAT


def files(weight: float, scored: float | None = None, op: str = "Mul") -> dict[str, bytes]:
    """An artifact that multiplies its one feature; `scored` is what its manifest claims for 2.0."""
    node = helper.make_node(op, ["x", "w"], ["variable"])
    takes, gives = (helper.make_tensor_value_info(name, FLOAT, [None, 1]) for name in ("x", "variable"))
    graph = helper.make_graph([node], "g", [takes], [gives], [helper.make_tensor("w", FLOAT, [1], [weight])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    signature = Signature(
        ("x",), (Tensor("x", "FP32", (-1, 1)),), (Tensor("variable", "FP32", (-1, 1)),), Score("variable", 0)
    )
    example = Example((2.0,), 2.0 * weight if scored is None else scored, 1e-4)
    manifest = ModelManifest(signature, example, Profile(1), "none")
    return {"model.onnx": model.SerializeToString(), "model.json": wire.to_json(manifest)}


def folder(root: Path, content: dict[str, bytes]) -> Path:
    root.mkdir()
    for name, raw in content.items():
        (root / name).write_bytes(raw)
    return root


def signed(context: Context, number: int, content: dict[str, bytes]) -> ModelVersion:
    """A version of a real artifact, with its provenance, as a training leaves it."""
    artifact = {name: context.objects.put(raw) for name, raw in content.items()}
    version = replace(train(context, number), artifact=artifact, code="d" * 64)
    with context.records.transaction() as tx:
        build = tx.need(c.BUILDS, "shop/b")
        tx.put(
            c.RUNS, Run(version.run, "shop", "train", "shop/fraud", {"build": build.id}, (), START, RunState.SUCCEEDED)
        )
        version = replace(version, provenance=attest(context, tx, build, tx.need(c.RUNS, version.run), version))
        tx.put(c.MODEL_VERSIONS, version)
    return version


def broken(tmp_path: Path, name: str, code: str) -> Server:
    """The interpreter of an environment whose ONNX runtime does this when it is imported."""
    place = tmp_path / name
    place.mkdir()
    (place / "onnxruntime.py").write_text(code)
    return Server(sys.executable, tmp_path, os.environ | {"PYTHONPATH": str(place)})


def test_what_cannot_be_served_is_refused_or_ended_with_a_reason(tmp_path: Path) -> None:
    good = folder(tmp_path / "good", files(3.0))
    assert check(good, "fraud", 1).problem == ""

    def problem(content: Path, limits: Limits | None = None, server: Server | None = None, **more: str) -> str:
        done: Checked = check(content, "fraud", 1, more or None, limits, server)
        return done.problem

    differs = folder(tmp_path / "differs", files(3.0, scored=7.0))
    assert "the example scores 6 here and scored 7 at training" in problem(differs)
    nan = folder(tmp_path / "nan", files(0.0, scored=1.0, op="Div") | {})
    (nan / "model.json").write_bytes((nan / "model.json").read_bytes().replace(b"[2.0]", b"[0.0]"))
    assert "the example scores nan here" in problem(nan)
    torn = folder(tmp_path / "torn", files(3.0) | {"model.onnx": files(3.0)["model.onnx"][:40]})
    assert "cannot be loaded" in problem(torn)
    assert "no model.onnx" in problem(folder(tmp_path / "bare", {"model.json": files(3.0)["model.json"]}))
    assert "is not what was signed" in check(good, "fraud", 1, {"model.onnx": "a" * 64}).problem
    argv = [sys.executable, "-m", "conveyor.serving", "--artifact", str(good), "--name", "fraud", "--version", "1"]
    argv += ["--port", "1", "--observations", str(tmp_path), "--digest", f"model.onnx={'a' * 64}"]
    served = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert served.returncode == 1
    assert "model.onnx is not what was signed" in served.stderr
    huge = folder(tmp_path / "huge", files(3.0))
    with (huge / "model.onnx").open("ab") as file:
        file.truncate(5 * 2**30)
    assert problem(huge) == "its artifact has 5.0 GB; a model server takes at most 2,048 MB"

    hangs = broken(tmp_path, "hangs", "import time\ntime.sleep(600)")
    assert problem(good, Limits(seconds=2), hangs) == "it did not load and score within 2 s, and was ended"
    crashes = broken(tmp_path, "crashes", "import os\nos.kill(os.getpid(), 11)")
    assert problem(good, None, crashes) == "it crashed while it loaded or scored (SIGSEGV)"
    greedy = broken(tmp_path, "greedy", "held = bytearray(2**40)")
    assert problem(good, Limits(memory_mb=512), greedy) == "it needs more than 512 MB of memory to load and score"
    leaves = broken(tmp_path, "leaves", "import os\nos._exit(9)")
    assert "ended with exit code 9" in problem(good, None, leaves)


def test_provenance_is_proven_by_another_implementation(plane: Plane) -> None:
    context, desk = start(plane)
    version = signed(context, 1, files(3.0))
    raw = desk.provenance("shop", "fraud", "1")
    envelope = Envelope.from_dict(json.loads(raw))
    public = signer(context.settings)._key().public_key()
    key = SSlibKey.from_crypto(public, keyid=next(iter(envelope.signatures)))
    assert set(envelope.verify([key], 1)) == {key.keyid}
    said = json.loads(envelope.payload)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert {each["name"]: each["digest"]["blake3"] for each in said["subject"]} == version.artifact
    tampered = json.loads(raw)
    tampered["payload"] = base64.b64encode(envelope.payload.replace(b'"version":1', b'"version":2')).decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(tampered).verify([key], 1)
    assert b"BEGIN PUBLIC KEY" in desk.public_key()
    secret = context.settings.home / "keys" / "provenance.pem"
    assert secret.stat().st_mode & 0o777 == 0o600


def _object(context: Context, digest: str) -> Path:
    return context.settings.objects / digest[:2] / digest[2:]


def _tampered(context: Context, version: ModelVersion) -> Callable[[], None]:
    path = _object(context, version.artifact["model.onnx"])
    raw = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(raw[:-1] + b"?")
    return lambda: path.write_bytes(raw) and None  # type: ignore[func-returns-value]


def _missing(context: Context, version: ModelVersion) -> Callable[[], None]:
    path = _object(context, version.artifact["model.json"])
    aside = path.with_name("aside")
    path.rename(aside)
    return lambda: aside.rename(path) and None  # type: ignore[func-returns-value]


def _unsigned(context: Context, version: ModelVersion) -> Callable[[], None]:
    path = _object(context, version.provenance)
    raw = path.read_bytes()
    body = json.loads(raw)
    body["signatures"][0]["sig"] = base64.b64encode(b"x" * 64).decode()
    forged = replace(version, provenance=context.objects.put(json.dumps(body).encode()))
    _put(context, forged)
    return lambda: _put(context, version)


def _swapped(context: Context, version: ModelVersion) -> Callable[[], None]:
    """Whole and signed, but the record names other bytes than were signed."""
    other = {name: context.objects.put(raw) for name, raw in files(9.0).items()}
    _put(context, replace(version, artifact=other))
    return lambda: _put(context, version)


def _put(context: Context, version: ModelVersion) -> None:
    with context.records.transaction() as tx:
        tx.put(c.MODEL_VERSIONS, replace(version, status=resolve(tx, "shop", "fraud", str(version.version)).status))


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_tampered, "does not hold the bytes that its digest says"),
        (_missing, "is not in the store"),
        (_unsigned, "the signature of its provenance is wrong"),
        (_swapped, "names another model.json than was signed"),
    ],
)
def test_a_damaged_version_is_barred_and_what_is_live_stays(
    plane: Plane, harm: Callable[[Context, ModelVersion], Callable[[], None]], why: str
) -> None:
    context, desk = start(plane)
    signed(context, 1, files(3.0))
    assert roll_out(context) == {"fraud": 1}
    second = signed(context, 2, files(4.0))
    mend = harm(context, second)
    # It passed its gates and would be released next: what is wrong with it is found before that.
    assert roll_out(context) == {"fraud": 1}
    assert desk.version("shop", "fraud", "2").status is ModelStatus.DAMAGED
    (event,) = plane.events("model.damaged")
    assert event.data["version"] == 2
    assert why in event.data["reason"]
    with pytest.raises(Refused, match="it is damaged"):
        desk.promote("shop", "fraud", 2, PromoteModel(again=True))
    mend()
    (found,) = desk.verify("shop", "fraud", VerifyModel("2"))
    assert (found.problem, found.signed) == ("", True)
    assert roll_out(context) == {"fraud": 2}
    # Live now, and harmed again: it is told, and traffic is left alone; there is no going back to version 1 for that.
    again = harm(context, desk.version("shop", "fraud", "2"))
    assert why in desk.verify("shop", "fraud", VerifyModel("2"))[0].problem
    assert roll_out(context) == {"fraud": 2}
    again()
    assert [each.problem for each in desk.verify("shop", "fraud", VerifyModel())] == ["", ""]
    assert [e.data["version"] for e in plane.events("model.recovered")] == [2, 2]


def test_a_day_later_what_is_needed_is_verified_again(plane: Plane) -> None:
    context, desk = start(plane)
    version = signed(context, 1, files(3.0))
    signed(context, 2, files(4.0, scored=0.5))
    signed(context, 3, files(5.0))
    desk.move("shop", "fraud", "odd", MoveAlias(2))
    place = artifact_dir(context.settings, version)
    place.mkdir(parents=True)
    desk.move("shop", "fraud", "good", MoveAlias(1))
    for name, digest in version.artifact.items():
        shutil.copyfile(context.objects.path(digest), place / name)
    (place / "model.onnx").write_bytes(b"changed")
    verifier = verification.Verifier(context)
    verifier.turn()
    plane.clock.step(timedelta(days=1, minutes=1))
    context.renew()
    verifier.turn()
    assert verifier._thread is not None
    verifier._thread.join()
    found = {each.id: each.problem for each in desk.verifications("shop", "fraud")}
    assert found.keys() == {"shop/fraud@1", "shop/fraud@2"}
    assert found["shop/fraud@1"] == ""
    assert "scored 0.5 at training" in found["shop/fraud@2"]
    assert not place.exists()  # made anew from objects when a server starts
    assert plane.events("system.mended")[0].data["what"].startswith("model.onnx is not what was signed")
    work = context.settings.work
    work.rename(work.with_name("elsewhere"))
    work.write_text("")  # whatever is to be written there fails, as on a full disk
    plane.clock.step(timedelta(days=1, minutes=1))
    context.renew()
    verifier.turn()
    verifier._thread.join()
    with pytest.raises(NotADirectoryError):
        verifier.turn()
    assert {each.id: each.problem for each in desk.verifications("shop", "fraud")} == found, "no fault of the models"
