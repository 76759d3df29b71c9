"""Whatever is wrong with an input is said in one sentence and kept as one failed entry; the rest goes in."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from mlipdb.artifacts import Artifacts
from mlipdb.ingest.add import AddReport, add_paths, raw_hash
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import Database

Raw = dict[str, Any]
Write = Callable[[str, Iterable[Any]], Path]


def failed(database: Database) -> list[Raw]:
    return list(database.collection("tasks").find({"state": "failed"}, {"_id": 0}).sort("task_id", 1))


def complete(database: Database) -> list[str]:
    return sorted(doc["task_id"] for doc in database.collection("tasks").find({"state": "complete"}))


class Counter:
    """Counts what `add_paths` tells of its progress."""

    def __init__(self) -> None:
        self.units = self.done = self.items = 0

    def begin(self, units: int) -> None:
        self.units = units

    def advance(self, units: int, items: int) -> None:
        self.done += units
        self.items += items


class Stop(Counter):
    """Interrupts, as Ctrl-C does, when something was written."""

    def advance(self, units: int, items: int) -> None:
        raise KeyboardInterrupt


def nested(levels: int) -> Raw:
    value: Raw = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_shipped_tasks_go_in_as_they_came(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    path = write_jsonl("tasks.jsonl.gz", silicon.values())
    progress = Counter()
    report = add_paths(database, [path], group="silicon", progress=progress)
    found = report.as_dict()
    assert sum(item["count"] for item in found.pop("understood")) == 70
    assert found == {
        "added": 70,
        "updated": 0,
        "unchanged": 0,
        "rejected": 0,
        "formats": {"flat": 70},
        "problems": [],
        "other_files": 0,
    }
    assert (progress.units, progress.done, progress.items) == (1, 1, 70)
    task = database.collection("tasks").find_one({"task_id": "isolated-atom"})
    assert task is not None
    assert task["raw"] == silicon["isolated-atom"]
    assert task["group"] == "silicon"
    assert task["source"] == {"format": "flat", "path": str(path), "item": "1"}
    again = add_paths(database, [path])
    assert (again.added, again.updated, again.unchanged) == (0, 0, 70)


BAD_LINES: dict[str, tuple[str, str, str]] = {
    "truncated line": ('{"task_id": "x", "structure": {"si', "truncated", "line 2 is no complete JSON"),
    "not JSON": ("energy = -3", "no_json", "line 2 is no complete JSON"),
    "list": ("[1, 2]", "no_object", "item 2 is a list; an object"),
    "number": ("3", "no_object", "item 2 is a int; an object"),
    "null": ("null", "no_object", "item 2 is a NoneType"),
    "unknown format": ('{"a": 1, "b": 2}', "unknown_format", "item 2: no reader knows a record with the fields a, b"),
    "no field": ("{}", "unknown_format", "none at all"),
    "no id": ('{"structure": {}, "energy": 1}', "no_id", "item 2: a record without a task_id"),
    "empty id": ('{"structure": {}, "energy": 1, "task_id": ""}', "no_id", "without a task_id"),
    "deep nesting": (
        json.dumps({"structure": {}, "energy": 1, "task_id": "x", "y": nested(95)}),
        "not_storable",
        "item 2: is nested more than 90 levels",
    ),
    "deepest nesting": ('{"a":' * 100_000, "no_json", "line 2 is no complete JSON"),
    "huge integer": (
        '{"structure": {}, "energy": 1, "task_id": "x", "y": 100000000000000000000}',
        "not_storable",
        "item 2: cannot be stored in MongoDB",
    ),
    "endless integer": ('{"y": ' + "1" * 5000 + "}", "no_json", "4300 digits"),
    "surrogate in a value": (
        '{"structure": {}, "energy": 1, "task_id": "x", "y": "\\ud800"}',
        "not_storable",
        "item 2: cannot be stored",
    ),
    "id is true": ('{"structure": {}, "energy": 1, "task_id": true}', "bad_id", "its task_id is a bool; text"),
    "id is a list": ('{"structure": {}, "energy": 1, "task_id": ["a"]}', "bad_id", "its task_id is a list; text"),
    "surrogate in the id": ('{"structure": {}, "energy": 1, "task_id": "\\ud800"}', "not_storable", "surrogates"),
    "surrogate in a field": ('{"\\ud800": 1}', "unknown_format", "\\ud800"),
    "zero byte in a field": (
        '{"structure": {}, "energy": 1, "task_id": "x", "y\\u0000": 1}',
        "not_storable",
        "item 2: cannot be stored",
    ),
    "long field": (json.dumps({"a" * 20_000_000: 1}), "unknown_format", "the fields " + "a" * 40 + ";"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_among_good_ones(database: Database, silicon: dict[str, Raw], write_jsonl: Write, name: str) -> None:
    line, reason, words = BAD_LINES[name]
    good = [silicon["isolated-atom"], silicon["relax-diamond"]]
    report = add_paths(database, [write_jsonl("mixed.jsonl", [good[0], line, good[1]])])
    assert complete(database) == ["isolated-atom", "relax-diamond"]
    assert report.added == 2
    (problem,) = report.problems
    assert words in problem
    assert problem.startswith("mixed.jsonl")
    assert "\n" not in problem
    (entry,) = failed(database)
    assert entry["failure"]["message"] == problem
    assert entry["failure"]["reason"] == reason
    assert entry["source"]["item"] == "2"
    # Once the line is mended, nothing tells of it any more.
    report = add_paths(database, [write_jsonl("mixed.jsonl", [good[0], silicon["relax-bc8"], good[1]])])
    assert (report.added, report.unchanged, report.problems) == (1, 2, [])
    assert failed(database) == []


@pytest.mark.parametrize("lines", [2, 1])
def test_taking_the_bad_line_out_mends_a_file_too(
    database: Database, silicon: dict[str, Raw], write_jsonl: Write, lines: int
) -> None:
    good = [silicon["isolated-atom"], silicon["relax-diamond"]]
    add_paths(database, [write_jsonl("a.jsonl", [*good, "{broken", "3"])])
    assert len(failed(database)) == 2
    add_paths(database, [write_jsonl("a.jsonl", good[:lines])])
    assert failed(database) == []
    assert len(complete(database)) == 2


def test_a_failure_that_stays_is_one_entry(database: Database, write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", ["{broken"])
    add_paths(database, [path])
    add_paths(database, [path])
    assert len(failed(database)) == 1


def test_mending_one_file_leaves_the_others_failures(database: Database, write_jsonl: Write) -> None:
    paths = [write_jsonl("a.jsonl", ["{broken"]), write_jsonl("b.jsonl", ["{broken"])]
    add_paths(database, paths)
    paths[0].write_text("\n")
    add_paths(database, paths[:1])
    assert [entry["source"]["path"] for entry in failed(database)] == [str(paths[1])]


def test_a_truncated_gzip_gives_what_stands_before(
    database: Database, silicon: dict[str, Raw], write_jsonl: Write, tmp_path: Path
) -> None:
    path = write_jsonl("tasks.jsonl.gz", silicon.values())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    report = add_paths(database, [path])
    assert 10 < report.added < 60
    assert "tasks.jsonl.gz is cut off or damaged" in report.problems[0]
    assert [entry["failure"]["reason"] for entry in failed(database)] == ["truncated"]
    path.write_bytes(whole)
    report = add_paths(database, [path])
    assert report.added + report.unchanged == 70
    assert failed(database) == []


@pytest.mark.parametrize(
    ("name", "data", "reason", "words"),
    [
        ("a.json", b"", "empty_file", "a.json is empty (0 bytes)"),
        ("a.jsonl.gz", b"", "empty_file", "is empty (0 bytes)"),
        ("a.jsonl.gz", b"this is no gzip", "truncated", "is cut off or damaged"),
        ("a.jsonl.gz", gzip.compress(b"x" * 1000, mtime=0)[:20] + b"\xff" * 20, "truncated", "is cut off or damaged"),
        ("a.json", b'{"task_id": "x", "str', "truncated", "no complete JSON"),
        ("a.json", b"\xff\xfe\x00", "no_json", "no complete JSON"),
        ("a.jsonl", b"\x00\x01\x02\n", "no_json", "no complete JSON"),
    ],
)
def test_a_bad_file_among_good_ones(
    database: Database, silicon: dict[str, Raw], tmp_path: Path, name: str, data: bytes, reason: str, words: str
) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / name).write_bytes(data)
    (folder / "z.json").write_text(json.dumps([silicon["isolated-atom"]]))
    (folder / "notes.txt").write_text("not read")
    report = add_paths(database, [folder])
    assert complete(database) == ["isolated-atom"]
    assert [words in problem for problem in report.problems] == [True]
    assert [entry["failure"]["reason"] for entry in failed(database)] == [reason]
    mended = json.dumps(silicon["relax-diamond"]).encode()
    (folder / name).write_bytes(gzip.compress(mended, mtime=0) if name.endswith("gz") else mended)
    report = add_paths(database, [folder])
    assert (report.added, report.problems, failed(database)) == (1, [], [])


def test_a_missing_path_and_an_empty_folder(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    gone, empty, good = tmp_path / "gone.json", tmp_path / "empty", tmp_path / "good.json"
    empty.mkdir()
    good.write_text(json.dumps(silicon["isolated-atom"]))
    report = add_paths(database, [gone, empty, good])
    assert [entry["failure"]["reason"] for entry in failed(database)].count("no_file") == 1
    assert [entry["failure"]["reason"] for entry in failed(database)].count("empty_directory") == 1
    assert "does not exist; name a file or a folder" in report.problems[0]
    assert "holds no task; files that end in" in report.problems[1]
    assert report.added == 1
    for path in (gone, empty / "a.json"):
        path.write_text(json.dumps(silicon["relax-diamond"]))
    add_paths(database, [gone, empty])
    assert failed(database) == []


def test_one_id_with_two_contents(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    first = silicon["relax-diamond"]
    report = add_paths(database, [write_jsonl("a.jsonl", [first, {**first, "energy": -1.0}])])
    (problem,) = report.problems
    assert "the task_id 'relax-diamond' stands already in a.jsonl item 1 with other content" in problem
    assert failed(database)[0]["failure"]["reason"] == "duplicate_id"
    stored = database.collection("tasks").find_one({"task_id": "relax-diamond"})
    assert stored is not None
    assert stored["raw"]["energy"] == first["energy"]


def test_the_same_content_twice(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    record = silicon["relax-diamond"]
    report = add_paths(database, [write_jsonl("a.jsonl", [record, dict(reversed(record.items()))])])
    assert (report.added, report.unchanged, report.problems) == (1, 1, [])


def test_new_content_replaces_the_old(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    record = silicon["relax-diamond"]
    add_paths(database, [write_jsonl("a.jsonl", [record])])
    before = database.revision("tasks")
    report = add_paths(database, [write_jsonl("a.jsonl", [{**record, "energy": -1.0}])])
    assert (report.added, report.updated) == (0, 1)
    assert database.revision("tasks") > before
    (stored,) = database.collection("tasks").find({})
    assert stored["raw"]["energy"] == -1.0
    assert stored["content_hash"] == raw_hash(stored["raw"])


def test_numbers_that_are_none_are_kept_as_written(
    database: Database, silicon: dict[str, Raw], write_jsonl: Write
) -> None:
    record = {**silicon["relax-diamond"], "energy": float("nan"), "wall_time_s": float("inf")}
    assert add_paths(database, [write_jsonl("a.jsonl", [record])]).added == 1
    stored = database.collection("tasks").find_one({})
    assert stored is not None
    assert repr(stored["raw"]["energy"]) == "nan"
    assert add_paths(database, [write_jsonl("a.jsonl", [record])]).unchanged == 1


def test_names_and_texts_in_any_script(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    record = {**silicon["relax-diamond"], "task_id": "ダイヤ-💎", "note": "Ångström", "$set": {"a.b": 1}}
    path = write_jsonl("ケイ素 silicon.jsonl", [record])
    assert add_paths(database, [path]).problems == []
    stored = database.collection("tasks").find_one({"task_id": "ダイヤ-💎"})
    assert stored is not None
    assert stored["raw"] == record


def test_a_file_name_that_is_no_text(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    path.write_text(json.dumps(silicon["relax-diamond"]) + "\n{broken\n")
    report = add_paths(database, [tmp_path])
    assert report.added == 1
    assert len(report.problems) == 1
    path.write_text(json.dumps(silicon["relax-diamond"]) + "\n")
    assert add_paths(database, [tmp_path]).unchanged == 1
    assert failed(database) == []


def test_a_large_task_becomes_a_file(database: Database, silicon: dict[str, Raw], write_jsonl: Write) -> None:
    record = {**silicon["relax-diamond"], "wavefunction": "x" * (15 * 1024 * 1024)}
    path = write_jsonl("a.jsonl", [record])
    assert add_paths(database, [path]).problems == []
    stored = database.collection("tasks").find_one({})
    assert stored is not None
    assert "raw" not in stored
    assert json.loads(Artifacts(database).get(ArtifactRef.model_validate(stored["raw_artifact"]))) == record
    assert add_paths(database, [path]).unchanged == 1
    small = {**record, "wavefunction": "x" * (14 * 1024 * 1024)}
    add_paths(database, [write_jsonl("a.jsonl", [small])])
    stored = database.collection("tasks").find_one({})
    assert stored is not None
    assert stored["raw"] == small


def test_an_interrupted_run_tells_that_something_changed(
    database: Database, silicon: dict[str, Raw], write_jsonl: Write
) -> None:
    with pytest.raises(KeyboardInterrupt):
        add_paths(database, [write_jsonl("a.jsonl", silicon.values())], progress=Stop())
    assert len(complete(database)) == 70
    assert database.revision("tasks") == 1


def test_a_report_counts_what_was_rejected() -> None:
    assert AddReport(problems=["a", "b"]).as_dict()["rejected"] == 2


def test_raw_hash_ignores_order_and_takes_nan() -> None:
    assert raw_hash({"a": 1, "b": float("nan")}) == raw_hash({"b": float("nan"), "a": 1})
    assert raw_hash({"a": 1}) != raw_hash({"a": 1.5})


def test_new_content_from_another_file_is_refused_unless_asked_for(
    database: Database, silicon: dict[str, Raw], write_jsonl: Write
) -> None:
    record = silicon["relax-diamond"]
    first, other = write_jsonl("a.jsonl", [record]), write_jsonl("b.jsonl", [{**record, "energy": -1.0}])
    add_paths(database, [first])
    report = add_paths(database, [other])
    (problem,) = report.problems
    assert f"the task_id 'relax-diamond' came first from {first} item 1 with other content" in problem
    assert "`--replace`" in problem
    assert [entry["failure"]["reason"] for entry in failed(database)] == ["duplicate_id"]
    stored = database.collection("tasks").find_one({"task_id": "relax-diamond"})
    assert stored is not None
    assert stored["raw"] == record
    report = add_paths(database, [other], replace=True)
    assert (report.updated, report.problems, failed(database)) == (1, [], [])
    stored = database.collection("tasks").find_one({"task_id": "relax-diamond"})
    assert stored is not None
    assert (stored["raw"]["energy"], stored["source"]["path"]) == (-1.0, str(other))


def test_files_of_one_name_in_two_folders_are_two(
    database: Database, silicon: dict[str, Raw], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, energy in (("one", -1.0), ("two", -2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks.json").write_text(json.dumps({**silicon["relax-diamond"], "energy": energy}))
    monkeypatch.chdir(tmp_path / "one")
    assert add_paths(database, [Path("tasks.json")]).added == 1
    monkeypatch.chdir(tmp_path / "two")
    assert len(add_paths(database, [Path("tasks.json")]).problems) == 1


def test_what_is_left_alone_is_counted(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(silicon["isolated-atom"]))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.txt").write_text("")
    (tmp_path / "tasks.json.bak").write_text("")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    report = add_paths(database, [tmp_path])
    assert (report.added, report.others, report.as_dict()["other_files"]) == (1, 3, 3)
    (problem,) = report.problems
    assert "gone.jsonl cannot be read (No such file or directory)" in problem
    assert [entry["failure"]["reason"] for entry in failed(database)] == ["no_file"]
    (tmp_path / "nowhere").write_text(json.dumps(silicon["relax-diamond"]))
    report = add_paths(database, [tmp_path])
    assert (report.added, report.others, report.problems, failed(database)) == (1, 4, [], [])
