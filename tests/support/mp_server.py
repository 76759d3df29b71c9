"""The REST service of the Materials Project on a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Raw = dict[str, Any]
Answer = tuple[int, Any]
Question = Callable[[Raw], "list[Raw] | Answer"]


@dataclass
class Service:
    """What the service answers, and what it was asked.

    Attributes
    ----------
    endpoint
        Its address.
    routes
        Path, such as ``materials/core`` -> function of the query: documents, or a status with a body.
    asked
        (path, query, key) of every question to the REST service.
    """

    endpoint: str
    routes: dict[str, Question] = field(default_factory=dict)
    asked: list[tuple[str, Raw, str | None]] = field(default_factory=list)
    version: str = "2025.09.25"

    def paths(self) -> list[str]:
        """Paths of the questions, heartbeats left out."""
        return [path for path, _, _ in self.asked if path != "heartbeat"]


def _handler(service: Callable[[], Service]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path).strip("/"), {k: v[0] for k, v in parse_qs(parts.query).items()}
            known = service()
            known.asked.append((path, query, self.headers.get("x-api-key")))
            if path in known.routes:
                answer: Any = known.routes[path](query)
            elif path == "heartbeat":
                answer = 200, {"db_version": known.version, "version": "0.87.3", "access_controlled_batch_ids": []}
            else:
                answer = 404, {"detail": "Not Found"}
            if isinstance(answer, list):
                answer = 200, {"data": answer, "meta": {"total_doc": len(answer)}}
            status, body = answer
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self._send(status, data, "application/json")

        def _send(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def materials_project() -> Iterator[Service]:
    """A service on a free port that answers 404 to everything but its heartbeat."""
    known: list[Service] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: known[0]))
    known.append(Service(f"http://127.0.0.1:{server.server_port}/"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield known[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
