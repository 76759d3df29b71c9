"""Several writers at once lose nothing, and one changed document does not rewrite all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mlipdb.embedded import start, stop
from mlipdb.stores import Database

ROOT = Path(__file__).resolve().parents[2]
EACH = 40
WRITER = """
import sys
from mlipdb.stores import Database
with Database(sys.argv[1]) as database:
    for n in range(int(sys.argv[3])):
        name = f"{sys.argv[2]}-{n}"
        if n % 2:
            database.replace("tasks", {"task_id": name})
        else:
            database.collection("tasks").insert_one({"task_id": name})
        print(name, flush=True)
"""


def test_defect_9_writers_at_once_lose_nothing_and_rewrite_nothing() -> None:
    base = Path(tempfile.mkdtemp(prefix="emb"))
    try:
        address = start(base / "d", idle_timeout=60)
        command = [sys.executable, "-c", WRITER, address]
        writers = [
            subprocess.Popen([*command, letter, str(EACH)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for letter in "abcd"
        ]
        acknowledged = {name for writer in writers for name in writer.communicate(timeout=120)[0].split()}
        assert len(acknowledged) == 4 * EACH
        with Database(address) as database:
            tasks = database.collection("tasks")
            assert {document["task_id"] for document in tasks.find()} == acknowledged
            tasks.insert_many([{"task_id": f"n{n}", "text": "x" * 1000} for n in range(2000)])
        stop(base / "d")
        size = (base / "d" / "mlipdb.sqlite").stat().st_size
        assert size > 2_000_000
        with Database(start(base / "d", idle_timeout=60)) as database:
            database.replace("tasks", {"task_id": "n1000", "text": "y" * 1000})
            log = (base / "d" / "mlipdb.sqlite-wal").stat().st_size
            assert 0 < log < size / 10
    finally:
        stop(base / "d")
        shutil.rmtree(base)
