from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def filled(bench: Any) -> Any:
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", converged=False)])
    bench.build("materials", "configurations", "training_sets")
    return bench


def test_export_says_what_it_wrote(shell: Any, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.extxyz"
    answer = shell("export", "--output", file, "--where", "config_type=rattled")
    assert answer.code == 0
    assert f"6 configurations in {file} (1 isolated_atom, 5 rattled)" in answer.out
    assert "Si -102.5" in answer.out
    assert "left out for their quality: 1 unconverged" in answer.out
    again = shell("export", "--output", file)
    assert (again.code, "is there already" in again.err) == (2, True)


def test_export_for_programs(shell: Any, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl.gz"
    report = shell("export", "-o", file, "--format", "jsonl", "--allow", "unconverged", "--json").json
    assert (report["configurations"], report["left_out"]) == (9, {})
    words = ("--format", "ase-db", "--training-set", "full", "--split", "train", "--json")
    report = shell("export", "-o", tmp_path / "t.db", *words).json
    assert report["by_config_type"]["isolated_atom"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "test"], "--split needs --training-set"),
        (["--allow", "luck"], "there is no such reason; use all, unconverged"),
        (["--training-set", "none"], "there are full"),
        (["--training-set", "full", "--where", "n_atoms=2"], "leave --where and --allow out"),
        (["--where", "colour=red"], "have no field"),
        (["--where", "n_atoms=3"], "nothing to export"),
    ],
)
def test_wrong_words(shell: Any, filled: Any, tmp_path: Path, words: list[str], said: str) -> None:
    answer = shell("export", "-o", tmp_path / "a.extxyz", *words)
    assert answer.code == 2
    assert said in answer.err
    assert not (tmp_path / "a.extxyz").exists()


def test_a_folder_that_is_not_there(shell: Any, filled: Any, tmp_path: Path) -> None:
    answer = shell("export", "-o", tmp_path / "no" / "a.extxyz")
    assert answer.code == 2
    assert "cannot be used" in answer.err


def test_what_is_held_back_is_found_and_told(shell: Any, filled: Any) -> None:
    found = shell("find", "configurations", "--where", "quality.reason=unconverged", "--json").json
    assert [doc["task_ids"] for doc in found] == [["rattled-diamond-05"]]
    state = shell("status", "--json").json
    assert (state["quality"], state["left_out"]) == ({"unconverged": 1}, {"full": {"unconverged": 1}})
    text = shell("status").out
    assert "held back: 1 configurations unconverged" in text
    assert "left out of the training set full: 1 unconverged" in text


def test_near_duplicates_are_warnings(shell: Any, bench: Any, tmp_path: Path) -> None:
    record = bench.record("rattled-diamond-00", task_id="again")
    record["energy"] += 0.5
    bench.add(["rattled-diamond-00", record])
    bench.build("configurations")
    answer = shell("check")
    assert answer.code == 0
    assert answer.err.count("warning: configurations cfg-") == 1
    assert "their energies differ by 15.6 meV/atom" in answer.err
    assert "0 problems, 1 warnings" in answer.out
    (pair,) = json.loads(shell("check", "--json").out)["near_duplicates"]
    assert pair["energy_difference"] == pytest.approx(0.5 / 32)
