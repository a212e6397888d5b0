"""`data verify` and `data gc`."""

from __future__ import annotations

from conveyor.cli.files import opening, remotes
from conveyor.cli.files.progress import Progress
from conveyor.cli.output import say, say_json
from conveyor.cli.text import many, size
from conveyor.config.duration import parse_duration
from conveyor.domain.packing import Fate
from conveyor.errors import InputRejected
from conveyor.stores.data.gc import collect
from conveyor.stores.data.repair import repair as mend
from conveyor.stores.data.verify import verify as read_all


def verify(*, repair: bool = False, source: str = "", as_json: bool = False) -> int:
    """Prints what is damaged; 1 when something is, and stays so."""
    store = opening.open_store()
    progress = Progress(quiet=as_json)
    try:
        found = read_all(store, progress.of)
    finally:
        progress.done()
    report = found.report
    if repair and report.damages:
        others = [opening.remote(store, url) for url in ([source] if source else remotes.known(store))]
        report = mend(store, found, others)
    if as_json:
        say_json(report)
        return 0 if report.clean else 1
    for damage in report.damages:
        state = "repaired" if damage.repaired else "damaged"
        say(f"{state}: {damage.what} {damage.name[:12] if damage.what != 'version' else damage.name}: {damage.why}")
        for hit in damage.hits:
            say(f"  {'hit' if not damage.repaired else 'was hit'}: {hit}")
    checked = f"{many(report.versions, 'version')}, {many(report.packs, 'pack')}, {many(report.chunks, 'chunk')}"
    say(f"{checked}, {size(report.bytes)} read: {_verdict(report.clean, bool(report.damages))}")
    if not report.clean and not repair:
        say("`conveyor data verify --repair` takes good copies from a remote.")
    return 0 if report.clean else 1


def _verdict(clean: bool, damaged: bool) -> str:
    if not damaged:
        return "all as it should be"
    return "all repaired" if clean else "damaged as told above"


def gc(*, grace: str = "1d", dry_run: bool = False, as_json: bool = False) -> None:
    age = parse_duration(grace)
    if age is None:
        raise InputRejected(f"{grace!r} is no duration", hint="Write it as 12h, 1d or 1h30m.")
    done = collect(opening.open_store(), opening.now(), age, dry_run=dry_run)
    if as_json:
        say_json(done)
        return
    for kept in done.versions:
        say(f"keep     {kept.version}: {kept.reason}")
    for each in done.packs:
        word = f"would {each.fate}" if dry_run and each.fate is not Fate.KEEP else str(each.fate)
        say(f"{word:<8} pack {each.pack.name[:12]} {size(each.pack.bytes):>7}: {each.reason}")
    say(f"{size(done.freed)} {'would be freed' if dry_run else 'freed'}")
    if done.waiting:
        say(f"{many(done.waiting, 'pack')} condemned: a later run deletes them, when no writer can rely on them.")
