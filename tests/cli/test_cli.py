"""The command line's manners: help with an example everywhere, tables, JSON, errors with a hint and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.main

from conveyor import __version__
from conveyor.cli import main, output
from conveyor.domain.views import Message
from conveyor.errors import NotFound


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for word, inner in below.items():
        yield from commands(inner, (*words, word))


COMMANDS = dict(commands(typer.main.get_command(main.app)))


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["conveyor", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_shows_an_example(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, *words, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Example: conveyor {' '.join(words)}" in text


def test_help_and_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert all(words[0] in text for words in COMMANDS)
    assert "conveyor up" in text
    assert called(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_wrong_use_ends_with_2_and_a_refusal_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CONVEYOR_URL", "CONVEYOR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "none"))
    assert called(monkeypatch, "no-such-command") == 2
    capsys.readouterr()
    assert called(monkeypatch, "status") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "conveyor up" in said.err


def test_errors_are_told_with_their_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, output.told():
        raise NotFound("there is no model x", hint="Declared are: fraud.")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: there is no model x\n  Declared are: fraud.\n"
    with pytest.raises(SystemExit) as ended, output.told():
        raise KeyboardInterrupt
    assert ended.value.code == 130


def test_tables_json_and_ages(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("run", "state"), [("abcdef", "done"), ("a", "")])
    assert capsys.readouterr().out == "run     state\nabcdef  done\na\n"
    output.say_json([Message("yes")])
    assert json.loads(capsys.readouterr().out) == [{"message": "yes", "run": ""}]
    now = datetime.now(UTC)
    ages = [None, now - timedelta(minutes=5, seconds=9), now - timedelta(hours=30), now + timedelta(hours=1)]
    assert [output.ago(age) for age in ages] == ["-", "5m ago", "1d ago", "0s ago"]
