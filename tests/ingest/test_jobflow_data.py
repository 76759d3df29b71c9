from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vasp import Run
from workbench import Workbench

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.add import add_paths
from mlipdb.ingest.interpret import interpret, recognise

Raw = dict[str, Any]


def reference(name: str) -> Raw:
    return {"@class": "list", "@module": "builtins", "blob_uuid": name, "store": "data"}


def part(name: str, data: Any) -> Raw:
    return {"blob_uuid": name, "data": data, "job_uuid": "0f3f0f6e", "job_index": 1}


def split_job() -> tuple[Raw, list[Raw]]:
    """A document whose ionic steps, and the forces in them, are in the additional store."""
    doc = Run().jobflow()
    steps = doc["output"]["calcs_reversed"][0]["output"].pop("ionic_steps")
    steps[-1] = {**steps[-1], "forces": reference("b-2")}
    doc["output"]["calcs_reversed"][0]["output"]["ionic_steps"] = reference("b-1")
    return doc, [part("b-1", steps), part("b-2", Run().forces), part("b-3", {"dos": 1})]


def write(path: Path, documents: list[Raw]) -> Path:
    path.write_text("".join(json.dumps(doc) + "\n" for doc in documents))
    return path


@pytest.mark.parametrize("first", ["a_outputs.jsonl", "z_outputs.jsonl"])
def test_parts_of_the_same_folder_are_put_in_place(bench: Workbench, tmp_path: Path, first: str) -> None:
    doc, parts = split_job()
    folder = tmp_path / "store"
    folder.mkdir()
    write(folder / first, [doc])
    write(folder / "data.jsonl", parts)
    report = add_paths(bench.database, [folder])
    assert (report.added, report.formats, report.problems, report.others) == (1, {"jobflow": 1}, [], 1)
    bench.build("configurations")
    (found,) = bench.docs("configurations")
    assert (found["state"], found["energy"]) == ("complete", Run().energy)
    assert found["forces"] == Run().forces
    assert add_paths(bench.database, [folder]).unchanged == 1


def test_a_document_without_its_parts_is_kept(bench: Workbench, tmp_path: Path) -> None:
    doc, parts = split_job()
    path = write(tmp_path / "store.jsonl", [doc, parts[0]])
    assert add_paths(bench.database, [path]).added == 1
    bench.build("configurations")
    (found,) = bench.docs("configurations")
    assert (found["state"], found["failure"]["reason"]) == ("failed", "blob_missing")
    write(path, [doc, *parts])
    assert add_paths(bench.database, [path]).updated == 1
    bench.build("configurations")
    assert [item["state"] for item in bench.docs("configurations")] == ["complete"]


def test_a_blob_that_holds_itself_is_refused(bench: Workbench, tmp_path: Path) -> None:
    doc, _ = split_job()
    report = add_paths(bench.database, [write(tmp_path / "store.jsonl", [doc, part("b-1", reference("b-1"))])])
    assert report.added == 0
    assert [item["failure"]["reason"] for item in bench.docs("tasks")] == ["blob_nesting"]


def test_a_part_by_itself_is_no_task() -> None:
    raw = part("b-1", [1])
    assert recognise(raw) == ("jobflow_data", "blob-b-1")
    with pytest.raises(ConfigurationError) as caught:
        interpret("blob-b-1", raw, "jobflow_data")
    assert caught.value.reason == "not_a_calculation"
