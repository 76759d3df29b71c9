"""init, add and remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlipdb import embedded
from mlipdb.stores import spec


def test_init_makes_a_project_that_validates_and_is_idempotent(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    try:
        answer = run("init", folder)
        assert answer.code == 0
        assert "made the project" in answer.out
        text = (folder / "mlipdb.yaml").read_text()
        answer = run("init", folder)
        assert "checked the project" in answer.out
        assert (folder / "mlipdb.yaml").read_text() == text
        assert run("--project", folder, "build").out == "nothing to do: everything is up to date\n"
    finally:
        embedded.stop(folder / ".mlipdb")


def test_init_on_a_file(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("init", tmp_path / "file")
    assert (answer.code, answer.err) == (2, f"mlipdb: {tmp_path / 'file'} is a file; name a folder for the project\n")


def test_add_counts_and_is_idempotent(shell: Any, bench: Any) -> None:
    bench.add([])
    shipped = Path(__file__).parents[2] / "mlipdb/data/si_dft/tasks.jsonl.gz"
    answer = shell("add", shipped)
    assert answer.code == 0
    assert answer.out == "tasks: 70 added, 0 updated, 0 there already, 0 not taken (70 flat)\n"
    assert shell("add", shipped, "--json").json == {
        "added": 0,
        "updated": 0,
        "unchanged": 70,
        "rejected": 0,
        "formats": {},
        "problems": [],
        "other_files": 0,
    }


def test_add_of_bad_files_says_why_and_takes_the_rest(shell: Any, bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "empty").mkdir(parents=True)
    (folder / "zero.jsonl").write_bytes(b"")
    (folder / "cut.jsonl").write_text('{"task_id": "x", "ener')
    bench.add(["relax-diamond"])
    (folder / "good.jsonl").write_text(
        (bench.directory / "tasks-1.jsonl").read_text().replace("relax-diamond", "again")
    )
    answer = shell("add", folder, folder / "empty", folder / "nowhere")
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert len([line for line in lines if line.startswith("not taken:")]) == 4
    assert any("zero.jsonl is empty" in line for line in lines)
    assert "1 added" in answer.out
    state = shell("status", "--json").json
    assert state["collections"]["tasks"] == {"complete": 2, "failed": 4}
    assert sorted(f["reason"] for f in state["failures"]) == ["empty_directory", "empty_file", "no_file", "truncated"]


def test_remove_asks_for_yes(shell: Any, bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build("materials", "configurations")
    answer = shell("remove", "relax-diamond")
    assert answer.code == 2
    assert "would remove 1 from tasks; 2 documents were made from them" in answer.out
    assert len(bench.docs("tasks")) == 8
    assert shell("remove", "relax-diamond", "--yes").out == "removed 1 from tasks and 0 files\n"
    assert len(bench.docs("tasks")) == 7
    answer = shell("remove", "configurations", "--yes", "--json")
    assert answer.json["removed"] == 8
    assert bench.docs("configurations") == []


def test_remove_of_something_unknown(shell: Any) -> None:
    answer = shell("remove", "nonsense", "--yes")
    assert answer.code == 2
    assert "nothing is called 'nonsense'" in answer.err


@pytest.mark.parametrize("words", [("remove", "training_sets", "--yes")])
def test_files_go_with_the_last_document_that_names_them(shell: Any, bench: Any, words: tuple[str, ...]) -> None:
    bench.add(bench.diamond)
    bench.build("materials", "configurations", "training_sets")
    assert bench.database.db["artifacts.files"].count_documents({}) == 2
    assert shell(*words).out == "removed 1 from training_sets and 2 files\n"
    assert bench.database.db["artifacts.files"].count_documents({}) == 0
    assert bench.database.db["artifacts.chunks"].count_documents({}) == 0


def test_copy_moves_everything_and_goes_on_where_it_was_cut_off(shell: Any, bench: Any, new_database: Any) -> None:
    bench.add(bench.diamond)
    bench.build("materials", "configurations", "phonons", "training_sets")
    with new_database() as target:
        assert shell("copy", target._address, "--json").json["files"] == 3
        target.collection("phonons").delete_many({})
        answer = shell("copy", target._address)
        assert answer.code == 0
        assert answer.out.startswith("copied 1 documents and 0 files")
        for name in ("tasks", "configurations", "phonons", "training_sets"):
            order = [(spec(name).key, 1)]
            here = list(bench.database.collection(name).find({}, {"_id": 0}).sort(order))
            assert here == list(target.collection(name).find({}, {"_id": 0}).sort(order))
        target.collection("materials").update_one({}, {"$set": {"names": ["carbon"]}})
        answer = shell("copy", target._address)
        assert answer.code == 3
        assert "already with other content" in answer.err


def test_add_replaces_from_another_file_only_when_told(shell: Any, bench: Any, tmp_path: Path) -> None:
    bench.add(["relax-diamond"])
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "new.json").write_text(json.dumps(bench.record("relax-diamond", energy=-1.0)))
    answer = shell("add", folder)
    assert answer.code == 1
    assert "came first from" in answer.err
    answer = shell("add", folder, "--replace")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "tasks: 0 added, 1 updated, 0 there already, 0 not taken (1 flat)",
        "1 other files left alone",
    ]


def test_init_where_no_folder_can_be(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("init", tmp_path / "file" / "p")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "cannot be used (Not a directory)" in answer.err
