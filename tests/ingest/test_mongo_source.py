"""Documents of somebody else's MongoDB, over a loopback port: what is new is taken, once, whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from gridfs import GridFS
from mongo_server import serving
from pymongo import MongoClient
from pymongo.database import Database as MongoDatabase

from mlipdb.errors import DatabaseError, DatabaseUnreachableError, UsageError
from mlipdb.ingest import mongo_source
from mlipdb.ingest.add import AddReport, add_paths
from mlipdb.ingest.files import Record
from mlipdb.ingest.mongo_source import add_collection, source_name
from mlipdb.stores import Database

Raw = dict[str, Any]
Theirs = MongoDatabase[Raw]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("theirs")) as address:
        yield address


@pytest.fixture
def theirs(server: str) -> Iterator[Theirs]:
    """An empty database of theirs."""
    client: MongoClient[Raw] = MongoClient(server)
    name = f"group-{uuid4().hex[:12]}"
    yield client[name]
    client.drop_database(name)
    client.close()


def flat(number: int, **more: Any) -> Raw:
    """A small flat record; `number` makes it another one."""
    site = {"species": [{"element": "Si", "occu": 1}], "abc": [0.0, 0.0, 0.001 * number]}
    cell = [[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]]
    second = {**site, "abc": [0.25, 0.25, 0.25]}
    return {
        "task_id": f"t-{number}",
        "code": "VASP",
        "functional": "PBE",
        "structure": {"lattice": {"matrix": cell}, "sites": [site, second]},
        "energy": -10.0 + 0.01 * number,
        "forces": [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]],
        **more,
    }


def take(database: Database, theirs: Theirs, **options: Any) -> AddReport:
    options.setdefault("collection", "outputs")
    return add_collection(database, address_of(theirs), **options)


def address_of(theirs: Theirs) -> str:
    host, port = theirs.client.address  # type: ignore[misc]
    return f"mongodb://{host}:{port}/{theirs.name}"


def taken(database: Database) -> dict[str, Raw]:
    return {task["task_id"]: task for task in database.collection("tasks").find({"state": "complete"}, {"_id": 0})}


def failed(database: Database) -> list[Raw]:
    return list(database.collection("tasks").find({"state": "failed"}, {"_id": 0}).sort("source.item", 1))


def counts(report: AddReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, len(report.problems)


def forget_recent(database: Database) -> None:
    """Let all that was read lie so far back that no margin reaches it."""
    early = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    change = {"$set": {"last_id": "f" * 24, "since": early + timedelta(days=365 * 100)}}
    database.watermarks.update_many({}, change)
    database.watermarks.update_many({}, {"$unset": {"last_pass": ""}})


def test_a_document_says_the_same_from_a_file_and_from_there(
    database: Database, theirs: Theirs, silicon_records: list[Raw], write_jsonl: Any
) -> None:
    add_paths(database, [write_jsonl("tasks.jsonl", silicon_records)])
    hashes = {task_id: task["content_hash"] for task_id, task in taken(database).items()}
    database.collection("tasks").delete_many({})
    theirs["outputs"].insert_many(silicon_records)
    assert counts(take(database, theirs, group="silicon")) == (70, 0, 0, 0)
    tasks = taken(database)
    assert {task_id: task["content_hash"] for task_id, task in tasks.items()} == hashes
    source = tasks["relax-diamond"]["source"]
    stored = theirs["outputs"].find_one({"task_id": "relax-diamond"})
    assert stored is not None
    assert source == {
        "format": "flat",
        "path": f"{address_of(theirs)}.outputs",
        "item": str(stored["_id"]),
    }
    assert tasks["relax-diamond"]["group"] == "silicon"
    assert "_id" not in tasks["relax-diamond"]["raw"]


def test_values_of_bson_become_those_of_json(database: Database, theirs: Theirs) -> None:
    moment = datetime(2024, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    extra = {
        "id": ObjectId("0123456789abcdef01234567"),
        "at": moment,
        "count": Int64(2**40),
        "exact": Decimal128("1.5"),
        "bytes": b"\x00\xff",
        "uuid": Binary.from_uuid(UUID(int=5)),
        "inner": [{"at": moment}, Int64(3)],
    }
    theirs["outputs"].insert_one(flat(1, extra=extra))
    take(database, theirs)
    raw = taken(database)["t-1"]["raw"]
    assert raw["extra"] == {
        "id": "0123456789abcdef01234567",
        "at": "2024-03-01T10:30:00Z",
        "count": 2**40,
        "exact": 1.5,
        "bytes": {"$binary": {"base64": "AP8=", "subType": "00"}},
        "uuid": str(UUID(int=5)),
        "inner": [{"at": "2024-03-01T10:30:00Z"}, 3],
    }
    json.dumps(raw, allow_nan=False)


def test_a_date_out_of_all_bounds_does_not_end_the_reading(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_one(flat(1, late=DatetimeMS(2**60), last_updated=DatetimeMS(-(2**60))))
    theirs["outputs"].insert_one(flat(2))
    assert take(database, theirs).added == 2
    assert taken(database)["t-1"]["raw"]["late"] == {"$date": {"$numberLong": str(2**60)}}
    assert "changed" not in taken(database)["t-1"]["source"]


def test_the_next_run_takes_what_is_new(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_many([flat(number) for number in range(5)])
    assert counts(take(database, theirs)) == (5, 0, 0, 0)
    assert counts(take(database, theirs)) == (0, 0, 5, 0)
    theirs["outputs"].insert_one(flat(5))
    assert counts(take(database, theirs)) == (1, 0, 5, 0)
    # Later nobody looks at the old ones any more.
    forget_recent(database)
    assert counts(take(database, theirs)) == (0, 0, 0, 0)
    theirs["outputs"].insert_one({**flat(6), "_id": ObjectId("f" * 24), "task_id": "late"})
    # ... but for those made shortly before the last pass, by whichever clock.
    assert counts(take(database, theirs)) == (1, 0, 6, 0)


SHAPES = {
    "BSON date": lambda moment: moment,
    "ISO with Z": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO with offset": lambda moment: moment.astimezone(timezone(timedelta(hours=-11))).isoformat(),
    "naive text": lambda moment: moment.replace(tzinfo=None).isoformat(" "),
    "monty": lambda moment: {"@module": "datetime", "@class": "datetime", "string": str(moment)},
}


@pytest.mark.parametrize("field", ["last_updated", "output.last_updated", "completed_at"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_document_that_was_changed_is_taken_again(database: Database, theirs: Theirs, shape: str, field: str) -> None:
    old, new = (SHAPES[shape](datetime(2031, month, 5, 3, 0, tzinfo=UTC)) for month in (1, 6))

    def dated(number: int, date: Any) -> Raw:
        head, _, inner = field.partition(".")
        # `output` would make a flat record none; what is dated there is refused, and remembered as such.
        return flat(number, **{head: {inner: date} if inner else date})

    theirs["outputs"].insert_many([dated(number, old) for number in range(3)])
    first = take(database, theirs)
    assert first.added + len(first.problems) == 3
    early = datetime(2031, 4, 1)  # noqa: DTZ001 - as the database keeps it
    database.watermarks.update_one({}, {"$set": {"since": early, "last_id": "f" * 24}, "$unset": {"last_pass": ""}})
    assert counts(take(database, theirs)) == (0, 0, 0, 0), "none has changed since"
    theirs["outputs"].update_one({"task_id": "t-1"}, {"$set": {field: new, "energy": -99.0}})
    again = take(database, theirs)
    assert again.updated + len(again.problems) == 1
    entry = database.collection("tasks").find_one({"source.changed": datetime(2031, 6, 5, 3)})  # noqa: DTZ001
    assert entry is not None
    if again.updated:
        assert entry["raw"]["energy"] == -99.0
    assert database.collection("tasks").count_documents({}) == 3


def test_a_document_that_was_only_touched_is_not_read_for_ever(database: Database, theirs: Theirs) -> None:
    now = datetime.now(UTC)
    theirs["outputs"].insert_one(flat(1, last_updated=None, completed_at=now - timedelta(hours=1)))
    take(database, theirs)
    theirs["outputs"].update_one({}, {"$set": {"completed_at": now}})
    assert counts(take(database, theirs)) == (0, 1, 0, 0)
    reads: list[int] = []
    assert counts(take(database, theirs, advance=reads.append)) == (0, 0, 1, 0)
    assert reads == []


def test_ids_without_a_time_are_all_looked_at(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_many([{**flat(number), "_id": f"uuid-{9 - number}"} for number in range(3)])
    assert take(database, theirs).added == 3
    forget_recent(database)
    theirs["outputs"].insert_one({**flat(3), "_id": "uuid-1"})
    theirs["outputs"].insert_one({**flat(4), "_id": 7})
    theirs["outputs"].insert_one({**flat(5), "_id": {"a": 1}})
    assert counts(take(database, theirs)) == (3, 0, 3, 0)
    assert taken(database)["t-4"]["source"]["item"] == '{"$numberInt": "7"}'


KILLED = """
import os, signal, sys
from mlipdb.ingest import mongo_source
from mlipdb.stores import Database

mongo_source.PAGE = 10
done = 0

def advance(count):
    global done
    done += count
    if done == 28:
        os.kill(os.getpid(), signal.SIGKILL)

with Database(sys.argv[1]) as database:
    mongo_source.add_collection(database, sys.argv[2], "outputs", advance=advance)
"""


def test_a_run_that_is_killed_goes_on_where_it_was(
    database: Database, theirs: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs["outputs"].insert_many([flat(number) for number in range(60)])
    command = [sys.executable, "-c", KILLED, database._address, address_of(theirs)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(taken(database)) == 28
    revision = database.revision("tasks")
    # Changed behind the place where it stopped, while nobody was reading.
    theirs["outputs"].insert_one(flat(60))
    monkeypatch.setattr(mongo_source, "PAGE", 10)
    looked: list[list[Raw]] = []
    stubs = mongo_source._Reader.stubs

    def watched(self: Any, query: Raw) -> Iterator[list[Raw]]:
        for page in stubs(self, query):
            looked.append(page)
            yield page

    monkeypatch.setattr(mongo_source._Reader, "stubs", watched)
    assert counts(take(database, theirs)) == (33, 0, 8, 0)
    assert sum(map(len, looked)) == 41, "the first twenty were not looked at again"
    assert sorted(taken(database)) == sorted(f"t-{number}" for number in range(61))
    assert database.revision("tasks") > revision
    state = database.watermarks.find_one({})
    assert state is not None
    assert "pass_started" not in state
    assert state["last_id"] == str(max(doc["_id"] for doc in theirs["outputs"].find({})))


def test_a_change_during_a_cut_off_pass_is_not_lost(
    database: Database, theirs: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime.now(UTC) - timedelta(days=30)
    theirs["outputs"].insert_many([flat(number, last_updated=start) for number in range(40)])
    command = [sys.executable, "-c", KILLED, database._address, address_of(theirs)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    theirs["outputs"].update_one({"task_id": "t-3"}, {"$set": {"last_updated": datetime.now(UTC), "energy": -5.5}})
    theirs["outputs"].update_one({"task_id": "t-39"}, {"$set": {"last_updated": datetime.now(UTC) + timedelta(days=9)}})
    take(database, theirs)
    assert counts(take(database, theirs))[1] == 1
    assert taken(database)["t-3"]["raw"]["energy"] == -5.5


def test_a_query_has_a_watermark_of_its_own(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_many([flat(number, label="a" if number % 2 else "b") for number in range(6)])
    assert take(database, theirs, query='{"label": "a"}').added == 3
    assert counts(take(database, theirs)) == (3, 0, 3, 0)
    assert database.watermarks.count_documents({}) == 2
    one = theirs["outputs"].find_one({"task_id": "t-2"})
    assert one is not None
    assert counts(take(database, theirs, query=f'{{"_id": {{"$oid": "{one["_id"]}"}}}}')) == (0, 0, 1, 0)
    since = '{"when": {"$gte": {"$date": "2024-01-01T00:00:00Z"}}}'
    theirs["outputs"].insert_one(flat(9, when=datetime(2024, 5, 1, tzinfo=UTC)))
    assert counts(take(database, theirs, query=since)) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [("{", "is no JSON"), ("[1]", "an object is needed"), ('{"_id": {"$oid": "x"}}', "is no JSON")],
)
def test_queries_that_are_none(database: Database, theirs: Theirs, query: str, words: str) -> None:
    theirs["outputs"].insert_one(flat(1))
    with pytest.raises(UsageError, match=words):
        take(database, theirs, query=query)


def test_a_query_the_server_refuses(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_one(flat(1))
    with pytest.raises(DatabaseError, match=r"refused: .*\$nonsense"):
        take(database, theirs, query='{"energy": {"$nonsense": 1}}')


def test_collections_that_are_not_there_are_named(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_one(flat(1))
    theirs["fs.files"].insert_one({"a": 1})
    for options, words in (
        ({"collection": None}, r"say which collection .* there are fs.files, outputs"),
        ({"collection": "output"}, "no collection 'output'"),
        ({"data_collection": "blobs"}, "no collection or bucket 'blobs'"),
    ):
        with pytest.raises(UsageError, match=words):
            take(database, theirs, **options)
    assert database.watermarks.count_documents({}) == 0


def test_bad_documents_are_counted_and_forgotten_once_they_are_mended(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_many([flat(1), {"colour": "red"}, {**flat(1), "energy": -3.0}, flat(2)])
    report = take(database, theirs)
    assert counts(report) == (2, 0, 0, 2)
    unknown, twice = report.problems
    assert "no reader knows a record with the fields colour" in unknown
    assert unknown.startswith(f"{address_of(theirs)}.outputs item ")
    assert "came first from" in twice
    assert [entry["failure"]["reason"] for entry in failed(database)] == ["unknown_format", "duplicate_id"]
    assert counts(take(database, theirs)) == (0, 0, 4, 0), "they have not changed, and are told by `mlipdb status`"
    theirs["outputs"].replace_one({"colour": "red"}, flat(3))
    theirs["outputs"].update_one({"energy": -3.0}, {"$set": {"task_id": "own"}})
    assert counts(take(database, theirs, from_start=True)) == (2, 0, 2, 0)
    assert failed(database) == []
    assert sorted(taken(database)) == ["own", "t-1", "t-2", "t-3"]


def test_from_the_start_finds_changes_that_carry_no_date(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_many([flat(1), flat(2)])
    take(database, theirs)
    theirs["outputs"].update_one({"task_id": "t-1"}, {"$set": {"energy": -12.0}})
    assert counts(take(database, theirs)) == (0, 0, 2, 0)
    assert counts(take(database, theirs, from_start=True)) == (0, 1, 1, 0)
    assert taken(database)["t-1"]["raw"]["energy"] == -12.0


def test_blobs_of_jobflow_come_back_into_their_places(
    database: Database, theirs: Theirs, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    jobflow = pytest.importorskip("jobflow")
    from maggma.stores import GridFSStore, MongoStore

    records: list[Record] = []

    def collect(reader: Any, stubs: Any) -> Iterator[Any]:
        for chunk in original(reader, stubs):
            records.extend(chunk)
            yield chunk

    original = mongo_source._Reader.records
    monkeypatch.setattr(mongo_source._Reader, "records", collect)
    steps = [{"forces": [[0.1, 0.2, 0.3]], "energy": -1.0}]
    document = {
        "uuid": "u-1",
        "index": 1,
        "output": {"@class": "TaskDoc", "ionic_steps": steps, "dos": {"@class": "Dos", "data": [1] * 50}},
        "completed_at": "2024-02-03T04:05:06.789",
        "metadata": {},
        "hosts": [],
        "name": "static",
    }
    host, port = theirs.client.address  # type: ignore[misc]
    place = {"database": theirs.name, "host": host, "port": port}
    stores = {"plain": MongoStore(collection_name="plain", **place)}
    stores["packed"] = GridFSStore(collection_name="packed", compression=True, **place)
    for name, store in stores.items():
        docs = MongoStore(collection_name=f"outputs_{name}", **place)
        job_store = jobflow.JobStore(docs, additional_stores={"data": store}, save={"data": ["ionic_steps", "dos"]})
        job_store.connect()
        job_store.update({**document, "name": name})
        job_store.close()
        records.clear()
        take(database, theirs, collection=f"outputs_{name}", data_collection=name)
        (record,) = records
        assert record.problem is None, record.problem
        assert record.raw["output"]["ionic_steps"] == steps
        assert record.changed == datetime(2024, 2, 3, 4, 5, 6, 789000)  # noqa: DTZ001
        assert record.raw["output"]["dos"]["store"] == "data", "no reader needs a density of states"
        # Without the store, the same documents are refused with the reason.
        database.collection("tasks").delete_many({})
        report = take(database, theirs, collection=f"outputs_{name}")
        assert report.added == 0
        assert "of the store data is not there; give the collection" in report.problems[0]
        assert failed(database)[0]["failure"]["reason"] == "blob_missing"


def test_parts_that_atomate_put_into_gridfs(
    database: Database, theirs: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [{"forces": [[0.1, 0.2, 0.3]], "e_fr_energy": -1.0}]
    packed = GridFS(theirs, "ionic_steps_fs").put(zlib.compress(json.dumps(steps).encode()))
    calculation = {
        "output": {},
        "ionic_steps_fs_id": packed,
        "ionic_steps_compression": "zlib",
        "bandstructure_fs_id": ObjectId(),
    }
    theirs["tasks"].insert_one(flat(1, calcs_reversed=[calculation]))
    theirs["tasks"].insert_one(flat(2, calcs_reversed=[{**calculation, "ionic_steps_fs_id": ObjectId()}]))
    garbage = GridFS(theirs, "ionic_steps_fs").put(b"not zlib")
    theirs["tasks"].insert_one(flat(3, calcs_reversed=[{**calculation, "ionic_steps_fs_id": garbage}]))
    report = take(database, theirs, collection="tasks")
    assert counts(report) == (1, 0, 0, 2)
    assert taken(database)["t-1"]["raw"]["calcs_reversed"][0]["output"] == {"ionic_steps": steps}
    assert [entry["failure"]["reason"] for entry in failed(database)] == ["gridfs_missing", "gridfs_damaged"]


def test_a_document_too_large_for_a_task_becomes_a_file(database: Database, theirs: Theirs) -> None:
    large = ["x" * 1_000_000] * 15 + ["y" * 800_000]
    theirs["outputs"].insert_one(flat(1, note=large))
    assert take(database, theirs).added == 1
    assert taken(database)["t-1"]["raw_artifact"]["size"] > 15 * 1024 * 1024


def test_passwords_are_told_to_nobody(database: Database, theirs: Theirs) -> None:
    host, port = theirs.client.address  # type: ignore[misc]
    closed = f"mongodb://mia:hunter2@{host}:1/name?serverSelectionTimeoutMS=300"
    with pytest.raises(DatabaseUnreachableError) as stop:
        add_collection(database, closed, "outputs")
    assert "hunter2" not in stop.value.message
    with pytest.raises(DatabaseError) as refused:
        add_collection(database, "mongodb://mia:hunter2/x@host:27017/name", "outputs")
    assert "hunter2" not in refused.value.message
    with pytest.raises(UsageError, match="names no database") as nameless:
        add_collection(database, f"mongodb://mia:hunter2@{host}:{port}/?authSource=admin", "outputs")
    assert "hunter2" not in nameless.value.message


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("mongodb://mia:hunter2@a:1,b:2/data?authSource=admin&tls=true", "mongodb://a:1,b:2/data.c"),
        ("mongodb+srv://mia:p%40@cluster.example.org/data", "mongodb+srv://cluster.example.org/data.c"),
        ("mongodb://localhost/data", "mongodb://localhost/data.c"),
        ("mongodb://mia:p@ss/w@host/data?tls=true", "mongodb://host/data.c"),
    ],
)
def test_sources_are_named_without_secrets(address: str, name: str) -> None:
    assert source_name(address, "c") == name


def test_the_address_of_a_source_holds_no_login(database: Database, theirs: Theirs) -> None:
    theirs["outputs"].insert_one(flat(1))
    take(database, theirs)
    text = json.dumps(list(database.watermarks.find({})) + list(taken(database).values()), default=str)
    assert address_of(theirs) in text
    assert "@" not in text.replace("@class", "").replace("@module", "")


def test_memory_stays_flat(database: Database, theirs: Theirs) -> None:
    for number in range(150):
        theirs["outputs"].insert_one(flat(number, pad="x" * 1_000_000))
    tracemalloc.start()
    try:
        assert take(database, theirs).added == 150
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6, "all documents have more than twice as much"


def test_addresses_and_paths_are_told_apart(tmp_path: Path) -> None:
    assert not mongo_source.is_address(str(tmp_path))
    assert mongo_source.is_address("mongodb+srv://x/y")
