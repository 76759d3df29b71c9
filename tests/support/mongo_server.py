"""A MongoDB server on a loopback port, apart from the database of the tests: somebody else's database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlipdb.embedded.greeting import is_alive
from mlipdb.embedded.launch import read_lock

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Address (without a database) of a server that keeps its data in a folder."""
    command = [sys.executable, "-m", "mlipdb.embedded", "serve", str(directory), "--port", "0", "--idle", "120"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            while (found := read_lock(directory)) is None or not is_alive(found["socket"]):
                assert process.poll() is None, (directory / "server.log").read_text()
            yield f"mongodb://{found['socket']}/"
        finally:
            process.terminate()
