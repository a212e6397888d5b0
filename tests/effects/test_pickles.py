"""Pickles by their content: whatever they are called and however they are packed; and nothing else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from conveyor.effects.pickles import is_pickle


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/never",)


PLAIN = [pickle.dumps(Hostile(), protocol) for protocol in range(6)] + [
    b"cos\nsystem\n(S'id'\ntR",  # broken off, or with anything behind it: it ran by then
    b"cos\nsystem\n(S'id'\ntR and then a text that is no pickle",
    b"(S'id'\nios\nsystem\n.",
    b"V" + b"x" * 200_000 + b"\n0cos\nsystem\n(S'id'\ntR.",
    b"B\x40\x0d\x03\x00" + b"x" * 200_000 + b"0cos\nsystem\n(S'id'\ntR.",
    b"\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",  # protocol 4 without saying so
]
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, format=lzma.FORMAT_ALONE),
    "twice": lambda raw: zlib.compress(gzip.compress(raw)),
}


@pytest.mark.parametrize("how", PACKED)
def test_a_pickle_is_known_under_any_name(how: str, tmp_path: Path) -> None:
    for raw in PLAIN:
        (tmp_path / "weights").write_bytes(PACKED[how](raw))
        assert is_pickle("weights.txt", tmp_path / "weights"), raw[:40]


def test_as_joblib_writes_a_model(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(model, tmp_path / "m", compress=compress)
        assert is_pickle("model.bin", tmp_path / "m"), compress


TEXTS = [
    b"", b".", b"customer,amount\n1,2\n3,4\n", b"id\nname\n(a)\n", b"c\nb\na\nR\n", b"Nothing to see.", b"(t)R.",
    b"x" * 100_000,
    b"BZh91AY", b"X,Y\n1,2\n", b"S'a text'\n.", b"import os\nos.system('id')\n", b'{"a": 1}', b"\x1f\x8bnothing",
    b"x\x9cnothing",
    gzip.compress(b"customer,amount\n1,2\n"), zlib.compress(b"words"), pickle.dumps([1, 2.5, "a"], 0),
]  # fmt: skip


def test_what_imports_nothing_is_none(tmp_path: Path) -> None:
    arrays, packed = io.BytesIO(), io.BytesIO()
    np.save(arrays, np.arange(10))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("schema.json", "{}")
    for raw in (*TEXTS, arrays.getvalue(), packed.getvalue()):
        (tmp_path / "file").write_bytes(raw)
        assert not is_pickle("file.txt", tmp_path / "file"), raw[:40]


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    for pack in PACKED.values():
        file.write_bytes(pack(raw))
        is_pickle("any", file)
