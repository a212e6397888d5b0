"""Seals secret values: AES-256-GCM, bound to what the value is of, with a key that only its owner can read.

A sealed value is base64 of: 4 bytes that name the key, 12 of a nonce, the ciphertext and its tag.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conveyor.errors import CorruptObject, Unavailable

KEY_FILE = "secret.key"
VARIABLE = "CONVEYOR_SECRET_KEY"
"""Holds the key itself where no file may; a key file is not looked at then."""
_KEY_BYTES, _NAME_BYTES, _NONCE_BYTES = 32, 4, 12


class Vault:
    """Seals and unseals with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._digests = hashlib.blake2b(key, digest_size=32, person=b"conveyor.digest").digest()
        self._name = hashlib.blake2b(key, digest_size=_NAME_BYTES, person=b"conveyor.key").digest()

    def seal(self, value: str, bound_to: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, value.encode(), bound_to.encode())
        return base64.b64encode(self._name + nonce + sealed).decode()

    def digest(self, value: str) -> str:
        """The same for the same value under the same key, and nothing that could be guessed at without it."""
        return hashlib.blake2b(value.encode(), key=self._digests, digest_size=16).hexdigest()

    def unseal(self, sealed: str, bound_to: str) -> str:
        """CorruptObject when the bytes are not what was sealed for this; Unavailable when the key is another one."""
        try:
            raw = base64.b64decode(sealed, validate=True)
        except binascii.Error as error:
            raise _damaged(bound_to) from error
        if len(raw) > _NAME_BYTES and raw[:_NAME_BYTES] != self._name:
            raise Unavailable(
                f"secret {bound_to} was sealed with another key than the one that is here",
                hint=f"Put the right key back: .conveyor/{KEY_FILE}, or the variable {VARIABLE}.",
            )
        nonce, rest = raw[_NAME_BYTES:][:_NONCE_BYTES], raw[_NAME_BYTES + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, bound_to.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise _damaged(bound_to) from error


def open_vault(home: Path, env: Mapping[str, str], *, make: bool = False) -> Vault:
    """The vault with the key of this installation. `make`: a key that is not there yet is made."""
    if said := env.get(VARIABLE):
        return Vault(_key(said, f"the variable {VARIABLE}"))
    path = home / KEY_FILE
    if make and not path.exists():
        _make(path)
    try:
        return Vault(_key(path.read_text(), str(path)))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise Unavailable(
            f"the key of the secrets, {path}, is not there or not a key",
            hint="Restore it from a backup. Without it no value can be read: `conveyor secret rm` each one, then set "
            "them again.",
        ) from error


def _make(path: Path) -> None:
    """Once, whole or not at all: a link of a finished file fails when another process was first."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _key(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise Unavailable(f"{source} is not a key of {_KEY_BYTES} bytes in base64", hint="Restore it from a backup.")
    return key


def _damaged(bound_to: str) -> CorruptObject:
    return CorruptObject(
        f"the stored value of secret {bound_to} was damaged or changed",
        hint="Set it again with `conveyor secret set`.",
    )
