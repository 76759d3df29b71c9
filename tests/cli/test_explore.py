"""find, show and check."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def filled(bench: Any) -> Any:
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", forces=None)])
    bench.build()
    return bench


def test_find_json_is_a_plain_list(shell: Any, filled: Any) -> None:
    documents = shell(
        "find", "configurations", "--where", "config_type=rattled", "--sort", "-energy_per_atom", "--json"
    ).json
    assert isinstance(documents, list)
    energies = [document["energy_per_atom"] for document in documents]
    assert len(energies) == 5
    assert energies == sorted(energies, reverse=True)
    assert "_id" not in documents[0]
    assert documents[0]["last_updated"].endswith("Z")


def test_find_with_fields_and_limit(shell: Any, filled: Any) -> None:
    documents = shell("find", "phonons", "--fields", "material_name,stability.stable", "--limit", "1", "--json").json
    assert documents == [{"material_name": "diamond", "stability": {"stable": True}}]


def test_find_prints_a_table(shell: Any, filled: Any) -> None:
    answer = shell(
        "find", "configurations", "--where", "n_atoms>=32", "--where", "max_force<1000", "--sort", "max_force"
    )
    assert answer.code == 0
    assert "config_type" in answer.out
    assert answer.out.count("rattled") == 5
    assert answer.out.rstrip().endswith("6 configurations")
    assert "1 failed or withdrawn ones not shown (--all)" in shell("find", "configurations").out
    assert "10 configurations" not in shell("find", "configurations").out


def test_find_with_wrong_names(shell: Any, filled: Any) -> None:
    answer = shell("find", "phonon")
    assert (answer.code, answer.err) == (2, "mlipdb: there is no collection 'phonon'; did you mean phonons?\n")
    answer = shell("find", "phonon_benchmarks", "--sort", "mesh.rmsd")
    assert answer.code == 2
    assert "did you mean mesh.rmse" in answer.err
    assert shell("find", "tasks", "--where", "state is failed").code == 2


def test_show_by_beginning_and_by_name(shell: Any, filled: Any) -> None:
    (phonon,) = filled.docs("phonons")
    whole = shell("show", phonon["phonon_id"][:9], "--json").json
    assert whole["phonon_id"] == phonon["phonon_id"]
    assert whole["mesh"]["frequencies"] == phonon["mesh"]["frequencies"]
    assert "Fd-3m" in shell("show", "diamond").out
    text = shell("show", phonon["phonon_id"]).out
    assert "max_frequency: 15.0" in text
    assert len(text.splitlines()) < 150, "long lists are cut short"


def test_show_tree_goes_down_to_the_tasks(shell: Any, filled: Any) -> None:
    (document,) = filled.docs("training_sets")
    tree = shell("show", document["training_set_id"], "--tree", "--json").json
    assert tree["task_ids"] == sorted(filled.diamond)
    text = shell("show", document["training_set_id"], "--tree").out
    assert "training set full" in text
    assert "... and 4 more configurations (--all shows them)" in text
    assert text.rstrip().endswith("8 DFT tasks behind it")
    assert shell("show", document["training_set_id"], "--tree", "--all").out.count("tasks-1.jsonl") >= 8


def test_show_of_nothing(shell: Any, filled: Any) -> None:
    answer = shell("show", "pot-123456")
    assert (answer.code, answer.err.startswith("mlipdb: nothing is called 'pot-123456'")) == (2, True)


def test_check_finds_nothing_then_every_damage(shell: Any, filled: Any) -> None:
    answer = shell("check")
    assert answer.code == 0
    assert ": 0 problems" in answer.out
    filled.database.collection("configurations").update_one({"config_type": "bulk"}, {"$set": {"energy": -1.0}})
    filled.database.collection("tasks").delete_one({"task_id": "rattled-diamond-01"})
    (training_set,) = filled.docs("training_sets")
    entry = filled.database.db["artifacts.files"].find_one({"metadata.sha256": training_set["train_file"]["sha256"]})
    filled.database.db["artifacts.chunks"].delete_many({"files_id": entry["_id"]})
    report = shell("check", "--json")
    assert report.code == 1
    problems = report.json["problems"]
    assert len(problems) == 3
    assert any("it was changed after it was made" in text for text in problems)
    assert any("rattled-diamond-01 are not in tasks" in text for text in problems)
    assert any("train.extxyz" in text for text in problems)
