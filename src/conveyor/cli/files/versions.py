"""Versions: `data log`, `show`, `diff`, `tag`, `rm`, `export`."""

from __future__ import annotations

import os

from conveyor.cli.files import opening
from conveyor.cli.files.progress import Progress
from conveyor.cli.output import ago, say, say_json, table
from conveyor.cli.text import many, size
from conveyor.errors import InputRejected, NotFound
from conveyor.stores.data import walk
from conveyor.stores.data.node import EXECUTABLE, LINK, Entry
from conveyor.stores.data.scan import show as shown

_LISTED = 20  # paths that are printed where not all are asked for


def log(name: str, limit: int = 20, *, before: int | None = None, project: str = "", as_json: bool = False) -> None:
    dataset = opening.find(name, project)
    page = list(dataset.store.versions.page(dataset.project, dataset.name, before=before, limit=limit))
    tags = dataset.store.versions.tags(dataset.project, dataset.name)
    if as_json:
        say_json(
            [{"version": version, "tags": [t for t, n in tags.items() if n == version.version]} for version in page]
        )
        return
    rows = []
    for version in page:
        words = " ".join(tag for tag, number in tags.items() if number == version.version)
        change = f"+{version.added:,} ~{version.changed:,} -{version.deleted:,}"
        what = "removed" if version.removed else change
        rows.append(
            (
                f"v{version.version}",
                ago(version.created),
                f"{version.files:,}",
                size(version.bytes),
                what,
                size(version.stored),
                version.by,
                words,
                version.reason,
            )
        )
    table(("version", "made", "files", "size", "change", "stored", "by", "tags", "reason"), rows)
    if page and page[-1].version > 1:
        say(f"Older ones: conveyor data log {name} --before {page[-1].version}")


def show(name: str, path: str = "", *, limit: int = _LISTED, project: str = "", as_json: bool = False) -> None:
    dataset = opening.find(name, project)
    version = dataset.version
    entries = walk.under(bytes.fromhex(version.root), os.fsencode(path).strip(b"/"), dataset.store.reader)
    listed = [entry for _, entry in zip(range(limit), entries, strict=False)]
    if path and not listed:
        raise NotFound(f"{name} has no {path}", hint=f"`conveyor data show {name}` lists what it has.")
    if as_json:
        say_json({"version": version, "files": [_as_json(entry) for entry in listed]})
        return
    say(
        f"{version.name} v{version.version}: {many(version.files, 'file')}, {size(version.bytes)}, made "
        f"{version.created:%Y-%m-%d %H:%M} UTC by {version.by or 'somebody'}"
    )
    if version.reason:
        say(f"  {version.reason}")
    for entry in listed:
        mark = "@" if entry.kind & LINK else "*" if entry.kind & EXECUTABLE else ""
        say(f"  {size(entry.size):>8}  {entry.digest.hex()[:12]}  {shown(entry.path)}{mark}")
    if len(listed) == limit:
        say(f"  The first {limit}; --limit shows more, a folder's name behind the dataset's only that.")


def diff(old: str, new: str = "", *, limit: int = _LISTED, project: str = "", as_json: bool = False) -> None:
    first = opening.find(old, project)
    second = new if "@" in new or new in ("", first.name) else f"{first.name}@{new}"
    later = opening.find(second or old.partition("@")[0], project)
    before, after = first.version, later.version
    changes = walk.differences(bytes.fromhex(before.root), bytes.fromhex(after.root), later.store.reader)
    if as_json:
        rows = [{"path": shown(path), "old": _as_json(a), "new": _as_json(b)} for path, a, b in changes]
        say_json({"old": before, "new": after, "changes": rows})
        return
    counts = (
        sum(change.old is None for change in changes),
        sum(change.old is not None and change.new is not None for change in changes),
        sum(change.new is None for change in changes),
    )
    grown = after.bytes - before.bytes
    say(
        f"{before.name} v{before.version} -> {after.name} v{after.version}: {counts[0]:,} added, "
        f"{counts[1]:,} changed, {counts[2]:,} deleted; {'+' if grown >= 0 else '-'}{size(abs(grown))}"
    )
    for path, was, now in changes[:limit]:
        word = "added" if was is None else "deleted" if now is None else "changed"
        sizes = " -> ".join(size(entry.size) for entry in (was, now) if entry is not None)
        say(f"  {word:<8} {shown(path)}  {sizes}")
    if len(changes) > limit:
        say(f"  and {len(changes) - limit:,} more; --limit shows them")


def tag(name: str, word: str, *, move: bool = False, delete: bool = False, project: str = "") -> None:
    dataset = opening.find(name, project)
    if not word:
        tags = dataset.store.versions.tags(dataset.project, dataset.name)
        table(("tag", "version"), [(tag, f"v{number}") for tag, number in tags.items()])
        return
    if delete:
        dataset.store.versions.untag(dataset.project, dataset.name, word)
        say(f"{dataset.name} has no tag {word} any more; the version stays.")
        return
    version = dataset.version
    dataset.store.versions.tag(version, word, move=move)
    say(f"{dataset.name}@{word} is v{version.version}.")


def rm(name: str, *, project: str = "") -> None:
    dataset = opening.find(name, project)
    reference = dataset.reference
    if reference.version is None:
        raise InputRejected("say which version is to be removed", hint=f"Such as: conveyor data rm {dataset.name}@v3")
    version = dataset.version
    with dataset.store.writing(dataset.project, dataset.name, Progress().waits):
        opening.refuse_needed(dataset, version)
        dataset.store.versions.remove(version, opening.now())
    say(
        f"{dataset.name} v{version.version} is removed; its number is not used again. `conveyor data gc` frees what "
        "only it needed."
    )


def _as_json(entry: Entry | None) -> dict[str, object] | None:
    if entry is None:
        return None
    kind = "link" if entry.kind & LINK else "file"
    return {
        "path": shown(entry.path),
        "bytes": entry.size,
        "kind": kind,
        "executable": bool(entry.kind & EXECUTABLE),
        "digest": entry.digest.hex(),
    }
