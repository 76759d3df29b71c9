"""Configurations out into files and back, and into the programs that train on them."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench import Workbench

from mlipdb.errors import NotFoundError, UsageError
from mlipdb.export import FORMATS, Selection, export_configurations, members_of, select
from mlipdb.frameworks.gap import find_gap_fit
from mlipdb.frameworks.gap_command import GAP_FILE, gap_fit_words
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.ingest.add import add_paths
from mlipdb.ingest.exported import exported_fields

NAMES = {"extxyz": "out.extxyz", "ase-db": "out.db", "jsonl": "out.jsonl"}
COMPLETE = {"state": "complete"}
#: What a round trip may change: where it came from, and when.
CHANGING = ("task_ids", "sources", "last_updated", "inputs_hash", "builder_meta", "config_type_from", "matching_hash")


@pytest.fixture
def filled(bench: Any) -> Any:
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", converged=False)])
    bench.build("materials", "configurations", "training_sets")
    return bench


def comparable(bench: Any) -> dict[str, Any]:
    docs = {doc["configuration_id"]: doc for doc in bench.docs("configurations")}
    assert {doc["state"] for doc in docs.values()} == {"complete"}
    for doc in docs.values():
        for name in CHANGING:
            doc.pop(name, None)
    return docs


def close(one: Any, other: Any) -> bool:
    """Equal but for the last bits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == (pytest.approx(other, abs=1e-8) if isinstance(one, float) else other)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_round_trip_loses_nothing(filled: Any, new_database: Any, tmp_path: Path, file_format: str) -> None:
    file = tmp_path / NAMES[file_format]
    report = export_configurations(filled.database, select(filled.database, COMPLETE, ["all"]), file, file_format)
    assert report.configurations == 9
    assert report.by_config_type == {"bulk": 1, "isolated_atom": 1, "rattled": 6, "single_displacement": 1}
    folder = tmp_path / "other"
    folder.mkdir()
    with new_database() as empty:
        other = Workbench(empty, folder, filled.records)
        added = add_paths(empty, [file])
        assert (added.added, added.problems) == (9, [])
        other.build("materials", "configurations")
        before, after = comparable(filled), comparable(other)
        assert before.keys() == after.keys()
        for key, doc in before.items():
            assert close(doc, after[key]), key
        assert [doc["quality"][0]["reason"] for doc in after.values() if doc["quality"]] == ["unconverged"]


def test_what_is_gated_stays_out_and_isolated_atoms_come_along(filled: Any, tmp_path: Path) -> None:
    query = {"$and": [{"config_type": "rattled"}, COMPLETE]}
    selection = select(filled.database, query, [])
    assert selection.left_out == {"unconverged": 1}
    (atom,) = selection.atoms
    assert selection.ids[0] == atom
    assert len(selection.ids) == 6
    assert len(select(filled.database, query, ["unconverged"]).ids) == 7
    report = export_configurations(filled.database, selection, tmp_path / "a.extxyz", "extxyz")
    assert report.left_out == {"unconverged": 1}
    ((label, energies),) = report.isolated_atom_energies.items()
    assert report.levels[label] == 5
    (single,) = filled.docs("configurations", config_type="isolated_atom")
    assert energies == {"Si": single["energy"]}


def test_ase_reads_what_mace_looks_for(filled: Any, tmp_path: Path) -> None:
    from ase.io import read

    file = tmp_path / "train.extxyz.gz"
    export_configurations(filled.database, select(filled.database, COMPLETE, []), file, "extxyz")
    docs = {doc["configuration_id"]: doc for doc in filled.docs("configurations")}
    levels = {doc["level_id"]: doc for doc in filled.docs("levels_of_theory")}
    frames = read(file, index=":", format="extxyz")
    energy = filled.docs("configurations", config_type="isolated_atom")[0]["energy"]
    assert len(frames) == 8
    for atoms in frames:
        doc = docs[atoms.info["configuration_id"]]
        assert atoms.info["REF_energy"] == doc["energy"]
        assert np.array_equal(atoms.arrays["REF_forces"], doc["forces"])
        if doc.get("stress") is not None:
            assert np.array_equal(atoms.info["REF_stress"], doc["stress"])
            assert np.trace(atoms.info["REF_virial"].reshape(3, 3)) == pytest.approx(
                -atoms.cell.volume * sum(doc["stress"][:3])
            )
        assert atoms.info["level_id"] == doc["level_id"]
        assert atoms.info["level_label"] == doc["level_label"]
        assert exported_fields(atoms.info)["code"] == levels[doc["level_id"]]["code"]
        assert atoms.info["task_ids"].split() == doc["task_ids"]
        assert atoms.info["mlipdb_config_type"] == doc["config_type"]
        assert atoms.info.get("material") == doc.get("material_name")
        assert atoms.info["E0s"] == f"Si:{energy!r}"
    assert [atoms.info["config_type"] for atoms in frames].count("IsolatedAtom") == 1
    assert frames[0].info["config_type"] == "IsolatedAtom"


def test_gap_fit_reads_it_unchanged(filled: Any, tmp_path: Path) -> None:
    selection = select(filled.database, {"$and": [{"config_type": "rattled"}, COMPLETE]}, [])
    # The first of the names that ASE would take for a boolean, in the middle of the comment line.
    filled.database.collection("configurations").update_many({"n_atoms": {"$gt": 1}}, {"$set": {"material_name": "F"}})
    report = export_configurations(filled.database, selection, tmp_path / "train.xyz", "extxyz")
    (energies,) = report.isolated_atom_energies.values()
    hyperparameters = GapHyperparameters.model_validate(
        {"soap": {"l_max": 2, "n_max": 2, "cutoff": 3.0, "n_sparse": 5}}
    )
    command = [str(find_gap_fit()), *gap_fit_words(hyperparameters, [14], energies)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-500:]
    assert (tmp_path / GAP_FILE).is_file()
    counts = [int(line.split("found:")[1]) for line in done.stdout.splitlines() if "Number of target" in line]
    n_atoms = sum(doc["n_atoms"] for doc in filled.docs("configurations", config_type="rattled") if not doc["quality"])
    # Energies, local ones, force components of the crystals and of the atom, six virial components a crystal.
    assert counts[:4] == [6, 0, 3 * (n_atoms + 1), 30]


def test_isolated_atoms_are_those_that_training_sets_take(bench: Any, tmp_path: Path) -> None:
    """The nearest cutoff, though another atom within the tolerance lies lower; then the lowest of its spin states."""
    from ase.io import read

    atom = bench.record("isolated-atom")
    low = {"task_id": "low", "ecutwfc_Ry": atom["ecutwfc_Ry"] * 0.97, "energy": atom["energy"] - 0.5}
    bench.add([*bench.diamond, bench.record("isolated-atom", **low)])
    bench.add([bench.record("isolated-atom", task_id="spin", energy=atom["energy"] + 0.3)])
    bench.build("materials", "configurations", "training_sets")
    (training_set,) = bench.docs("training_sets", current=True)
    crystals = {"$and": [{"config_type": "rattled"}, COMPLETE]}
    file = tmp_path / "a.extxyz"
    for selection in (select(bench.database, crystals, []), members_of(bench.database, "full", None)):
        report = export_configurations(bench.database, selection, file, "extxyz", overwrite=True)
        assert list(report.isolated_atom_energies.values()) == [training_set["isolated_atom_energies"]]
        assert sorted(selection.atoms) == sorted(set(training_set["configuration_ids"]) & set(selection.atoms))
        assert len(selection.atoms) == 2
    # All are asked for: all are there, and one is called what MACE takes its E0 from.
    export_configurations(bench.database, select(bench.database, COMPLETE, []), file, "extxyz", overwrite=True)
    frames = [each for each in read(file, index=":") if each.info["mlipdb_config_type"] == "isolated_atom"]
    assert len(frames) == 3
    (named,) = [each for each in frames if each.info["config_type"] == "IsolatedAtom"]
    assert named.info["REF_energy"] == atom["energy"]
    assert training_set["isolated_atom_energies"] == {"Si": atom["energy"]}
    # Without crystals each of them tells its own level's.
    selection = Selection(selection.atoms, selection.atoms)
    export_configurations(bench.database, selection, file, "extxyz", overwrite=True)
    assert {each.info["config_type"] for each in read(file, index=":")} == {"IsolatedAtom"}


@pytest.mark.parametrize("name", ["F", "T", "149", "1 2", "nan"])
def test_names_that_look_like_something_else(bench: Any, new_database: Any, tmp_path: Path, name: str) -> None:
    from ase.io import read

    bench.add(["isolated-atom", bench.record("relax-diamond", allotrope=name, task_id="17")])
    bench.build("materials", "configurations")
    file = tmp_path / "a.extxyz"
    export_configurations(bench.database, select(bench.database, COMPLETE, []), file, "extxyz")
    # A text in single quotes: a bare or plainly quoted one would come back as a boolean or a number.
    assert [atoms.info.get("material") for atoms in read(file, index=":")] == [None, f"'{name}'"]
    assert read(file, index=1).info["task_ids"] == "'17'"
    folder = tmp_path / "other"
    folder.mkdir()
    with new_database() as empty:
        other = Workbench(empty, folder, bench.records)
        assert add_paths(empty, [file]).problems == []
        other.build("materials", "configurations")
        assert [doc["names"] for doc in other.docs("materials")] == [[name]]
        assert comparable(other) == comparable(bench)


def test_members_of_a_training_set(filled: Any, tmp_path: Path) -> None:
    (training_set,) = filled.docs("training_sets")
    sides = {side: members_of(filled.database, "full", side) for side in ("train", "test")}
    assert len(sides["train"].ids) == training_set["train"]["n_configurations"]
    assert sorted([*sides["train"].ids, *sides["test"].ids]) == training_set["configuration_ids"]
    report = export_configurations(filled.database, sides["test"], tmp_path / "test.extxyz", "extxyz")
    assert "isolated_atom" not in report.by_config_type
    assert list(report.isolated_atom_energies.values()) == [training_set["isolated_atom_energies"]]
    assert members_of(filled.database, training_set["training_set_id"], None).ids
    with pytest.raises(NotFoundError, match="there are full"):
        members_of(filled.database, "empty", None)


@pytest.mark.parametrize("file_format", ["extxyz", "jsonl"])
def test_same_configurations_same_bytes(filled: Any, tmp_path: Path, file_format: str) -> None:
    selection = select(filled.database, COMPLETE, [])
    for name in ("a.gz", "b.gz"):
        export_configurations(filled.database, selection, tmp_path / name, file_format)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes())


def test_a_file_is_whole_or_not_there(filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.extxyz"
    selection = select(filled.database, COMPLETE, [])
    with pytest.raises(NotFoundError, match="cfg-gone is not there any more"):
        export_configurations(filled.database, Selection([*selection.ids, "cfg-gone"], []), file, "extxyz")
    assert list(tmp_path.glob("*extxyz")) == []
    file.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export_configurations(filled.database, selection, file, "extxyz")
    assert file.read_text() == "mine"
    export_configurations(filled.database, selection, file, "extxyz", overwrite=True)
    assert file.read_text().startswith("1\n")
    with pytest.raises(UsageError, match="nothing to export"):
        export_configurations(filled.database, Selection([], []), tmp_path / "b", "jsonl")
    with pytest.raises(UsageError, match=r"let its name end in \.db"):
        export_configurations(filled.database, selection, tmp_path / "b", "ase-db")


def test_an_atom_without_a_cell(bench: Any, new_database: Any, tmp_path: Path) -> None:
    structure = {"sites": [{"species": [{"element": "Si", "occu": 1}], "xyz": [0.1, 0.2, 0.3]}]}
    bench.add([bench.record("isolated-atom", structure=structure)])
    bench.build("configurations")
    file = tmp_path / "a.extxyz"
    export_configurations(bench.database, select(bench.database, COMPLETE, []), file, "extxyz")
    assert 'pbc="F F F"' in file.read_text()
    folder = tmp_path / "other"
    folder.mkdir()
    with new_database() as empty:
        other = Workbench(empty, folder, bench.records)
        assert add_paths(empty, [file]).problems == []
        other.build("configurations")
        ids = [[doc["configuration_id"] for doc in each.docs("configurations")] for each in (bench, other)]
    assert ids[0] == ids[1]


def test_json_lines_are_flat_records(filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    export_configurations(filled.database, select(filled.database, COMPLETE, []), file, "jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    docs = {doc["configuration_id"]: doc for doc in filled.docs("configurations")}
    for record in records:
        doc = docs[record["task_id"]]
        assert (record["energy"], record["config_type"]) == (doc["energy"], doc["config_type"])
        assert record["exported_task_ids"] == doc["task_ids"]
