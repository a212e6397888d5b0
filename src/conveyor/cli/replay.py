"""`conveyor replay`: a model's history under other retrain policies, with what each costs and gives."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conveyor.cli.output import say, say_json, span, table
from conveyor.errors import InputRejected, NotFound

if TYPE_CHECKING:
    from conveyor.delivery.replay.replay import Asked
    from conveyor.domain.project import ModelConfig, ProjectConfig
    from conveyor.domain.replay import Policy, Replayed, Walked

_DEFAULT = ("never", "live", "every:7d", "every:28d", "drift", "decay", "all")
Words = Annotated[list[str] | None, typer.Option("--policy", metavar="POLICY", help="May be given several times.")]


def add(app: typer.Typer) -> None:
    app.command("replay")(replay)


def replay(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the project in this folder.")],
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="The first event time that is played.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="Played up to here, not included.")] = "",
    policy: Words = None,
    tick: Annotated[str, typer.Option(help="So much event time arrives at once.")] = "1d",
    block: Annotated[str, typer.Option(help="Quality is measured over so much event time.")] = "7d",
    live_from: Annotated[str, typer.Option(metavar="DATE", help="Nothing is trained before.")] = "",
    score_from: Annotated[str, typer.Option(metavar="DATE", help="Quality counts from here on.")] = "",
    data: Annotated[list[str] | None, typer.Option(metavar="NAME=FILES", help="Files of a dataset.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at once; 0: one a core.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts.")] = None,
    set_: Annotated[bool, typer.Option("--set", help="Write the recommended policy into conveyor.toml.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be played, and train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a model's history again under other retrain policies, and recommend one.

    Policies: never, every:7d, rows:5000, data, drift, decay, all, live (as conveyor.toml says).

    Example: conveyor replay fraud --policy never --policy every:7d --policy live --html replay.html
    """
    from conveyor.cli import replay_page
    from conveyor.config.load import load
    from conveyor.delivery.replay.replay import Asked

    root = _root()
    config = load((root / "conveyor.toml").read_text())
    if model not in config.models:
        raise NotFound(f"there is no model {model!r}", hint=f"Declared are: {', '.join(sorted(config.models)) or '-'}.")
    declared = config.models[model]
    asked = Asked(
        policies=_policies(policy or _DEFAULT, declared),
        tick=_duration("--tick", tick),
        block=_duration("--block", block),
        first=_moment("--from", first),
        last=_moment("--to", last),
        live_from=_moment("--live-from", live_from),
        scored_from=_moment("--score-from", score_from),
        jobs=jobs if jobs > 0 else os.cpu_count() or 1,
    )
    if dry_run:
        _plan(asked, as_json=as_json)
        return
    found = _play(config, declared, root, asked, data or (), quiet=as_json)
    say_json(found) if as_json else _tell(found)
    if html is not None:
        html.write_text(replay_page.page(found))
        if not as_json:
            say(f"charts: {html}")
    if set_:
        _set(root / "conveyor.toml", found, quiet=as_json)


def _play(
    config: ProjectConfig, model: ModelConfig, root: Path, asked: Asked, data: list[str] | tuple[()], *, quiet: bool
) -> Replayed:
    from conveyor.cli.replay_rows import given_of, rows_of
    from conveyor.delivery.inputs import datasets_of
    from conveyor.delivery.replay.replay import Place
    from conveyor.delivery.replay.replay import replay as play
    from conveyor.engine.local.witness import home_of, state_folder
    from conveyor.engine.local.work import python_of

    home = Path(home_of(str(root), os.environ))
    if not home.exists():
        home.mkdir(mode=0o700, parents=True)
        (home / ".gitignore").write_text("*\n")
    cache = Path(state_folder(str(root), str(home))) / "replay"
    stored = (home / "settings.json").exists() or "CONVEYOR_URL" in os.environ
    given = given_of(data)
    rows = {
        each.name: rows_of(each, config.name, root, cache, given, stored) for each in datasets_of(config, model.inputs)
    }

    def tell(walk: Walked) -> None:
        if not quiet:
            say(f"{walk.policy.name}: {walk.metric} {_figure(walk.mean)} with {walk.trainings} trainings")

    return play(config, model, rows, Place(root, python_of(root), cache), asked, tell)


def _tell(found: Replayed) -> None:
    from conveyor.cli import replay_page

    say()
    table(
        ("policy", found.metric, "worst block", "trainings", "cost", "refused", "rightly", "failed"),
        [
            (
                walk.policy.name,
                _figure(walk.mean),
                _figure(_worst(walk)),
                walk.trainings,
                span(walk.seconds),
                walk.refused,
                walk.caught(),
                walk.failed,
            )
            for walk in found.walks
        ],
    )
    say()
    for line in replay_page.text_chart(found):
        say(line)
    say()
    if found.left_out:
        say(f"not replayed, since they need a server or further trainings: the gates {', '.join(found.left_out)}")
    if found.recommendation is None:
        say("No policy served anything: was there enough history for a first training?")
    else:
        say(f"recommended: {found.recommendation.policy}; {found.recommendation.reason}")
        say(f"on the frontier of cost and quality: {', '.join(found.recommendation.frontier)}")
    share = f", {found.seconds / found.training_seconds:.0%} of that" if found.training_seconds else ""
    kept = f", {found.kept} of them found from before" if found.kept else ""
    say(
        f"{found.distinct} distinct trainings of {span(found.training_seconds)}{kept}; "
        f"the replay took {span(found.seconds)}{share}, {found.jobs} at once"
    )


def _set(path: Path, found: Replayed, *, quiet: bool) -> None:
    from conveyor.config.load import load
    from conveyor.config.write import with_table
    from conveyor.domain.replay import table as table_of

    if found.recommendation is None:
        raise InputRejected("there is no policy to set", hint="Replay over more history.")
    chosen = next(walk.policy for walk in found.walks if walk.policy.name == found.recommendation.policy)
    text = with_table(path.read_text(), ("model", found.model, "retrain"), table_of(chosen.retrain))
    load(text)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
    if not quiet:
        say(f"[model.{found.model}.retrain] of {path.name} is now {chosen.name}; commit and push it")


def _plan(asked: Asked, *, as_json: bool) -> None:
    from conveyor.domain.replay import table as table_of

    if as_json:
        say_json([{"policy": each.name, "retrain": table_of(each.retrain)} for each in asked.policies])
        return
    table(("policy", "[model.NAME.retrain]"), [(each.name, table_of(each.retrain)) for each in asked.policies])
    say(f"{span(asked.tick.total_seconds())} of event time arrive at once; {asked.jobs} trainings run at once.")


def _policies(words: list[str] | tuple[str, ...], model: ModelConfig) -> tuple[Policy, ...]:
    from conveyor.config.duration import parse_duration
    from conveyor.domain.replay import POLICIES, parse

    found = []
    for word in dict.fromkeys(words):
        _, _, rest = word.partition(":")
        period = parse_duration(rest) if rest else None
        count = int(rest) if rest.isascii() and rest.isdigit() else None
        policy = parse(word, model.retrain, period or None, count)
        if policy is None:
            raise InputRejected(f"there is no policy {word!r}", hint=f"There are {', '.join(POLICIES)}.")
        found.append(policy)
    return tuple(found)


def _root() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "conveyor.toml").is_file():
            return folder
    raise NotFound(f"there is no conveyor.toml in {here} or above", hint="Go to the project's folder.")


def _duration(option: str, text: str) -> timedelta:
    from conveyor.config.duration import parse_duration

    found = parse_duration(text)
    if not found:
        raise InputRejected(f"{option} {text} is not a length of time", hint="Write it as 1d, 12h or 4w.")
    return found


def _moment(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputRejected(f"{option} {text} is not a date", hint="Write it as 2018-04-01.") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _worst(walk: Walked) -> float | None:
    from conveyor.domain.metric import METRICS

    values = list(walk.values().values())
    return (min if METRICS[walk.metric].higher_is_better else max)(values) if values else None
