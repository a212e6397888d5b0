"""The documentation is in step with the code: generated parts, tables, links, and examples that are run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from conveyor import errors
from conveyor.config.load import load
from conveyor.domain.events import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block whose info string is `language`."""
    found = [(page, *match) for page in PAGES for match in FENCE.findall(page.read_text())]
    return [(page.name, text) for page, info, text in found if info == language]


def tree(base: type[errors.ConveyorError]) -> list[type[errors.ConveyorError]]:
    return [base, *(below for direct in base.__subclasses__() for below in tree(direct))]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_generated_parts_are_in_step(page: Path) -> None:
    assert generator().regenerated(page.read_text()) == page.read_text(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    dead = [target for target in targets if not (page.parent / target.partition("#")[0]).exists()]
    assert dead == []


def test_every_page_is_reached_from_the_readme_or_the_index() -> None:
    linked = (ROOT / "README.md").read_text() + (ROOT / "docs" / "index.md").read_text()
    linked += (ROOT / "docs" / "decisions" / "README.md").read_text()
    lost = [page.name for page in PAGES if page.name not in linked and page.name not in ("README.md", "index.md")]
    assert lost == []


def test_every_error_is_explained_as_it_is() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| (\d+) \| (yes|no) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE
    )
    told = {(code, int(status), retryable == "yes") for code, status, retryable in rows}
    assert told == {(error.code, error.status, error.retryable) for error in tree(errors.ConveyorError)}
    drawn = errors.__doc__ or ""
    for error in tree(errors.ConveyorError):
        assert error.__name__ in drawn
        assert error.code in drawn


def test_every_event_type_is_explained() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    assert [name for name in CATALOGUE if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(("page", "text"), blocks("toml conveyor"))
def test_configuration_examples_load(page: str, text: str) -> None:
    assert load(text, path=page).name


def test_paths_named_in_the_architecture_exist() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## Where is what")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py|[\w]+/[\w]+\.toml)`", table)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / "src" / "conveyor" / path).exists()] == []


def test_make_targets_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shell = "\n".join(text for _, text in blocks("sh"))
    named = set(re.findall(r"^make ([a-z-]+)", shell, re.MULTILINE))
    assert named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.skipif(importlib.util.find_spec("conveyor.cli.main") is None, reason="there is no command line yet")
def test_commands_named_exist_and_all_are_documented() -> None:
    manual = (ROOT / "docs" / "cli.md").read_text()
    known = re.findall(r"^### `conveyor ([a-z -]+?)(?: [\[A-Z].*)?`$", manual, re.MULTILINE)
    assert known
    for page, text in blocks("sh"):
        for line in re.findall(r"^conveyor ([a-z -]+)", text, re.MULTILINE):
            assert any(f"{line} ".startswith(f"{command} ") for command in known), f"{page}: conveyor {line}"
