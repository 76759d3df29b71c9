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
    lines = answer.out.splitlines()
    assert lines[-1] == "tasks: 70 added, 0 updated, 0 there already, 0 not taken (70 flat)"
    level = "PBE, Quantum ESPRESSO pw.x, 245 eV, k-mesh >= 19 A"
    assert f"17 items: flat, Si32, 32 atoms, rattled, {level}" in lines
    assert len(lines) == 21
    each = shell("add", shipped, "--each").out.splitlines()
    assert len(each) == 71
    assert each[0] == (
        "tasks.jsonl.gz item 1: flat, Si, 1 atom, isolated_atom, PBE, Quantum ESPRESSO pw.x, 245 eV, spin-polarised"
    )
    found = shell("add", shipped, "--json").json
    assert sum(item["count"] for item in found.pop("understood")) == 70
    assert found == {
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


FRAME = """2
Properties=species:S:1:pos:R:3:forces:R:3 Lattice="0 2.7 2.7 2.7 0 2.7 2.7 2.7 0" energy=-10.0
Si 0 0 0 0.1 0 0
Si 1.35 1.35 1.35 -0.1 0 0
"""


def test_add_with_a_level_of_theory(shell: Any, bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(FRAME + FRAME.replace("-10.0", "-10.5"))
    answer = shell("add", path)
    assert answer.code == 1
    assert "give the level of theory, such as `mlipdb add PATH --level" in answer.err
    answer = shell("add", path, "--level", "code=VASP,functional=PBE,cutoff_ev=500,k_spacing=0.2")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "frames.xyz item 1: extxyz, Si2, 2 atoms, kind by geometry, PBE, VASP, 500 eV, KSPACING 0.2",
        "frames.xyz item 2: extxyz, Si2, 2 atoms, kind by geometry, PBE, VASP, 500 eV, KSPACING 0.2",
        "tasks: 2 added, 0 updated, 0 there already, 0 not taken (2 extxyz)",
    ]
    (tmp_path / "level.yaml").write_text("code: VASP\nfunctional: PBE\n")
    found = shell("add", path, "--level-file", tmp_path / "level.yaml", "--level", "functional=PBEsol", "--json").json
    assert (found["updated"], found["rejected"]) == (2, 0)
    assert found["understood"][0] == {
        "place": "frames.xyz item 1",
        "format": "extxyz",
        "formula": "Si2",
        "n_atoms": 2,
        "kind": None,
        "level": "PBEsol, VASP",
        "problem": None,
        "count": 1,
    }
    answer = shell("add", path, "--level", "encut=500")
    assert (answer.code, "there is no field 'encut'" in answer.err) == (2, True)
    path.write_text(FRAME.replace(":forces:R:3", ":velo:R:3"))
    answer = shell("add", path, "--level", "code=VASP,functional=PBE")
    assert "no configuration as it is: it has no forces" in answer.out


def test_add_of_many_bad_items_tells_the_first(shell: Any, bench: Any, tmp_path: Path) -> None:
    bench.add([])
    (tmp_path / "bad.jsonl").write_text("3\n" * 60)
    lines = shell("add", tmp_path / "bad.jsonl").err.splitlines()
    told = [line for line in lines if line.startswith("not taken: ")]
    assert len(told) == 41
    assert told[-1] == "not taken: 20 more; `mlipdb find tasks --all --where state=failed` shows them"
    told = shell("add", tmp_path / "bad.jsonl", "--each").err.splitlines()
    assert len([line for line in told if line.startswith("not taken: ")]) == 60


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
        "new.json item 1: flat, Si8, 8 atoms, bulk, PBE, Quantum ESPRESSO pw.x, 245 eV, k-mesh >= 19 A",
        "tasks: 0 added, 1 updated, 0 there already, 0 not taken (1 flat)",
        "1 other files left alone",
    ]


def test_init_where_no_folder_can_be(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("init", tmp_path / "file" / "p")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "cannot be used (Not a directory)" in answer.err
