"""One step of a migration, as a process: `python -m conveyor.effects.migration SPEC.json OUT`.

Its environment is the service's own, and so has the real database's URL. Every step may be killed and started again:
copies are made anew, and the real migration first looks at how far the killed one had come.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.parse
from dataclasses import replace
from pathlib import Path

from conveyor.domain import wire
from conveyor.domain.masking import mask
from conveyor.domain.migration import (
    Backup,
    Fingerprint,
    Holds,
    Migrated,
    MigrationSpec,
    Rehearsal,
    Resume,
    Verb,
    resume,
)
from conveyor.domain.step import StepError
from conveyor.effects import commands, probe
from conveyor.effects.database import Database, database
from conveyor.effects.environment import given_secrets
from conveyor.effects.files import write_atomic
from conveyor.effects.lint import lint
from conveyor.errors import ConveyorError, StepFailed

_TRIES, _PAUSE = 4, 2.0  # of a real migration that could not get a lock in time; seconds between them
_SECRETS = "CONVEYOR_SECRETS"  # the names that `environment.given_secrets` goes by
_UNTOUCHED = "Only a copy of the database was touched."


class Migration:
    """The step that a spec tells of."""

    def __init__(self, spec: MigrationSpec, out: Path, env: dict[str, str], cwd: Path) -> None:
        if not env.get(spec.variable):
            raise StepFailed(
                f"{spec.service} has no {spec.variable}: there is no database to migrate",
                hint="Set it in conveyor.toml or as a secret, or leave `database` out.",
            )
        self._spec, self._out, self._env, self._cwd = spec, out, env, cwd
        self._folder = Path(spec.folder)
        self._real = database(env[spec.variable], cwd)
        self._copy = self._real.beside(spec.place, self._folder)
        if spec.variable in os.environ.get(_SECRETS, "").split():
            _conceal(self._copy.url)

    def run(self) -> None:
        verbs = {
            Verb.COPY: self._make_copy,
            Verb.LINT: self._lint,
            Verb.REHEARSE: self._rehearse,
            Verb.OLD: self._check,
            Verb.NEW: self._check,
            Verb.BACKUP: self._back_up,
            Verb.MIGRATE: self._migrate,
            Verb.RESTORE: self._restore,
            Verb.DROP: self._copy.drop,
        }
        verbs[self._spec.verb]()

    def _make_copy(self) -> None:
        began = time.monotonic()
        self._copy.fill(Path(self._spec.backup) if self._spec.backup else None)
        _say(f"copied {self._copy.size():,} bytes in {time.monotonic() - began:.1f} s")

    def _lint(self) -> None:
        if self._real.kind != "postgresql":
            _say("only the SQL of PostgreSQL is checked")
            return
        ran = commands.run(self._spec.line, self._cwd, self._at(self._copy), quiet=True)
        if ran.code:
            raise StepFailed(f"migrate_sql of {self._spec.service} failed (exit code {ran.code})", hint=_UNTOUCHED)
        found = lint(ran.tail, self._cwd)
        for finding in found:
            _say(f"line {finding.line}: {finding.rule}: {finding.message}")
        _say(f"{len(found)} finding{'' if len(found) == 1 else 's'} in the SQL of the migration")
        write_atomic(self._out / "lint.json", wire.to_json(found))

    def _rehearse(self) -> None:
        """On the copy; one that a killed attempt may have changed is made anew."""
        spec, begun = self._spec, self._folder / f"rehearsing-{self._spec.service}"
        if spec.source:
            self._copy = self._real.beside(spec.source, self._folder).beside(spec.place, self._folder)
        if spec.source or begun.exists():
            self._copy.fill()
        write_atomic(begun, b"")
        before, content, holds = self._copy.fingerprint(), self._copy.content(), Holds()
        with self._copy.watching() as held:
            ran = commands.run(spec.line, self._cwd, self._at(self._copy), lambda now: self._watch(holds, now, held()))
        if ran.code:
            raise StepFailed(
                f"{spec.told}: the migration of {spec.service} failed on a copy of {spec.variable} "
                f"(exit code {ran.code}): {ran.last}",
                hint=_UNTOUCHED,
            )
        unchanged = content is not None and content == self._copy.content()
        report = Rehearsal(before, self._copy.fingerprint(), round(ran.seconds, 3), _rounded(holds.longest), unchanged)
        longest = max(holds.longest.values(), default=0.0)
        _say(f"the migration took {ran.seconds:.1f} s, and kept writers waiting for at most {longest:.2f} s")
        write_atomic(self._report(spec.service), wire.to_json(report))
        write_atomic(self._out / "rehearsal.json", wire.to_json(report))

    def _watch(self, holds: Holds, now: float, held: set[str]) -> None:
        holds.look(now, held)
        table = holds.beyond(self._spec.lock_seconds)
        if table is not None:
            raise StepFailed(
                f"{self._spec.told}: its migration keeps writers of {table} waiting for more than "
                f"{self._spec.lock_seconds:g} s (lock_timeout), on a copy without traffic",
                hint=f"{_UNTOUCHED} Do it in small pieces or without a lock (CREATE INDEX CONCURRENTLY), or raise "
                "lock_timeout.",
            )

    def _check(self) -> None:
        spec = self._spec
        wrong = probe.failing(
            spec.line,
            spec.health,
            spec.smoke,
            self._cwd,
            {**self._at(self._copy), "CONVEYOR_REHEARSAL": "1"},
            self._folder / f"{spec.verb}-{spec.service}.log",
            start_seconds=spec.start_seconds,
        )
        if wrong:
            raise StepFailed(f"{spec.told}: {spec.where}, {spec.who} {wrong}", hint=spec.hint)
        smoked = " and passed its smoke test" if spec.smoke else "; it has no smoke test"
        _say(f"{spec.who} is healthy {spec.where}{smoked}")

    def _back_up(self) -> None:
        began, base = time.monotonic(), Path(self._spec.backup)
        base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._real.backup(base) if self._real.size() else None
        made = Backup(str(path or ""), path.stat().st_size if path else 0, round(time.monotonic() - began, 3))
        _say(f"backup: {made.path or 'the database is empty'} ({made.bytes:,} bytes, {made.seconds:.1f} s)")
        write_atomic(self._out / "backup.json", wire.to_json(made))

    def _migrate(self) -> None:
        """The real one. What it starts from is on disk before it starts, for whoever comes after a kill."""
        spec, marker = self._spec, self._folder / f"migrating-{self._spec.service}.json"
        expected = wire.from_json(self._report(spec.service).read_bytes(), Rehearsal)
        if marker.exists():
            self._real.silence()
            before = wire.from_json(marker.read_bytes(), Fingerprint)
            if self._already(before, expected.after):
                self._done(before, 0.0)
                return
        else:
            self._real.ensure()
            before = self._real.fingerprint()
            write_atomic(marker, wire.to_json(before))
        env = self._at(self._real) | self._real.limits(spec.lock_seconds)
        for left in reversed(range(_TRIES)):
            ran = commands.run(spec.line, self._cwd, env)
            if ran.code == 0:
                self._done(before, ran.seconds)
                return
            if not left or not _lock_missed(ran.tail) or self._real.fingerprint() != before:
                break
            _say(f"it could not get its lock within {spec.lock_seconds:g} s; {left} more tries")
            time.sleep(_PAUSE)
        now = self._real.fingerprint()
        whole = now == before
        write_atomic(self._out / "migrated.json", wire.to_json(Migrated(before, now)))
        raise StepFailed(
            f"the migration of release {spec.release} failed on the real database, after it had passed on a copy "
            f"(exit code {ran.code}): {ran.last}",
            hint=f"The schema is {'as it was' if whole else 'half way; mend it, or restore the backup'}.",
        )

    def _already(self, before: Fingerprint, expected: Fingerprint) -> bool:
        """After a kill: whether it was done. Where it was half done, going on must lead to the same on a copy."""
        found = resume(before, expected, self._real.fingerprint())
        _say(f"an earlier attempt was killed in the middle of the migration: {found}")
        if found is Resume.REHEARSE:
            self._copy.fill()
            ran = commands.run(self._spec.line, self._cwd, self._at(self._copy))
            if ran.code or self._copy.fingerprint() != expected:
                raise StepFailed(
                    f"the migration of release {self._spec.release} was killed half way, and does not go on from "
                    f"there: {ran.last or 'it leads to another schema'}",
                    hint="Mend the schema by hand, or restore the backup that was taken before it.",
                )
        return found is Resume.DONE

    def _done(self, before: Fingerprint, seconds: float) -> None:
        report = Migrated(before, self._real.fingerprint(), round(seconds, 3))
        _say(f"the real database is migrated ({seconds:.1f} s)")
        write_atomic(self._out / "migrated.json", wire.to_json(report))

    def _restore(self) -> None:
        before = self._real.fingerprint()
        began = time.monotonic()
        self._real.silence()
        self._real.restore(Path(self._spec.backup))
        report = Migrated(before, self._real.fingerprint(), round(time.monotonic() - began, 3))
        _say(f"restored {self._spec.backup} in {report.seconds:.1f} s")
        write_atomic(self._out / "migrated.json", wire.to_json(report))

    def _report(self, service: str) -> Path:
        return self._folder / f"rehearsed-{service}.json"

    def _at(self, where: Database) -> dict[str, str]:
        return {**self._env, self._spec.variable: where.url}


def _conceal(url: str) -> None:
    """The URL of a copy is as secret as the one it is made from, and so is the password that is a part of both."""
    own = {"CONVEYOR_COPY_URL": url, "CONVEYOR_COPY_PASSWORD": urllib.parse.urlsplit(url).password or ""}
    os.environ.update(own)
    os.environ[_SECRETS] = " ".join([*os.environ.get(_SECRETS, "").split(), *own])


def _lock_missed(said: str) -> bool:
    return "lock timeout" in said or "database is locked" in said


def _rounded(held: dict[str, float]) -> dict[str, float]:
    return {table: round(seconds, 3) for table, seconds in held.items()}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(spec: Path, out: Path) -> int:
    read = wire.from_json(spec.read_bytes(), MigrationSpec)
    try:
        Migration(replace(read, verb=Verb(read.verb)), out, dict(os.environ), Path.cwd()).run()
    except ConveyorError as error:
        _say(f"{error.message}\n{error.hint}")
        write_atomic(out / "error.json", wire.to_json(StepError(mask(error.message, given_secrets()), error.hint)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
