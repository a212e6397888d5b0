"""The team's side: a git repository with the example shop, and the changes that are pushed in the story."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import conveyor
from conveyor.errors import NotFound, StepFailed

_PACKAGE = Path(conveyor.__file__).parent
_GUARD = "CONVEYOR_ENVIRONMENT"  # set where a service runs, not where its tests do: the tests do not catch the bug


class Repository:
    def __init__(self, folder: Path, remote: str) -> None:
        self._folder = folder
        self._remote = remote

    def create(self) -> str:
        """The example as a repository of its own; returns the first commit."""
        ignored = shutil.ignore_patterns(".*_cache", "__pycache__", ".venv", "*.db")
        shutil.copytree(example(), self._folder, ignore=ignored)
        self._git("init", "-q", "-b", "main")
        return self.commit("First version of the shop")

    def commit(self, message: str) -> str:
        self._git("add", "-A")
        identity = ("-c", "user.name=Team", "-c", "user.email=team@example.org")
        self._git(*identity, "commit", "-q", "-m", message)
        return self._git("rev-parse", "HEAD").strip()

    def push(self) -> None:
        self._git("push", "-q", self._remote, "main")

    def change_page(self, text: str) -> str:
        """A good push: the front page says something else."""
        path = self._folder / "shop" / "page.py"
        source = path.read_text()
        marker = "<h1>"
        start = source.index(marker) + len(marker)
        end = source.index("</h1>", start)
        path.write_text(source[:start] + text + source[end:])
        return self.commit(f"Say {text!r} on the front page")

    def break_start(self) -> str:
        """A push that passes its tests and cannot start."""
        path = self._folder / "shop" / "web.py"
        bug = f'\nif "{_GUARD}" in os.environ:\n    raise RuntimeError("the new payment provider is not configured")\n'
        path.write_text(path.read_text() + bug)
        return self.commit("Add a payment provider")

    def break_answers(self) -> str:
        """A push that passes its tests, is healthy, and answers payments with 500."""
        path = self._folder / "shop" / "web.py"
        source = path.read_text()
        line = "        return asdict(shop.pay(payment))\n"
        if line not in source:
            raise NotFound("the example's /pay is not as the story knows it", hint="Mend cli/demo/repository.py.")
        bug = f'        if "{_GUARD}" in os.environ:\n            raise RuntimeError("division of the fee by zero")\n'
        path.write_text(source.replace(line, bug + line))
        return self.commit("Charge a fee")

    def revert(self) -> None:
        """Takes the last commit back, without pushing."""
        self._git("-c", "user.name=Team", "-c", "user.email=team@example.org", "revert", "--no-edit", "HEAD")

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.replace(self._remote, "<remote>").strip()
            raise StepFailed(f"git {words[0]} failed: {said}", hint="The demo cannot go on without it.")
        return done.stdout


def example() -> Path:
    """The shop beside the sources, or the copy that is installed with the package."""
    for folder in (_PACKAGE.parent.parent / "examples" / "shop", _PACKAGE / "examples" / "shop"):
        if (folder / "conveyor.toml").exists():
            return folder
    raise NotFound("the example shop is not installed", hint="Run the demo from a clone of the repository.")
