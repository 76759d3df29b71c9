from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from mlipdb.ingest import files
from mlipdb.ingest.files import read_records

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".jsonl", ".jsonl.gz", ".json.bz2", ".jsonl.xz", ".jsonl.zst"])
def test_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    items = [{"a": 1}, {"b": "ä"}]
    text = "\n\n".join(map(json.dumps, items)) if "jsonl" in suffix else json.dumps(items, indent=1)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(COMPRESS.get(path.suffix, bytes)(text.encode()))
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


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to("nowhere")
    (record,) = read_records(tmp_path / "gone.json")
    assert record.problem is not None
    assert record.problem.reason == "no_file"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_large_file_of_zeros_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(1024**3)
    tracemalloc.start()
    (record,) = read_records(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.problem is not None
    assert record.problem.reason == "no_json"
    assert peak < 2_000_000


def test_a_line_without_end_stops_the_reading(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + b"x" * 100_000 + b'\n{"a": 2}\n')
    first, second = read_records(tmp_path / "a.jsonl")
    assert first.raw == {"a": 1}
    assert second.problem is not None
    assert "line 2 is no complete JSON: 65536 bytes without an object" in second.problem.message


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    monkeypatch.setattr(files, "MAX_NO_OBJECTS", 3)
    path.write_text('[{"a": 1}' + ", 0" * 1000 + ', {"a": 2}]')
    found = list(read_records(path))
    assert [record.item for record in found] == ["1", "2", "3", "4", "end"]
    assert found[-1].problem is not None
    assert found[-1].problem.reason == "too_large"
    monkeypatch.setattr(files, "MAX_ITEMS", 2)
    path.write_text("[{}, {}, {}]")
    assert [record.item for record in read_records(path)] == ["1", "2", "end"]


@pytest.mark.parametrize("text", ["[1, 2", "[{}", "[{},]", "[{}] 1", "[", "[{} {}]", "[{},,{}]"])
def test_lists_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    last = list(read_records(path))[-1]
    assert last.item == "0"
    assert last.problem is not None
    assert last.problem.reason in ("truncated", "no_json")


def test_an_empty_list_and_white_space(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(" [ ] \n")
    assert list(read_records(path)) == []
    path.write_text('\n[ {"a": [1]} ,\t{"b": 2}\r\n]\n')
    assert [record.raw for record in read_records(path)] == [{"a": [1]}, {"b": 2}]
