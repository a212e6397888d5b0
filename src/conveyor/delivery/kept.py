"""Artifacts of tracked runs in the records: what keeps them from collection, and which pickles an admin trusts."""

from __future__ import annotations

from conveyor.domain.kept import KeptFile, TrustedFile
from conveyor.domain.references import DIGEST
from conveyor.engine.context import Context
from conveyor.errors import InputRejected
from conveyor.stores.collections import KEPT_FILES, TRUSTED_FILES


def keep_file(context: Context, digest: str) -> None:
    with context.records.read() as tx:
        if tx.get(KEPT_FILES, digest) is not None:
            return
    with context.records.transaction() as tx:
        tx.put(KEPT_FILES, KeptFile(digest))


def release_file(context: Context, digest: str) -> None:
    with context.records.transaction() as tx:
        tx.delete(KEPT_FILES, digest)


def trusted(context: Context, digest: str) -> bool:
    with context.records.read() as tx:
        return tx.get(TRUSTED_FILES, digest) is not None


def trust(context: Context, digest: str, by: str, reason: str) -> TrustedFile:
    """From now on these bytes may be uploaded although they are a pickle. On record as `model.file_trusted`."""
    if not DIGEST.fullmatch(digest):
        raise InputRejected(
            f"{digest[:80]!r} is no digest", hint="Give the 64 hexadecimal digits that the refusal named."
        )
    entry = TrustedFile(digest, by, reason, context.clock.now())
    with context.records.transaction() as tx:
        tx.put(TRUSTED_FILES, entry)
        tx.append(context.event("model.file_trusted", f"file/{digest[:12]}", digest=digest, by=by, reason=reason))
    return entry
