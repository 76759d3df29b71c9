"""Units read in portions, here and in worker processes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from ase.io import write
from ingest_corpus import frames

from mlipdb.ingest import reading
from mlipdb.ingest.add import add_paths
from mlipdb.ingest.reading import Portion, died, portions, read_portion
from mlipdb.ingest.walk import JSON, Unit
from mlipdb.stores import Database

Raw = dict[str, Any]


def tree(folder: Path, silicon: dict[str, Raw]) -> Path:
    """Files of some formats, two of them with one task of two contents, and a damaged one."""
    folder.mkdir()
    for number, (name, record) in enumerate(sorted(silicon.items())):
        (folder / f"{number:02d}-{name}.json").write_text(json.dumps(record))
    (folder / "z.jsonl").write_text(json.dumps({**silicon["relax-diamond"], "energy": -1.0}) + "\n{broken\n")
    write(folder / "frames.extxyz", frames(5), format="extxyz")
    with tarfile.open(folder / "archive.tar.gz", "w:gz") as archive:
        for number, atoms in enumerate(frames(3, 9)):
            text = io.StringIO()
            write(text, atoms, format="extxyz")
            data = text.getvalue().encode()
            member = tarfile.TarInfo(f"run{number}/a.extxyz")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return folder


def contents(database: Database) -> list[Raw]:
    drop = {"_id": 0, "last_updated": 0, "failure.date": 0}
    return list(database.collection("tasks").find({}, drop).sort("task_id", 1))


def test_workers_change_nothing(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", silicon)
    alone = add_paths(database, [folder], keep=None)
    here = contents(database)
    database.collection("tasks").delete_many({})
    together = add_paths(database, [folder], workers=2, keep=None)
    assert together.as_dict() == alone.as_dict()
    assert contents(database) == here
    assert (alone.added, len(alone.problems)) == (70 + 5 + 3, 2)
    assert "stands already in" in alone.problems[0]
    places = [item.place for item in alone.understood]
    assert places[70:73] == [f"archive.tar.gz item run{number}/a.extxyz 1" for number in range(3)]
    task = database.collection("tasks").find_one({"source.item": "run1/a.extxyz 1"})
    assert task is not None
    assert task["source"]["path"] == str(folder / "archive.tar.gz")
    again = add_paths(database, [folder / "archive.tar.gz", folder / "frames.extxyz"], workers=2)
    assert (again.unchanged, again.added, again.problems) == (8, 0, [])


def test_a_mended_archive_loses_its_failures(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"

    def pack(text: str) -> None:
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("a.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))

    pack("{broken")
    (problem,) = add_paths(database, [path]).problems
    assert problem.startswith("a.tar: a.json is no complete JSON")
    pack(json.dumps(silicon["relax-diamond"]))
    assert add_paths(database, [path]).problems == []
    assert database.collection("tasks").count_documents({"state": "failed"}) == 0
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = add_paths(database, [path]).problems
    assert problem.startswith("a.tar: is cut off or damaged")


def test_archives_in_archives_are_left_alone(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", silicon)
    with tarfile.open(tmp_path / "outer.tar", "w") as archive:
        archive.add(folder / "archive.tar.gz", "archive.tar.gz")
        archive.add(folder / "frames.extxyz", "frames.extxyz")
    report = add_paths(database, [tmp_path / "outer.tar"])
    assert (report.added, report.others) == (5, 1)


def test_lines_come_in_portions(tmp_path: Path, silicon: dict[str, Raw], monkeypatch: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n".join(json.dumps(record) for record in silicon.values()))
    monkeypatch.setattr(reading, "PORTION_BYTES", 50_000)
    found = list(portions(Unit(path, JSON)))
    assert len(found) > 5
    items = [item for portion in found for item in read_portion(portion)]
    assert [item.task_id for item in items] == list(silicon)
    assert [item.record.item for item in items] == [str(2 * number + 1) for number in range(70)]


def test_what_a_dead_worker_leaves(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    (portion,) = portions(Unit(path, JSON))
    (item,) = died({"portion": portion, "forget": path}, "")["prepared"]
    assert item.record.problem is not None
    assert item.record.problem.reason == "worker_died"
    assert "a.jsonl item 1: reading it ended the process twice" in item.record.problem.message


def test_whatever_a_reader_raises_is_one_refusal(tmp_path: Path, monkeypatch: Any) -> None:
    class Broken:
        NAME = "broken"

        @staticmethod
        def read(path: Path) -> Any:
            raise ZeroDivisionError("hello\nworld")

    monkeypatch.setattr(reading, "source", lambda name: Broken)
    (item,) = read_portion(Portion(Unit(tmp_path / "x.dat", "broken")))
    assert item.record.problem is not None
    assert item.record.problem.message == "x.dat cannot be read (ZeroDivisionError: hello); is it whole?"
    assert item.understood.format == "broken"


def test_short_lines_are_not_decoded_all_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("0\n" * 50)
    monkeypatch.setattr(reading, "PORTION_LINES", 20)
    assert [len(portion.part) for portion in portions(Unit(path, JSON))] == [20, 20, 10]
