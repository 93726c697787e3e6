"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """``cut``: bytes before the connection ends, per request; ``wait``: seconds per 1000 bytes."""

    content: bytes = b""
    status: int = 200
    ranges: bool = True
    cut: list[int] = field(default_factory=list)
    wait: float = 0.0
    location: str | None = None


@dataclass
class Server:
    """Its pages by path, and the requests that came: path and range asked for."""

    url: str
    pages: dict[str, Page]
    requests: list[tuple[str, str | None]]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs until the block ends."""
    pages: dict[str, Page] = {}
    requests: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            requests.append((self.path, asked))
            page = pages.get(self.path)
            if page is not None and page.location is not None:
                self.send_response(302)
                self.send_header("Location", page.location)
                self.end_headers()
                return
            if page is None or page.status != 200:
                self.send_error(page.status if page else 404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            start = start if page.ranges else 0
            if start and start >= len(page.content):
                self.send_error(416)
                return
            body = page.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if page.cut:
                body = body[: page.cut.pop(0)]
            for i in range(0, len(body), 1000):
                self.wfile.write(body[i : i + 1000])
                time.sleep(page.wait)

        def log_message(self, *args: Any) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass  # a client that was killed

    httpd = QuietServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{httpd.server_port}", pages, requests)
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
