from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from ingest_corpus import LEVEL, frames

from mlipdb.ingest import ase_database
from mlipdb.ingest.ase_database import claims, parts, read
from mlipdb.ingest.interpret import interpret


def made(path: Path, count: int = 3) -> Path:
    if path.suffix == ".traj":
        write(path, frames(count))
    else:
        with connect(path) as database:
            for atoms in frames(count):
                database.write(atoms, config_type="rattled", **LEVEL)
    return path


@pytest.mark.parametrize("name", ["a.db", "a.json", "a.traj"])
def test_every_row(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    path.chmod(0o444)
    assert claims(path, None)
    monkeypatch.setattr(ase_database, "PART_ROWS", 2)
    assert list(parts(path)) == ([(0, 0)] if name == "a.json" else [(1, 2), (3, 3)])
    found = list(read(path))
    assert [record.item for record in found] == ["1", "2", "3"]
    for record, atoms in zip(found, frames(3), strict=True):
        assert record.raw is not None
        calculation = interpret(record.raw["task_id"], record.raw, "ase_database")
        assert calculation.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(calculation.forces, atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(calculation.stress, atoms.get_stress(), atol=1e-12)
        np.testing.assert_allclose(calculation.atoms.positions, atoms.positions, atol=1e-12)
        assert calculation.config_type == "rattled"
        assert calculation.level.label == "PBE, VASP, 400 eV"
    # Neither the file nor anything beside it was written.
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_same_frame_in_a_database_and_a_trajectory_is_one_content(tmp_path: Path) -> None:
    raws = [next(iter(read(made(tmp_path / name)))).raw for name in ("a.db", "a.traj")]
    assert raws[0] is not None
    assert raws[1] is not None
    assert raws[0]["task_id"] == raws[1]["task_id"]


def test_ref_keys_of_a_row(tmp_path: Path) -> None:
    atoms = bulk("Si", cubic=True)
    with connect(tmp_path / "a.db") as database:
        database.write(atoms, REF_energy=-3.0, data={"REF_forces": np.ones((8, 3)).tolist()}, **LEVEL)
        database.write(atoms, **LEVEL)
    good, bad = read(tmp_path / "a.db")
    assert good.raw is not None
    assert (good.raw["energy"], good.raw["forces"][0]) == (-3.0, [1.0, 1.0, 1.0])
    assert bad.problem is not None
    assert bad.problem.reason == "no_labels"
    assert bad.problem.message.startswith("a.db item 2: has neither energy nor forces")


def test_a_damaged_row_among_good_ones(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE systems SET positions = x'00' WHERE id = 2")
        connection.execute("UPDATE systems SET numbers = 'hello' WHERE id = 3")
    assert [record.problem and record.problem.reason for record in read(path)] == [None, "unreadable", "unreadable"]


def test_what_is_not_claimed(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    (tmp_path / "text.db").write_text("hello")
    (tmp_path / "tasks.json").write_text('{"1": {"a": 1}}')
    (tmp_path / "a.traj").write_bytes(b"")
    for name in ("other.db", "text.db", "tasks.json", "a.traj"):
        assert not claims(tmp_path / name, None)
    assert not claims(tmp_path, frozenset({"a.db"}))


def test_any_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.db", 4)
    ids = (-(2**63), -7, 0, 2**63 - 1)
    with sqlite3.connect(path) as connection:
        for old, new in zip((1, 2, 3, 4), ids, strict=True):
            connection.execute("UPDATE systems SET id = ? WHERE id = ?", (new, old))
    monkeypatch.setattr(ase_database, "PART_ROWS", 3)
    assert list(parts(path)) == [(ids[0], ids[2]), (ids[3], ids[3])]
    found = list(read(path))
    assert [(record.item, record.problem) for record in found] == [(str(number), None) for number in ids]


def test_a_bad_row_of_a_json_database_costs_no_other(tmp_path: Path) -> None:
    path = made(tmp_path / "a.json", 4)
    content = json.loads(path.read_text())
    del content["2"]["numbers"]
    content["3"] = 7
    path.write_text(json.dumps(content))
    found = [(record.item, record.problem and record.problem.reason) for record in read(path)]
    assert found == [("1", None), ("2", "unreadable"), ("3", "unreadable"), ("4", None)]
