"""Collection: what no release, rollback, run or person needs any more is deleted, once a day and when asked.

What is to go is renamed into `trash/` inside the transaction that looked last whether anything needs it: whoever
writes a need down after that finds the thing gone and makes it anew. The bytes are deleted after that, at leisure.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from conveyor.config.settings import Settings
from conveyor.delivery import removal
from conveyor.delivery.known import known
from conveyor.delivery.sweep import sweep
from conveyor.domain.release import Build, Release
from conveyor.domain.retention import Item, Kind, Policy, Verdict, decide
from conveyor.domain.state import Cursor
from conveyor.domain.views import Collected
from conveyor.effects import envs
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.collections import (
    CURSORS,
)

EVERY = timedelta(days=1)
_LOOK = 60.0  # seconds between looks whether it is time
_CURSOR = "collector"
_AT_ONCE = 500  # renames in one transaction
_DEPTH = {Kind.MODEL: 3, Kind.BACKUP: 3}
"""How many folders down the items of a kind are: shop/fraud/3, shop/production/before-release-4-….db."""


class Collector:
    """The controller: a collection a day, in a thread of its own."""

    name = "collector"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def turn(self) -> float:
        if self._thread is not None and self._thread.is_alive():
            return _LOOK
        self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        now = self._context.clock.now()
        with self._context.records.read() as tx:
            cursor = tx.get(CURSORS, _CURSOR)
        last = cursor.until if cursor else None
        if last is not None and now - last < EVERY:
            return _LOOK
        with self._context.transaction() as tx:
            tx.put(CURSORS, Cursor(_CURSOR, until=now))
        if last is not None:
            self._thread = threading.Thread(target=self._collect, name="collector", daemon=True)
            self._thread.start()
        return _LOOK

    def _collect(self) -> None:
        try:
            collect(self._context, Policy(), dry_run=False)
        except BaseException as error:  # told by the reconciler, as any controller's error is
            self._error = error


def collect(context: Context, policy: Policy, *, dry_run: bool) -> Collected:
    """Every verdict, with its reason; and unless `dry_run`, what they say is done."""
    items = list(scan(context.settings))
    surplus = removal.surplus(context, policy) if policy.models else []
    with context.records.read() as tx:
        verdicts = decide(items, known(tx), policy, context.clock.now())
    if dry_run:
        return replace(
            _account(verdicts, dry_run=True), objects=sweep(context, policy.grace, dry_run=True, spare=surplus)
        )
    removal.retire(context, surplus, policy)
    trash = context.settings.home / "trash"
    doomed = [verdict.item for verdict in verdicts if not verdict.keep]
    saved: dict[str, Verdict] = {}
    for start in range(0, len(doomed), _AT_ONCE):
        saved |= _throw(context, policy, items, doomed[start : start + _AT_ONCE], trash)
    shutil.rmtree(trash, ignore_errors=True)  # with what a crash left there the last time
    done = _account([saved.get(verdict.item.path, verdict) for verdict in verdicts], dry_run=False)
    done = replace(done, objects=sweep(context, policy.grace, dry_run=False))
    gone = [each for each in done.objects if not each.keep]
    things = done.deleted + sum(each.count for each in gone)
    if things:
        megabytes = round((done.deleted_bytes + sum(each.bytes for each in gone)) / 1e6)
        with context.transaction() as tx:
            event = context.event("system.collected", "control", megabytes=megabytes, things=things)
            tx.append(event)
    return done


def need_built(settings: Settings, build: Build) -> None:
    """NotFound where nothing can be run in a build, because it was collected."""
    if not ((settings.builds / build.tree).is_dir() and envs.ready(settings.envs / build.environment)):
        raise NotFound(
            f"the build of commit {build.commit[:12]} was collected, so nothing can be run in it",
            hint=f"Push commit {build.commit[:12]} again: the same commit gives the same build.",
        )


def need_present(settings: Settings, release: Release, build: Build) -> None:
    """NotFound where a release cannot come back, because what it runs was collected."""
    parts = [build.part(name) for name in ("", *build.config.services, *build.config.workers)]
    whole = all(
        (settings.builds / part.tree).is_dir() and envs.ready(settings.envs / part.environment) for part in parts
    )
    if not whole:
        raise NotFound(
            f"release {release.number} of {release.environment} cannot come back: its files were collected",
            hint=f"Push commit {release.commit[:12]} again; `conveyor gc --dry-run` shows which releases are kept.",
        )


def scan(settings: Settings) -> Iterator[Item]:
    for kind in Kind:
        root = settings.home / kind
        for path in _below(root, _DEPTH.get(kind, 1)):
            size, modified = _measure(path)
            yield Item(kind, str(path.relative_to(root)), size, datetime.fromtimestamp(modified, UTC))


def _throw(
    context: Context, policy: Policy, items: Iterable[Item], doomed: list[Item], trash: Path
) -> dict[str, Verdict]:
    """Moves these into the trash, except what is needed by now; returns the verdicts on what stays after all."""
    trash.mkdir(mode=0o700, exist_ok=True)
    paths, stays = {item.path for item in doomed}, {}
    with context.transaction() as tx:
        for verdict in decide(items, known(tx), policy, context.clock.now()):
            path = verdict.item.path
            if path not in paths:
                continue
            if verdict.keep:
                stays[path] = verdict
                continue
            try:
                (context.settings.home / path).rename(trash / secrets.token_hex(8))
            except FileNotFoundError:
                continue
            except OSError as error:
                stays[path] = replace(verdict, keep=True, reason=f"it could not be moved away: {error.strerror}")
    return stays


def _account(verdicts: list[Verdict], *, dry_run: bool) -> Collected:
    kept = [verdict for verdict in verdicts if verdict.keep]
    gone = [verdict for verdict in verdicts if not verdict.keep]
    return Collected(
        dry_run,
        len(gone),
        sum(verdict.item.bytes for verdict in gone),
        len(kept),
        sum(verdict.item.bytes for verdict in kept),
        tuple(sorted(verdicts, key=lambda verdict: (verdict.keep, -verdict.item.bytes))),
    )


def _below(root: Path, depth: int) -> Iterator[Path]:
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if depth == 1:
            yield path
        elif path.is_dir():
            yield from _below(path, depth - 1)


def _measure(path: Path) -> tuple[int, float]:
    """Bytes, and the newest change anywhere in it; what vanishes meanwhile counts for nothing."""
    try:
        found = path.lstat()
    except OSError:
        return 0, 0.0
    size, newest = (0, found.st_mtime) if path.is_dir() else (found.st_size, found.st_mtime)
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                each = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - an environment has 10,000 files
            except OSError:
                continue
            size, newest = size + each.st_size, max(newest, each.st_mtime)
    return size, newest
