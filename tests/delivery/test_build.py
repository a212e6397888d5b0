"""What a build is made of, from a real repository: read before anything is unpacked, and the same for the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conveyor.config.load import load
from conveyor.delivery.parts import Layout, digest, layout
from conveyor.effects import git
from conveyor.errors import ConfigInvalid

CONFIG = """
[project]
name = "duo"
[service.web]
path = "web"
run = "serve"
[service.api]
path = "api/"
route = "/api"
build = "make"
run = "serve"
[worker.mail]
run = "mail"
"""


class Repo:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        who = {f"GIT_{role}_{what}": "t@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *words], cwd=self.path, env=git.environment(**who), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            path = self.path / name.replace("__", "/").replace("_txt", ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def layout(self, commit: str, config: str = CONFIG) -> Layout:
        return layout(self.path / ".git", commit, load(config))


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def test_a_change_reaches_the_parts_that_it_is_in(repo: Repo) -> None:
    first = repo.layout(
        repo.commit(web__a="1", api__a="1", api__requirements_txt="numpy\n", requirements_txt="polars\n")
    )
    assert set(first.parts) == {"web", "api", "mail"}
    assert first.parts["web"].tree == first.sources["web"]
    assert first.parts["mail"].tree == first.tree
    assert first.parts["api"].tree not in first.sources.values(), "its `build` makes a tree of its own"
    assert first.parts["web"].environment == first.parts["mail"].environment == first.environment
    assert first.environments == {first.environment: ".", first.parts["api"].environment: "api"}

    same = repo.layout(repo.commit())
    assert same == first
    assert digest(same) == digest(first)

    web = repo.layout(repo.commit(web__a="2"))
    assert web.parts["api"] == first.parts["api"]
    assert web.parts["web"] != first.parts["web"]
    assert web.parts["mail"] != first.parts["mail"], "the whole repository is its folder"
    assert digest(web) != digest(first)

    locked = repo.layout(repo.commit(api__requirements_txt="numpy==2\n"))
    assert locked.parts["api"].environment != web.parts["api"].environment
    assert locked.environment == web.environment
    for old, new in (('build = "make"', 'build = "make all"'), ('build = "make"', 'build = "make"\nenv = { A = "1" }')):
        other = repo.layout(repo.git("rev-parse", "HEAD"), CONFIG.replace(old, new))
        assert other.parts["api"].tree != locked.parts["api"].tree
        assert other.parts["web"] == locked.parts["web"]


def test_files_included_from_elsewhere_in_the_repository_count(repo: Repo) -> None:
    files = {"web__a": "1", "api__requirements_txt": "-r ../base_all.txt\n", "base_all_txt": "numpy\n"}
    first = repo.layout(repo.commit(**files))
    second = repo.layout(repo.commit(base_all_txt="numpy==2\n"))
    assert first.parts["api"].environment != second.parts["api"].environment


def test_a_folder_that_is_not_there_is_a_mistake_of_the_configuration(repo: Repo) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        repo.layout(repo.commit(web__a="1", api="a file"))
    assert caught.value.problems == ('service.api.path: the commit has no folder "api/"',)


def test_every_move_of_a_branch_is_in_its_log(repo: Repo) -> None:
    bare = repo.path.parent / "bare.git"
    git.ensure_repo(bare, "http://x")
    commits = []
    for number in range(4):
        commits.append(repo.commit(a=str(number)))
        repo.git("push", "-q", "--force", str(bare), "HEAD:topic")
    found, size = git.moves(bare, "topic", 0)
    assert found == commits
    assert git.moves(bare, "topic", size) == ([], size)
    repo.git("push", "-q", "--force", str(bare), f"{commits[1]}:topic")
    assert git.moves(bare, "topic", size)[0] == [commits[1]]
    repo.git("push", "-q", str(bare), "HEAD:other", ":topic")
    assert git.moves(bare, "topic", size) == ([], 0)
    assert git.moves(bare, "nothing", 0) == ([], 0)
