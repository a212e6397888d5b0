"""A repository with two services in folders of their own, and a running Conveyor that it is pushed to."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

from conveyor.cli import lifecycle
from conveyor.config.settings import HOME_NAME
from conveyor.domain.run import Run
from conveyor.errors import NotFound

from .system import System

NAME = "duo"
SERVE = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TEXT = Path("text.txt").read_bytes()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"%s pid %d" % (TEXT.strip(), os.getpid())
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
CONFIG = """
[project]
name = "duo"

[service.web]
path = "web"
run = "python serve.py"
test = "sh check.sh"

[service.web.rollout]
steps = [100]
hold = "100ms"
watch = "100ms"
drain = "100ms"

[service.api]
path = "api"
route = "/api"
build = "sh make.sh"
run = "python serve.py"
test = ["python -m pytest -q", "sh report.sh"]
junit = "reports/*.xml"

[service.api.rollout]
steps = [100]
hold = "100ms"
watch = "100ms"
drain = "100ms"
"""
FILES = {
    "conveyor.toml": CONFIG,
    "README.md": "Two services.\n",
    "web/serve.py": SERVE,
    "web/text.txt": "web one\n",
    "web/check.sh": "test -s text.txt\n",
    "api/serve.py": SERVE,
    "api/source.txt": "api one\n",
    "api/make.sh": "cp source.txt text.txt\n",
    "api/requirements.txt": "pytest>=8.4,<10\n",
    "api/test_api.py": "from pathlib import Path\n\n\ndef test_made():\n    assert Path('text.txt').exists()\n",
    "api/report.sh": (
        "mkdir -p reports\n"
        'echo \'<testsuite><testcase name="lint" time="0.5"/></testsuite>\' > reports/a.xml\n'
        "echo '<testsuite><testcase' > reports/broken.xml\n"
    ),
}


class Duo(System):
    def start(self) -> None:
        for path, text in FILES.items():
            (self.source / path).parent.mkdir(parents=True, exist_ok=True)
            self.write(path, text)
        self.settings = lifecycle.up(self.root / HOME_NAME)
        self.client = lifecycle.client(self.settings.home)
        self.git("init", "-q", "-b", "main")

    def remote(self, token: str) -> str:
        return f"http://conveyor:{token}@127.0.0.1:{self.settings.api_port}/git/{NAME}.git"

    def git(self, *words: str, at: Path | None = None) -> str:
        env = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
        done = subprocess.run(
            ["git", *who, *words], cwd=at or self.source, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr.replace(self.token, "<token>")
        return done.stdout + done.stderr

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def send(self, *refs: str) -> str:
        return self.git("push", self.remote(self.token), *refs)

    def say(self, path: str) -> str:
        url = f"{self.settings.public_url}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def page(self, path: str) -> str:
        asked = urllib.request.Request(
            f"{self.settings.api_url}{path}", headers={"authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def run_of(self, commit: str, seconds: float = 120) -> Run:
        """The run of a commit once it has ended."""

        def ended() -> Run | None:
            try:
                run = self.client.run_of_commit(NAME, commit)
            except NotFound:
                return None
            return run if run.ended else None

        found: Run = self.wait(ended, f"the build of {commit[:8]}", seconds)
        return found
