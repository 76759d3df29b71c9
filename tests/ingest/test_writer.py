from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection

from mlipdb.errors import IngestError
from mlipdb.ingest.files import Record
from mlipdb.ingest.prepare import Understood, prepare
from mlipdb.ingest.records import content_id
from mlipdb.ingest.writer import AddReport, TaskWriter
from mlipdb.stores import Database

Raw = dict[str, Any]


def test_a_task_that_somebody_adds_in_between(
    database: Database, silicon: dict[str, Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("relax-diamond", "isolated-atom")
    items = [prepare(Record(Path("a.jsonl"), str(number), silicon[name])) for number, name in enumerate(names, 1)]
    TaskWriter(database, "theirs", AddReport(), False).write(items[:1])
    find = Collection.find
    monkeypatch.setattr(Collection, "find", lambda self, *args, **kwargs: find(self, {"task_id": "nobody"}))
    report = AddReport()
    TaskWriter(database, "ours", report, False).write(items)
    monkeypatch.undo()
    assert report.added == 2
    found = list(database.collection("tasks").find({}).sort("task_id", 1))
    assert [(task["task_id"], task["group"]) for task in found] == [
        ("isolated-atom", "ours"),
        ("relax-diamond", "ours"),
    ]
    assert [task["raw"] for task in found] == [silicon["isolated-atom"], silicon["relax-diamond"]]


def test_one_id_twice_in_a_batch(database: Database, silicon: dict[str, Raw]) -> None:
    record = silicon["relax-diamond"]
    report = AddReport()
    writer = TaskWriter(database, None, report, True)
    raws = (record, record, {**record, "energy": -1.0})
    writer.write([prepare(Record(Path("a.jsonl"), str(number), raw)) for number, raw in enumerate(raws, 1)])
    assert (report.added, report.unchanged, len(report.problems)) == (1, 1, 1)
    assert "stands already in a.jsonl item 1 with other content" in report.problems[0]
    assert database.collection("tasks").count_documents({"state": "complete"}) == 1
    assert database.collection("tasks").count_documents({"state": "failed"}) == 1


def test_items_are_told_one_by_one_or_in_groups() -> None:
    report = AddReport(keep=3)
    for number in range(3):
        report.note(Understood(f"item {number}", "flat", "Si2", 2, "bulk", "PBE"))
    assert [(item["place"], item["count"]) for item in report.told()] == [(f"item {n}", 1) for n in range(3)]
    report.note(Understood("item 3", "flat", problem="it is a list"), refused=True)
    assert [(item["place"], item["formula"], item["problem"], item["count"]) for item in report.told()] == [
        (None, "Si2", None, 3),
        (None, None, "not taken", 1),
    ]
    assert len(AddReport(keep=None).told()) == 0


def frame(energy: float, silicon: dict[str, Raw]) -> Raw:
    raw = {key: value for key, value in silicon["relax-diamond"].items() if key != "task_id"} | {"energy": energy}
    return {"task_id": content_id("extxyz", raw), **raw}


def read_again(database: Database, path: Path, raws: list[Raw | IngestError]) -> AddReport:
    """Add the frames of a file, each in a batch of its own."""
    report = AddReport()
    writer = TaskWriter(database, None, report, False)
    for number, raw in enumerate(raws, 1):
        problem = raw if isinstance(raw, IngestError) else None
        writer.take(Record(path, str(number), None if isinstance(raw, IngestError) else raw, problem, format="extxyz"))
    writer.forget(path)
    return report


def labels(database: Database) -> set[float]:
    """Energies of all tasks, some of which may still stand at one place."""
    return {task["raw"]["energy"] for task in database.collection("tasks").find({"state": "complete"})}


def energies(database: Database) -> dict[str, float]:
    """Energy of each item."""
    tasks = database.collection("tasks").find({"state": "complete"})
    return {task["source"]["item"]: task["raw"]["energy"] for task in tasks}


def test_a_corrected_frame_replaces_the_old(database: Database, silicon: dict[str, Raw]) -> None:
    path = Path("a.extxyz")
    a, b, c, x = (frame(float(energy), silicon) for energy in (-1, -2, -3, -9))
    assert read_again(database, path, [a, b, c]).added == 3
    report = read_again(database, path, [a, x, c])
    assert (report.added, report.updated, report.unchanged) == (0, 1, 2)
    assert energies(database) == {"1": -1.0, "2": -9.0, "3": -3.0}
    # A frame in front of the others moves them; none is lost.
    report = read_again(database, path, [b, a, x, c])
    assert (report.added, report.updated, report.unchanged) == (1, 0, 3)
    assert energies(database) == {"1": -2.0, "2": -1.0, "3": -9.0, "4": -3.0}
    # Without the first the others move back, and it is gone.
    read_again(database, path, [a, x, c])
    assert energies(database)["1"] == -1.0
    assert -2.0 not in labels(database)


def test_frames_of_a_damaged_file_stay(database: Database, silicon: dict[str, Raw]) -> None:
    path = Path("a.extxyz")
    a, b, x = (frame(float(energy), silicon) for energy in (-1, -2, -9))
    read_again(database, path, [a, b])
    damage = IngestError("a.extxyz is cut off", reason="truncated")
    read_again(database, path, [x, a, damage])
    assert labels(database) == {-1.0, -2.0, -9.0}
    read_again(database, path, [x, a])
    assert labels(database) == {-1.0, -9.0}


def test_the_same_place_in_another_file_is_another(database: Database, silicon: dict[str, Raw]) -> None:
    read_again(database, Path("a.extxyz"), [frame(-1.0, silicon)])
    read_again(database, Path("b.extxyz"), [frame(-2.0, silicon)])
    assert database.collection("tasks").count_documents({}) == 2
