"""A proxy before an S3 server that counts what goes through."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading


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
