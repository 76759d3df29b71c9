"""The bucket with the open data of the Materials Project (Delta tables) on a loopback port, in the words of S3.

A process of its own: deltalake reads without giving other threads of its process a chance to answer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Raw = dict[str, Any]
DATE = "2015-10-21T07:28:00.000Z"


class Bucket(BaseHTTPRequestHandler):
    """Lists and gives the files below a folder; its sub-folders are the buckets."""

    protocol_version = "HTTP/1.1"
    root = Path()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path).strip("/"), {k: v[0] for k, v in parse_qs(parts.query).items()}
        if "list-type" in query:
            self._send(200, listing(self.root / path, query).encode())
            return
        file = self.root / path
        if not file.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        data, wanted = file.read_bytes(), self.headers.get("range")
        if wanted is None:
            self._send(200, data)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin = int(first) if first else len(data) - int(last)
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        self._send(206, data[begin : end + 1], f"bytes {begin}-{end}/{len(data)}")

    def _send(self, status: int, data: bytes, extent: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        if extent is not None:
            self.send_header("Content-Range", extent)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def listing(bucket: Path, query: Raw) -> str:
    """Answer of ListObjectsV2."""
    prefix, offset = query.get("prefix", ""), query.get("start-after", "")
    keys = sorted(str(file.relative_to(bucket)) for file in bucket.rglob("*") if file.is_file())
    found = [key for key in keys if key.startswith(prefix) and key > offset]
    items = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{(bucket / key).stat().st_size}</Size>"
        f'<LastModified>{DATE}</LastModified><ETag>"1"</ETag></Contents>'
        for key in found
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{bucket.name}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
    )


@contextmanager
def serving_bucket(folder: Path) -> Iterator[str]:
    """Address of a server of the buckets below a folder."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def write_table(folder: Path, name: str, rows: list[Raw]) -> None:
    """A Delta table in the bucket of parsed data."""
    import pyarrow as pa
    from deltalake import write_deltalake

    place = folder / "materialsproject-parsed" / name
    place.mkdir(parents=True)
    write_deltalake(str(place), pa.Table.from_pylist(rows))


if __name__ == "__main__":
    Bucket.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
