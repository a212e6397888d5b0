"""The key that signs provenance, and DSSE envelopes: ed25519 over in-toto statements."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from conveyor.errors import CorruptObject


class Signer:
    """Signs with the key in a file, which is made at first use and readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, payload: bytes, kind: str) -> bytes:
        """The envelope, as JSON."""
        key = self._key()
        signature = {"keyid": _id(key.public_key()), "sig": _text(key.sign(_encoded(kind, payload)))}
        envelope = {"payload": _text(payload), "payloadType": kind, "signatures": [signature]}
        return json.dumps(envelope, separators=(",", ":")).encode()

    def verify(self, envelope: bytes, kind: str) -> bytes:
        """The payload, if this key signed it. Raises CorruptObject."""
        return verified(envelope, kind, self._key().public_key())

    def public(self) -> bytes:
        """The public key, as PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key().public_key().public_bytes(serialization.Encoding.PEM, form)

    def _key(self) -> Ed25519PrivateKey:
        if not self._path.exists():
            self._make()
        key = serialization.load_pem_private_key(self._path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise CorruptObject(f"{self._path} is no ed25519 key", hint="Put back the key that was there.")
        return key

    def _make(self) -> None:
        """Whole or not at all, and once: of two that make one at a time, the first wins."""
        raw = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, self._path)
        except FileExistsError:
            pass
        finally:
            Path(temporary).unlink()


def verified(envelope: bytes, kind: str, key: Ed25519PublicKey) -> bytes:
    """The payload of an envelope that one of its signatures proves to be the key's. Raises CorruptObject."""
    try:
        body = json.loads(envelope)
        payload = base64.b64decode(body["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in body["signatures"]]
        found = str(body["payloadType"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptObject("its provenance is no signed envelope", hint="Restore it from a backup.") from error
    for signature in signatures:
        try:
            key.verify(signature, _encoded(found, payload))
        except InvalidSignature:
            continue
        if found == kind:
            return payload
    raise CorruptObject(
        "the signature of its provenance is wrong", hint="Somebody changed it, or another key signed it. Train it anew."
    )


def _encoded(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _id(key: Ed25519PublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
