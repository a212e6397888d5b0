"""Databases by URL: copied, backed up, compared and watched the same way, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from conveyor.domain.migration import Fingerprint
from conveyor.effects.postgres import Postgres
from conveyor.effects.sqlite import Sqlite
from conveyor.errors import InputRejected


class Database(Protocol):
    """One database. One that is not there yet counts as empty, wherever it is read."""

    kind: str
    url: str

    def beside(self, place: str, folder: Path) -> Database:
        """Where a copy of that name is, or would be: in `folder`, or on the same server."""

    def fill(self, source: Path | None = None) -> None:
        """Replaces this copy's content by that of the database it is beside, or of a backup; safe to do again."""

    def drop(self) -> None: ...

    def ensure(self) -> None:
        """It exists, though it may be empty."""

    def backup(self, base: Path) -> Path:
        """A consistent copy in a file, named `base` and a suffix; complete once it has that name."""

    def restore(self, backup: Path) -> None:
        """Takes the content back in one transaction, under live connections."""

    def fingerprint(self) -> Fingerprint: ...

    def content(self) -> str | None:
        """A digest of every byte, where that is cheap enough to know; for a database that nobody writes to."""

    def size(self) -> int:
        """Bytes."""

    def watching(self) -> AbstractContextManager[Callable[[], set[str]]]:
        """Gives what tells, at each call, the tables whose writers are kept out at that moment."""

    def limits(self, lock_seconds: float) -> dict[str, str]:
        """Environment variables that keep a command from waiting longer for a lock, as far as there are any."""

    def silence(self) -> None:
        """Ends what an earlier, killed command still does in the server."""


def database(url: str, cwd: Path) -> Database:
    """`sqlite:///file` or `postgresql://...`; a driver's name after a + is allowed. Relative files are below `cwd`."""
    scheme, found, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind == "sqlite" and found and len(rest) > 1:
        return Sqlite(url, cwd)
    if kind in ("postgresql", "postgres") and found:
        return Postgres(url)
    raise InputRejected(
        f"a database URL that begins with {scheme[:20]!r} is not one that Conveyor can copy",
        hint="Migrations are rehearsed for sqlite:///file and postgresql://... URLs.",
    )


def copy(source: str, target: str, cwd: Path) -> None:
    """The target's content becomes a consistent copy of the source's; both are of one kind."""
    from_, to = database(source, cwd), database(target, cwd)
    if isinstance(from_, Sqlite) and isinstance(to, Sqlite):
        return to.copy_of(from_)
    if isinstance(from_, Postgres) and isinstance(to, Postgres):
        return to.copy_of(from_)
    raise InputRejected(f"a {from_.kind} database cannot be copied to {to.kind}", hint="Use one kind for both.")
