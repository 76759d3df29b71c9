from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from mlipdb.errors import IngestError
from mlipdb.ingest.files import count_others, find_files, read_records


def test_files_below_a_folder_in_order(tmp_path: Path) -> None:
    names = ["b.json", "a.jsonl", "sub/c.json.gz", "sub/d.jsonl.gz", "sub/e.txt", "f.JSON.bak"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)]
    assert found == ["a.jsonl", "b.json", "sub/c.json.gz", "sub/d.jsonl.gz"]


def test_a_named_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "tasks.txt").write_text("{}")
    assert find_files(tmp_path / "tasks.txt") == [tmp_path / "tasks.txt"]


@pytest.mark.parametrize("name", ["gone", "x" * 300])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(IngestError):
        find_files(tmp_path / name)


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".jsonl", ".jsonl.gz"])
def test_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    items = [{"a": 1}, {"b": "ä"}]
    text = "\n\n".join(map(json.dumps, items)) if "jsonl" in suffix else json.dumps(items, indent=1)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    assert [record.raw for record in read_records(path)] == items
    assert all(record.problem is None for record in read_records(path))


def test_items_are_lines_or_positions(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n\nbroken\n{"a": 2}')
    assert [(record.item, record.raw) for record in read_records(tmp_path / "a.jsonl")] == [
        ("2", {"a": 1}),
        ("4", None),
        ("5", {"a": 2}),
    ]
    (tmp_path / "a.json").write_text('[{"a": 1}, 3]')
    assert [(record.item, record.raw) for record in read_records(tmp_path / "a.json")] == [("1", {"a": 1}), ("2", None)]


def test_json_lines_are_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as stream:
        for number in range(2000):
            stream.write(json.dumps({"number": number, "filling": "x" * 10_000}) + "\n")
    tracemalloc.start()
    assert sum(1 for _ in read_records(path)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000, "20 MB of records must not be in memory at once"


def test_what_is_no_file_of_tasks(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "gone.json").symlink_to("nowhere")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    assert [path.name for path in find_files(tmp_path)] == ["a.json", "gone.json"]
    assert count_others(tmp_path) == 3
    assert count_others(tmp_path / "a.json") == 0
    (record,) = read_records(tmp_path / "gone.json")
    assert record.problem is not None
    assert record.problem.reason == "no_file"
