"""Writes the generated parts of docs/ anew: what stands between `<!-- generated: NAME -->` and `<!-- end -->`.

    python docs/generate.py

A test compares; nothing here is edited by hand.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import conveyor.config
from conveyor.domain.events import CATALOGUE

DOCS = Path(__file__).parent
_REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def reference() -> str:
    text = (Path(conveyor.config.__file__).parent / "reference.toml").read_text()
    return f"```toml conveyor\n{text}```\n"


def events() -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in CATALOGUE.items())
    return f"| type | meaning |\n|---|---|\n{rows}"


def commands() -> str:
    """Every command of the command line with its arguments and options, by its own help."""
    if importlib.util.find_spec("conveyor.cli.main") is None:
        return ""
    typer_main: Any = importlib.import_module("typer.main")
    app = importlib.import_module("conveyor.cli.main").app
    return "".join(_command(*found) for found in _walk(typer_main.get_command(app), "conveyor"))


def _walk(command: Any, name: str) -> Iterator[tuple[Any, str]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield command, name
        return
    for word, inner in below.items():
        if not inner.hidden:
            yield from _walk(inner, f"{name} {word}")


def _command(command: Any, name: str) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help" and not p.hidden]
    usage = " ".join([name, *(_usage(argument) for argument in arguments)])
    text = f"### `{usage}`\n\n{_prose(command.help)}\n\n"
    for option in options:
        names = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
        text += f"- {names}: {_prose(option.help) or option.name}\n"
    return text + ("\n" if options else "")


def _usage(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _prose(text: str | None) -> str:
    return " ".join((text or "").split("\f")[0].split())


GENERATORS: dict[str, Callable[[], str]] = {"reference": reference, "events": events, "commands": commands}


def regenerated(text: str) -> str:
    """The page with its generated regions made anew."""
    return _REGION.sub(lambda match: match[1] + GENERATORS[match[2]]() + match[3], text)


def main() -> int:
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text()
        after = regenerated(before)
        if after != before:
            page.write_text(after)
            print(f"wrote {page.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
