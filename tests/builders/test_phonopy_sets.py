"""DFT phonons from phonopy files, against those from the tasks behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phonopy_runs import CUBIC, phonopy_run, save
from workbench import Workbench

from mlipdb.client import MlipDB
from mlipdb.ingest.add import add_paths
from mlipdb.stores import Database

Raw = dict[str, Any]
LEVEL = {
    "code": "Quantum ESPRESSO pw.x",
    "functional": "PBE",
    "cutoff_ev": 18.0 * 13.605693122994,
    "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
}
BUILDERS = ("materials", "configurations", "phonons")
QUICK = "phonons: {mesh_length: 20.0, path_density: 20.0}\n"
TASKS = ("relax-diamond", "phonon-diamond-01", "relax-lonsdaleite", "phonon-lonsdaleite-01", "phonon-lonsdaleite-02")


def frequencies(document: Raw) -> np.ndarray:
    """All frequencies, mesh and path, but the acoustic ones at Gamma, which are the root of rounding."""
    values = [np.ravel(document["mesh"]["frequencies"])]
    values += [np.ravel(segment["frequencies"]) for segment in document["path"]["segments"]]
    found = np.concatenate(values)
    return found[np.abs(found) > 1e-3]


@pytest.fixture
def files(bench: Workbench, tmp_path: Path) -> tuple[list[Raw], Path]:
    """Phonons of two crystals from tasks, and a folder with their files, in a project that is empty again."""
    bench.settle(QUICK)
    bench.add(TASKS)
    reports = bench.build(*BUILDERS)
    assert reports["phonons"].built == 2
    documents = bench.docs("phonons")
    client = MlipDB.of(bench.database)
    for document in documents:
        folder = tmp_path / "files" / document["material_name"]
        folder.mkdir(parents=True)
        (folder / "phonopy_params.yaml").write_bytes(client.file(document["phonopy_file"]))
    for name in ("tasks", "materials", "configurations", "phonons", "levels_of_theory", "build_runs"):
        bench.database.collection(name).delete_many({})
    return documents, tmp_path / "files"


def add(database: Database, path: Path, **level: Any) -> Any:
    return add_paths(database, [path], workers=1, level={**LEVEL, **level})


def test_the_same_phonons_as_from_the_tasks(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    expected, folder = files
    report = add(bench.database, folder)
    assert (report.added, report.problems) == (2, [])
    reports = bench.build(*BUILDERS)
    assert [reports[name].failed for name in BUILDERS] == [0, 0, 0]
    assert reports["configurations"].built == 0
    found = {doc["material_id"]: doc for doc in bench.docs("phonons")}
    assert sorted(found) == sorted(doc["material_id"] for doc in expected)
    for old in expected:
        new = found[old["material_id"]]
        assert (new["state"], new["origin"], new["method"]) == ("complete", "phonopy_file", "finite_displacements")
        assert (new["configuration_ids"], len(new["task_ids"])) == ([], 1)
        assert new["born_charges"] is False
        for field in ("superlattice", "displacement_distance", "n_displacements", "n_expected", "n_atoms_supercell"):
            assert new[field] == old[field]
        assert new["max_frequency"] == pytest.approx(old["max_frequency"], abs=1e-9)
        assert np.abs(frequencies(new) - frequencies(old)).max() < 1e-9
    material = bench.docs("materials")[0]
    assert material["structure_from"] == "reference"
    assert "energy_per_atom" not in material
    # Nothing is made again; the files go, and so do the phonons.
    assert [(report.built, report.withdrawn) for report in bench.build(*BUILDERS).values()] == [(0, 0)] * 3
    bench.database.collection("tasks").delete_many({})
    bench.database.touch("tasks")
    assert bench.build(*BUILDERS)["phonons"].withdrawn == 2


def test_the_mesh_of_k_points_makes_it_the_level_of_the_tasks(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    """A file and tasks of one calculation are one phonon document, which the tasks make where they are complete."""
    expected, folder = files
    add(bench.database, folder / "diamond", kpoints=bench.records["phonon-diamond-01"]["kpoints"])
    bench.build(*BUILDERS)
    (from_file,) = bench.docs("phonons")
    assert from_file["phonon_id"] in {doc["phonon_id"] for doc in expected}
    assert from_file["origin"] == "phonopy_file"
    bench.add(("relax-diamond", "phonon-diamond-01"))
    bench.build(*BUILDERS)
    (from_tasks,) = bench.docs("phonons")
    assert from_tasks["phonon_id"] == from_file["phonon_id"]
    assert (from_tasks["origin"], len(from_tasks["configuration_ids"])) == ("tasks", 1)


def test_a_file_completes_a_set_that_the_tasks_do_not(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    _, folder = files
    add(bench.database, folder / "lonsdaleite", kpoints=bench.records["phonon-lonsdaleite-01"]["kpoints"])
    bench.add(("relax-lonsdaleite", "phonon-lonsdaleite-01"))
    bench.build(*BUILDERS)
    (document,) = bench.docs("phonons")
    assert (document["state"], document["origin"]) == ("complete", "phonopy_file")


def test_force_constants_alone(bench: Workbench, tmp_path: Path) -> None:
    """What a file with force constants only gives is what its forces give."""
    from ase.build import bulk

    bench.settle(QUICK)
    phonopy = phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC)
    save(phonopy, tmp_path / "one" / "phonopy_params.yaml")
    save(phonopy, tmp_path / "two" / "phonopy_params.yaml", force_constants=True, forces=False)
    report = add_paths(bench.database, [tmp_path / "one", tmp_path / "two"], workers=1, level=LEVEL)
    assert report.problems == []
    reports = bench.build(*BUILDERS)
    assert (reports["materials"].built, reports["phonons"].built, reports["phonons"].failed) == (1, 2, 0)
    found = {doc["method"]: doc for doc in bench.docs("phonons")}
    assert sorted(found) == ["finite_displacements", "force_constants"]
    constants = found["force_constants"]
    assert (constants["displacements"], constants["n_displacements"]) == ([], 0)
    assert "displacement_distance" not in constants
    assert constants["max_frequency"] == pytest.approx(found["finite_displacements"]["max_frequency"], abs=1e-6)


def test_without_a_functional(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    _, folder = files
    report = add_paths(bench.database, [folder / "diamond"], workers=1)
    assert report.added == 0
    assert len(report.problems) == 1
    assert "does not say its code and functional" in report.problems[0]


def test_two_files_of_one_set(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    _, folder = files
    add(bench.database, folder / "diamond")
    path = folder / "diamond" / "phonopy_params.yaml"
    path.write_text(path.read_text() + "# the same again\n")
    path.rename(folder / "phonopy-again.yaml")
    add(bench.database, folder / "phonopy-again.yaml")
    report = bench.build(*BUILDERS)["phonons"]
    assert (report.built, report.failed) == (1, 1)
    assert report.failures[0]["reason"] == "duplicate_set"
    assert [doc["state"] for doc in bench.docs("phonons", state="complete")] == ["complete"]


def test_a_set_with_displacements_missing(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    import yaml

    _, folder = files
    path = folder / "lonsdaleite" / "phonopy_params.yaml"
    content = yaml.safe_load(path.read_text())
    del content["displacements"][0], content["force_constants"]
    path.write_text(yaml.safe_dump(content))
    add(bench.database, path)
    bench.build(*BUILDERS)
    (document,) = bench.docs("phonons")
    assert (document["state"], document["n_displacements"], document["n_expected"]) == ("incomplete", 1, 2)
    assert len(document["missing"]) == 1


def test_the_tree_and_the_check(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    from mlipdb.checking import check_database
    from mlipdb.provenance import tree_of

    _, folder = files
    add(bench.database, folder / "diamond")
    bench.build(*BUILDERS)
    assert check_database(bench.database).problems == []
    (document,) = bench.docs("phonons")
    node = tree_of(bench.database, "phonons", document["phonon_id"])
    assert {parent.collection for parent in node.parents} == {"materials", "tasks"}


def test_a_corrected_file_replaces_the_old(bench: Workbench, files: tuple[list[Raw], Path]) -> None:
    _, folder = files
    path = folder / "diamond" / "phonopy_params.yaml"
    add(bench.database, path)
    bench.build(*BUILDERS)
    (old,) = bench.docs("tasks")
    path.write_text(path.read_text() + "# corrected\n")
    report = add(bench.database, path)
    assert (report.added, report.updated, report.problems) == (0, 1, [])
    (new,) = bench.docs("tasks")
    assert new["task_id"] != old["task_id"]
    reports = bench.build(*BUILDERS)
    assert (reports["phonons"].built, reports["phonons"].failed) == (1, 0)
    (document,) = bench.docs("phonons", state="complete")
    assert document["task_ids"] == [new["task_id"]]
