"""Artifacts: paths as their owner (a run, a logged model) knows them, and the digest of what lies there.

A client's path is a key of a table and never a path on a disk.
"""

from __future__ import annotations

from sqlalchemy import delete, select

from conveyor.domain.tracked import File
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.schema import FILES

_C = FILES.c


def checked(path: str) -> str:
    """The path without a slash at its end. Refused: absolute ones and `..`."""
    parts = path.rstrip("/").split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path or len(path) > 1000:
        raise InputRejected(f"Invalid path: {path[:200]!r}", hint="Use a relative path without `..`.")
    return "/".join(parts)


def put(session: Session, owner: str, path: str, digest: str, size: int) -> None:
    values = {"owner": owner, "path": path, "digest": digest, "size": size}
    insertion = session.upsert(FILES).values(**values)
    changed = {"digest": digest, "size": size}
    session.connection.execute(insertion.on_conflict_do_update(index_elements=["owner", "path"], set_=changed))


def get(session: Session, owner: str, path: str) -> str:
    """The digest."""
    found = session.connection.execute(select(_C.digest).where(_C.owner == owner, _C.path == path)).scalar()
    if found is None:
        raise NotFound(f"No such artifact: '{path}'", hint="List what there is first.")
    return str(found)


def below(session: Session, owner: str, folder: str) -> list[tuple[str, str, int]]:
    """(path, digest, size) of every file under a folder; "" is all of them."""
    query = select(_C.path, _C.digest, _C.size).where(_C.owner == owner)
    if folder:
        query = query.where(_C.path >= f"{folder}/", _C.path < f"{folder}0")  # "0" follows "/"
    return [(row.path, row.digest, row.size) for row in session.connection.execute(query.order_by(_C.path))]


def listed(session: Session, owner: str, folder: str) -> list[File]:
    """What lies directly in a folder, by name."""
    found: dict[str, File] = {}
    start = len(folder) + 1 if folder else 0
    for path, _, size in below(session, owner, folder):
        name, deeper, _ = path[start:].partition("/")
        found[name] = File(name, True) if deeper else File(name, False, size)
    return [found[name] for name in sorted(found)]


def remove(session: Session, owner: str, path: str) -> list[str]:
    """Deletes a file, or all of a folder; the digests that nothing names any more."""
    gone = {digest for _, digest, _ in below(session, owner, path)}
    one = session.connection.execute(select(_C.digest).where(_C.owner == owner, _C.path == path)).scalar()
    gone |= {str(one)} if one else set()
    inside = (_C.path >= f"{path}/") & (_C.path < f"{path}0")
    session.connection.execute(delete(FILES).where(_C.owner == owner, (_C.path == path) | inside))
    still = set(session.connection.execute(select(_C.digest).where(_C.digest.in_(gone))).scalars())
    return sorted(gone - still)
