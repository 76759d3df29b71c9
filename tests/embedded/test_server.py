"""Many processes, kill -9 at random moments, cursors, limits and a full disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo import ReplaceOne
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    CursorNotFound,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
)

from mlipdb.embedded import start, status, stop
from mlipdb.embedded.cursors import Cursors
from mlipdb.embedded.engine import Engine

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys, pymongo
from pymongo.errors import PyMongoError
client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=2000)
collection = client["d"]["c"]
n = 0
while True:
    identity = f"{sys.argv[2]}-{n}"
    try:
        if n % 3 == 2:
            replacement = {"k": identity, "p": "x" * 500}
            collection.bulk_write([pymongo.ReplaceOne({"k": identity}, replacement, upsert=True)])
        else:
            collection.insert_one({"k": identity, "tags": [n, n + 1], "p": "x" * 500})
    except PyMongoError:
        break
    sys.stdout.write(identity + "\\n")
    sys.stdout.flush()
    n += 1
"""


def python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("seed", [1, 2])
def test_killing_the_server_loses_nothing_acknowledged(seed: int) -> None:
    base = Path(tempfile.mkdtemp(prefix="emb"))
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    try:
        with pymongo.MongoClient(start(base / "d"), serverSelectionTimeoutMS=10_000) as client:
            client["d"]["c"].create_index("k", unique=True)
            client["d"]["c"].create_index("tags")
        for number in range(2):
            address = start(base / "d", idle_timeout=30)
            writers = [python(WRITER, address, f"{number}{letter}") for letter in "ab"]
            assert all(writer.stdout and writer.stdout.readline() for writer in writers)
            time.sleep(chance.uniform(0.05, 0.6))
            pid = status(base / "d").pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            for letter, writer in zip("ab", writers, strict=True):
                acknowledged.add(f"{number}{letter}-0")
                assert writer.stdout is not None
                acknowledged.update(writer.stdout.read().split())
                writer.communicate(timeout=30)
        with pymongo.MongoClient(start(base / "d"), serverSelectionTimeoutMS=10_000) as client:
            collection = client["d"]["c"]
            kept = {one["k"] for one in collection.find({}, {"k": 1})}
            assert acknowledged <= kept
            # What was not acknowledged may be there or not, but never half: the indexes agree.
            assert len(kept) <= len(acknowledged) + len("ab") * 2
            assert all(collection.find_one({"k": key}) is not None for key in kept)
            assert collection.count_documents({"tags": {"$gte": 0}}) == sum("tags" in one for one in collection.find())
    finally:
        stop(base / "d")
        shutil.rmtree(base)


def test_killing_a_client_harms_nobody(
    client: Any, server_address: str, collection: Collection[dict[str, Any]]
) -> None:
    client["d"]["c"].drop()
    writer = python(WRITER, server_address, "w")
    assert writer.stdout is not None
    lines = [writer.stdout.readline().strip() for _ in range(20)]
    writer.kill()
    writer.communicate()
    assert {one["k"] for one in client["d"]["c"].find()} >= set(lines)
    client["d"]["c"].drop()


COUNTER = """
import sys, pymongo
client = pymongo.MongoClient(sys.argv[1])
collection = client["tests"][sys.argv[2]]
for n in range(100):
    collection.update_one({"_id": "sum"}, {"$inc": {"n": 1}}, upsert=True)
    change = {"$inc": {"n": 1}}
    new = collection.find_one_and_update({"_id": "next"}, change, upsert=True, return_document=True)
    print(new["n"])
"""


def test_increments_of_four_processes_are_all_counted(
    server_address: str, collection: Collection[dict[str, Any]]
) -> None:
    processes = [python(COUNTER, server_address, collection.name) for _ in range(4)]
    numbers = [int(line) for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(numbers) == list(range(1, 401))
    found = collection.find_one({"_id": "sum"})
    assert found is not None
    assert found["n"] == 400


def test_documents_are_limited_to_16_mb(client: Any, collection: Collection[dict[str, Any]]) -> None:
    limit = 16 * 1024 * 1024
    room = limit - len(bson.encode({"_id": 1, "b": b""}))
    collection.insert_one({"_id": 1, "b": bytes(room)})
    with pytest.raises((DocumentTooLarge, OperationFailure)):
        collection.insert_one({"_id": 2, "b": bytes(room + 1)})
    # Past the driver's own check: an update that makes the document grow beyond the limit.
    with pytest.raises(OperationFailure, match="too large"):
        collection.update_one({"_id": 1}, {"$set": {"c": "more"}})
    assert collection.count_documents({}) == 1


def test_cursors_end_when_killed_and_when_unknown(client: Any, collection: Collection[dict[str, Any]]) -> None:
    collection.insert_many([{"_id": n} for n in range(300)])
    cursor = collection.find().batch_size(100)
    assert [next(cursor)["_id"] for _ in range(150)] == list(range(150))
    assert cursor.cursor_id
    reply = client["tests"].command({"killCursors": collection.name, "cursors": [cursor.cursor_id, 5]})
    assert reply["cursorsKilled"] == [cursor.cursor_id]
    assert reply["cursorsNotFound"] == [5]
    with pytest.raises(CursorNotFound):
        list(cursor)


def test_forgotten_cursors_expire() -> None:
    cursors = Cursors()
    documents = [bson.encode({"n": n}) for n in range(3)]
    kept = cursors.start("d.c", iter(documents), 1, patient=True)["cursor"]["id"]
    lost = cursors.start("d.c", iter(documents), 1)["cursor"]["id"]
    cursors.expire(time.monotonic() + 601)
    assert cursors.kill([kept, lost]) == ([kept], [lost])


def test_batches_stay_below_16_mb(client: Any, collection: Collection[dict[str, Any]]) -> None:
    collection.insert_many([{"_id": n, "b": bytes(6_000_000)} for n in range(5)])
    reply = client["tests"].command({"find": collection.name})
    assert len(reply["cursor"]["firstBatch"]) == 2
    more = client["tests"].command({"getMore": reply["cursor"]["id"], "collection": collection.name})
    assert len(more["cursor"]["nextBatch"]) == 2
    assert [one["_id"] for one in collection.find()] == [0, 1, 2, 3, 4]


def test_full_disk_is_an_error_and_leaves_no_trace(engine: Engine, run: Any) -> None:
    run(insert="c", documents=[{"_id": n, "k": n} for n in range(10)])
    run(createIndexes="c", indexes=[{"name": "k", "key": {"k": 1}}])
    pages = engine.storage.sql.execute("PRAGMA page_count").fetchone()[0]
    engine.storage.sql.execute(f"PRAGMA max_page_count={pages + 5}")
    reply = run(insert="c", documents=[{"_id": 100 + n, "k": n, "b": bytes(2000)} for n in range(100)])
    assert reply["ok"] == 0.0
    assert reply["codeName"] == "OutOfDiskSpace"
    assert run(count="c")["n"] == 10
    engine.storage.sql.execute("PRAGMA max_page_count=1000000")
    assert run(insert="c", documents=[{"_id": 100, "k": 100}])["n"] == 1
    assert run(count="c", query={"k": 100})["n"] == 1


def test_failed_command_leaves_no_trace_in_the_catalogue(run: Any) -> None:
    run(insert="c", documents=[{"k": 1}, {"k": 1}])
    reply = run(createIndexes="c", indexes=[{"name": "k", "key": {"k": 1}, "unique": True}])
    assert reply["code"] == 11000
    names = [one["name"] for one in run(listIndexes="c")["cursor"]["firstBatch"]]
    assert [bson.decode(one.raw)["name"] for one in run(listIndexes="c")["cursor"]["firstBatch"]] == ["_id_"]
    assert names == ["_id_"]


def test_long_unique_keys_are_compared_to_their_end(collection: Collection[dict[str, Any]]) -> None:
    collection.create_index("k", unique=True)
    collection.insert_one({"k": "x" * 3000 + "a"})
    collection.insert_one({"k": "x" * 3000 + "b"})
    with pytest.raises(DuplicateKeyError):
        collection.insert_one({"k": "x" * 3000 + "a"})
    assert collection.count_documents({"k": "x" * 3000 + "b"}) == 1


def test_bulk_errors_name_their_statement(collection: Collection[dict[str, Any]]) -> None:
    collection.create_index("k", unique=True)
    collection.insert_one({"_id": 1, "k": 1})
    operations = [ReplaceOne({"_id": n}, {"k": n % 2}, upsert=True) for n in range(2, 6)]
    with pytest.raises(BulkWriteError) as caught:
        collection.bulk_write(operations, ordered=False)
    assert [one["index"] for one in caught.value.details["writeErrors"]] == [1, 2, 3]
    assert caught.value.details["writeErrors"][0]["keyValue"] == {"k": 1}
    assert collection.count_documents({}) == 2


def test_expired_documents_go(engine: Engine, run: Any) -> None:
    import datetime as dt

    run(createIndexes="c", indexes=[{"name": "t", "key": {"t": 1}, "expireAfterSeconds": 60}])
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    ages = [0, 30, 90, 1000]
    run(
        insert="c",
        documents=[{"_id": age, "t": now - dt.timedelta(seconds=age)} for age in ages] + [{"_id": "no date"}],
    )
    engine.tick()
    assert run(distinct="c", key="_id")["values"] == [0, 30, "no date"]
