"""Values are readable with the one key only, and only as what they were sealed for."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conveyor.effects.vault import KEY_FILE, VARIABLE, open_vault
from conveyor.errors import CorruptObject, Unavailable

PLACE = "shop/production/KEY@1"


def test_a_value_comes_back_and_never_looks_the_same_twice(tmp_path: Path) -> None:
    vault = open_vault(tmp_path, {}, make=True)
    one, two = vault.seal("grüß\nGott", PLACE), vault.seal("grüß\nGott", PLACE)
    assert one != two
    assert [open_vault(tmp_path, {}).unseal(sealed, PLACE) for sealed in (one, two)] == ["grüß\nGott"] * 2
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_what_was_tampered_with_or_belongs_elsewhere_is_refused(tmp_path: Path) -> None:
    vault = open_vault(tmp_path, {}, make=True)
    raw = base64.b64decode(vault.seal("hunter22", PLACE))
    for place in range(4, len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(CorruptObject):
            vault.unseal(base64.b64encode(changed).decode(), PLACE)
    for broken in ("", "not base64!", base64.b64encode(raw[:12]).decode(), base64.b64encode(raw[:-1]).decode()):
        with pytest.raises(CorruptObject):
            vault.unseal(broken, PLACE)
    sealed = base64.b64encode(raw).decode()
    for other in ("shop/staging/KEY@1", "shop/production/KEY@2", "shop/production/MAIL@1"):
        with pytest.raises(CorruptObject, match=other):
            vault.unseal(sealed, other)
    assert vault.unseal(sealed, PLACE) == "hunter22"


def test_a_missing_or_wrong_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"secret\.key, is not there") as caught:
        open_vault(tmp_path, {})
    assert "backup" in caught.value.hint
    sealed = open_vault(tmp_path, {}, make=True).seal("hunter22", PLACE)
    other = base64.b64encode(b"k" * 32).decode()
    with pytest.raises(Unavailable, match="another key") as caught:
        open_vault(tmp_path, {VARIABLE: other}).unseal(sealed, PLACE)
    assert VARIABLE in caught.value.hint
    assert "hunter22" not in str(caught.value)
    for text in ("short", base64.b64encode(b"k" * 31).decode(), "no base64"):
        with pytest.raises(Unavailable, match="not a key of 32 bytes"):
            open_vault(tmp_path, {VARIABLE: text})
    (tmp_path / KEY_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(Unavailable):
        open_vault(tmp_path, {})


def test_the_variable_stands_for_the_file(tmp_path: Path) -> None:
    env = {VARIABLE: base64.b64encode(b"k" * 32).decode()}
    sealed = open_vault(tmp_path, env, make=True).seal("hunter22", PLACE)
    assert not (tmp_path / KEY_FILE).exists()
    assert open_vault(tmp_path / "elsewhere", env).unseal(sealed, PLACE) == "hunter22"


def test_of_many_that_make_the_key_at_once_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        vaults = list(pool.map(lambda _: open_vault(tmp_path, {}, make=True), range(8)))
    sealed = [vault.seal("hunter22", PLACE) for vault in vaults]
    assert [open_vault(tmp_path, {}).unseal(each, PLACE) for each in sealed] == ["hunter22"] * 8
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
