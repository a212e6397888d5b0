"""What an environment's key depends on, and what it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conveyor.effects import envs
from conveyor.effects.environment import clean_environment


def key(files: dict[str, bytes], folder: str = "f", repository: str = "r") -> str:
    return envs.key(envs.declared(files.get), folder, repository)


def test_the_key_follows_what_is_declared() -> None:
    base = {"requirements.txt": b"-r more.txt\nnumpy==2\n", "more.txt": b"polars==1\n", "app.py": b"1"}
    assert key(base) == key({**base, "app.py": b"2"}, "other", "other")
    assert key(base) == key({**base, "pyproject.toml": b"[project]"}), "requirements.txt says all"
    assert key(base) != key({**base, "more.txt": b"polars==2\n"}), "included files count"
    locked = {"uv.lock": b"version = 1\n", "pyproject.toml": b"[project]\n", "requirements.txt": b"x"}
    assert key(locked) != key({**locked, "pyproject.toml": b"[project]\nname = 'a'\n"})
    assert key({}) == key({"README.md": b""})
    # A file that includes itself ends.
    assert key({"requirements.txt": b"-r requirements.txt\n"})


def test_what_is_installed_from_the_repository_counts() -> None:
    for text in (b"-e .\n", b"./lib\n", b"lib @ file:lib\n"):
        files = {"requirements.txt": text}
        assert key(files, "one") != key(files, "two"), text
        assert key(files, "one", "r1") == key(files, "one", "r2"), text
    above = {"requirements.txt": b"../shared\n"}
    assert key(above, "one", "r1") != key(above, "one", "r2")
    own = {"uv.lock": b'[[package]]\nname = "app"\nsource = { editable = "." }\n'}
    assert key(own, "one") == key(own, "two"), "the project itself is not installed"
    other = {"uv.lock": b'[[package]]\nname = "lib"\nsource = { editable = "lib" }\n'}
    assert key(other, "one") != key(other, "two")


def test_an_environment_appears_whole_and_works_where_it_was_moved_to(tmp_path: Path) -> None:
    tree, target = tmp_path / "tree", tmp_path / "envs" / "k"
    tree.mkdir()
    target.parent.mkdir()
    (tree / "requirements.txt").write_text("iniconfig\n")
    script = envs.command(target, tree, tmp_path / "scratch")
    for _ in range(2):  # whoever comes second throws the own one away
        done = subprocess.run(
            ["sh", "-c", script], env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert envs.ready(target)
    assert not (tmp_path / "scratch").exists()
    said = subprocess.run([target / "bin" / "python", "-c", "import iniconfig, conveyor.sdk.run"], check=False)
    assert said.returncode == 0
    assert subprocess.run([target / "bin" / "conveyor", "--help"], capture_output=True, check=False).returncode == 0
