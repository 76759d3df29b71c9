"""Damaged files of every format: nothing crashes, nothing wrong goes in, everything is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_corpus import EMMET, VASP, damaged, evil_tar, good_files

from mlipdb.builders.calculations import calculation_of
from mlipdb.errors import ConfigurationError
from mlipdb.ingest.add import AddReport, add_paths
from mlipdb.ingest.calculation import require_usable
from mlipdb.stores import Database

Raw = dict[str, Any]


def require_right(database: Database, report: AddReport) -> None:
    """Every rejection is an entry of its own, and every task is a sane calculation or says why it is none."""
    tasks = database.collection("tasks")
    assert tasks.count_documents({"state": "failed"}) == len(report.problems)
    assert all(0 < len(problem) < 2000 and "\n" not in problem for problem in report.problems)
    for task in tasks.find({"state": "complete"}, {"task_id": 1}):
        try:
            calculation = calculation_of(database, task["task_id"])
            require_usable(calculation)
        except ConfigurationError:
            continue
        assert calculation.forces is not None
        assert calculation.forces.shape == (len(calculation.atoms), 3)
        assert np.isfinite(calculation.forces).all()
        assert calculation.energy is not None
        assert np.isfinite(calculation.energy)
        assert calculation.level.code
        assert calculation.level.functional


def run(database: Database, tmp_path: Path, records: list[Raw], count: int, seed: int) -> None:
    good = good_files(tmp_path / "good", records)
    whole = add_paths(database, [tmp_path / "good"])
    assert whole.problems == []
    real = ({"vasp_directory"} if VASP.is_dir() else set()) | ({"emmet"} if EMMET.exists() else set())
    assert set(whole.formats) == {"flat", "extxyz", "ase_database", "ase_output"} | real
    database.collection("tasks").delete_many({})
    tree = tmp_path / "damaged"
    paths = list(damaged(good, tree, count, seed))
    report = add_paths(database, [tree], replace=True)
    require_right(database, report)
    known = set(database.collection("tasks").distinct("source.path"))
    silent = [path for path in paths if not {str(path), str(path.parent)} & known]
    # What left no entry is empty of tasks, or has lost what its format is told by: that is counted too.
    assert report.others <= len(silent) + 4 * sum(path.name == "i.tar.gz" for path in paths)
    assert len(silent) < count / 2


def test_damaged_files(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    run(database, tmp_path, [silicon["isolated-atom"], silicon["relax-diamond"]], 150, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_many_damaged_files(database: Database, silicon: dict[str, Raw], tmp_path: Path, seed: int) -> None:
    run(database, tmp_path, [silicon["isolated-atom"], silicon["relax-diamond"]], 1500, 100 + seed)


def test_a_tree_of_tricks(database: Database, silicon: dict[str, Raw], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "task.json").write_text(json.dumps(silicon["relax-diamond"]))
    (tree / "a" / "b" / "loop").symlink_to(tree)
    (tree / "self.json").symlink_to("self.json")
    (tree / "zero.extxyz").write_bytes(b"")
    (tree / "zero.jsonl").write_bytes(b"")
    for name in ("sparse.dat", "sparse.jsonl", "sparse.extxyz", "sparse.json", "sparse.db", "sparse.tar"):
        with (tree / name).open("wb") as stream:
            stream.truncate(1024**3)
    os.mkfifo(tree / "pipe.json")
    evil_tar(tree / "evil.tar", silicon["isolated-atom"])
    report = add_paths(database, [tree])
    # A directory and a link of one name: no link is made, so the member lies in the directory, as good as the other.
    assert (report.added, report.unchanged, report.formats) == (2, 1, {"flat": 2})
    require_right(database, report)
    reasons = sorted(doc["failure"]["reason"] for doc in database.collection("tasks").find({"state": "failed"}))
    expected = ["empty_directory", "empty_file", "empty_file", "no_file", "no_json", "no_json", "bad_extxyz"]
    assert reasons == sorted([*expected, *["unsafe_member"] * 4])
    assert not (tmp_path / "outside.json").exists()
    # dat, db and the pipe of the tree; five links and special files, and nothing else, of the archive
    assert report.others == 3 + 5
    (inside,) = database.collection("tasks").find({"task_id": "isolated-atom"})
    assert inside["source"]["path"] == str(tree / "evil.tar")
    assert inside["source"]["item"] == "dir/through-link.json 1"
