"""Benchmarks of potentials of which only phonopy files are at hand."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from phonopy_runs import CUBIC, phonopy_run, save
from workbench import Workbench

from mlipdb.benchmarks.phonons import PhononBenchmark
from mlipdb.checking import check_database
from mlipdb.client import MlipDB
from mlipdb.derive.phonon_benchmarks import reference_of
from mlipdb.errors import NotFoundError
from mlipdb.ingest.add import add_paths
from mlipdb.ingest.external import ExternalPotential, add_external
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark as Document
from mlipdb.schemas.phonon_protocol import PhononProtocol

Raw = dict[str, Any]
LEVEL = {"code": "VASP", "functional": "PBE"}
BUILDERS = ("materials", "configurations", "phonons", "phonon_benchmarks")
QUICK = "phonons: {mesh_length: 20.0, path_density: 20.0}\nbenchmarks: {phonons: {}}\n"
PROTOCOL = PhononProtocol(mesh_length=20.0, path_density=20.0)
#: What stands for DFT: copper that is a little too wide and too soft.
WIDE = 3.66


class Softer(EMT):
    """EMT with forces a tenth too small."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"] = 0.9 * self.results["forces"]


@pytest.fixture
def reference(bench: Workbench, tmp_path: Path) -> Phonon:
    """A project with the DFT phonons of copper, from a file."""
    bench.settle(QUICK)
    path = save(
        phonopy_run(bulk("Cu", a=WIDE, cubic=True), CUBIC, calculator=Softer()), tmp_path / "dft" / "phonopy.yaml"
    )
    assert add_paths(bench.database, [path], workers=1, level=LEVEL).problems == []
    bench.build("materials", "phonons")
    (document,) = bench.docs("phonons")
    return Phonon.model_validate(document)


def potential(path: Path, name: str = "EMT", **fields: Any) -> ExternalPotential:
    return ExternalPotential(path=path, name=name, framework="emt", hyperparameters={"n_sparse": 200}, **fields)


def written(path: Path, unitcell: Atoms, matrix: Any = CUBIC, **options: Any) -> Path:
    return save(phonopy_run(unitcell, matrix, **options), path / "phonopy_params.yaml")


def same_numbers(one: Raw, other: Raw, tolerance: float) -> None:
    for part in ("rmse", "mae", "bias", "max_abs"):
        assert one[part] == pytest.approx(other[part], abs=tolerance)


def test_the_benchmark_is_that_of_the_calculator(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    """In the reference's own cell the file gives what the potential gives without a relaxation."""
    path = written(tmp_path / "emt", bulk("Cu", a=WIDE, cubic=True))
    references = ["10.1103/PhysRevB.35.7423"]
    report = add_external(bench.database, [potential(path, references=references, license="CC-BY-4.0")])
    assert (report.added, report.problems, report.formats) == (1, [], {"phonopy_potential": 1})
    reports = bench.build(*BUILDERS)
    assert [reports[name].failed for name in BUILDERS] == [0] * 4
    assert reports["phonon_benchmarks"].built == 1
    (document,) = bench.docs("phonon_benchmarks")
    expected = PhononBenchmark().run(EMT(), reference_of(reference), PROTOCOL.model_copy(update={"relax": "none"}))
    assert expected.mesh_errors is not None
    assert expected.path_errors is not None
    assert expected.mesh_errors.rmse > 0.1
    same_numbers(document["mesh"], expected.mesh_errors.model_dump(), 1e-6)
    same_numbers(document["path"], expected.path_errors.model_dump(), 1e-6)
    assert expected.phonons is not None
    assert document["max_frequency"] == pytest.approx(expected.phonons.max_frequency, abs=1e-9)
    assert document["mesh_frequencies"]["qpoints"] == reference.mesh.qpoints if reference.mesh else None
    assert (document["origin"], document["same_displacements"], document["n_sparse"]) == ("phonopy_file", True, 200)
    assert document["protocol"]["relax"] == "external"
    assert document["structure"]["volume_error"] == pytest.approx(0, abs=1e-9)
    assert "fmax_relaxed" not in document["structure"]
    (made,) = bench.docs("potentials")
    assert (made["origin"], made["name"], made["elements"]) == ("external", "EMT", ["Cu"])
    assert (made["references"], made["license"], made.get("files", [])) == (references, "CC-BY-4.0", [])
    assert check_database(bench.database).problems == []


def test_the_cell_of_the_file_is_the_relaxed_one(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    from mlipdb.benchmarks.relaxation import relax

    assert reference.unitcell is not None
    relaxed = relax(reference.unitcell.to_ase(), EMT(), PROTOCOL).atoms
    # Another basis of the same crystal, in another orientation: what a user's file may well have.
    cubic = bulk("Cu", a=float(relaxed.get_volume() * 4) ** (1 / 3), cubic=True)
    cubic.rotate(90, "z", rotate_cell=True)
    add_external(bench.database, [potential(written(tmp_path / "emt", cubic))])
    bench.build(*BUILDERS)
    (document,) = bench.docs("phonon_benchmarks")
    expected = PhononBenchmark().run(EMT(), reference_of(reference), PROTOCOL)
    assert expected.mesh_errors is not None
    assert expected.structure_errors is not None
    same_numbers(document["mesh"], expected.mesh_errors.model_dump(), 1e-5)
    assert document["structure"]["volume_error"] == pytest.approx(expected.structure_errors.volume_error, abs=1e-6)
    assert document["structure"]["volume_error"] < -0.02
    assert Document.model_validate(document).identity()["protocol_id"] == document["protocol_id"]


def test_force_constants_and_other_displacements(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    cell = bulk("Cu", a=WIDE, cubic=True)
    one = written(tmp_path / "one", cell)
    larger = written(tmp_path / "larger", cell, distance=0.02)
    constants = save(
        phonopy_run(cell, CUBIC), tmp_path / "fc" / "phonopy_params.yaml", force_constants=True, forces=False
    )
    add_external(bench.database, [potential(one, "a"), potential(larger, "b"), potential(constants, "c")])
    assert bench.build(*BUILDERS)["phonon_benchmarks"].built == 3
    names = {doc["potential_id"]: doc["name"] for doc in bench.docs("potentials")}
    found = {names[doc["potential_id"]]: doc for doc in bench.docs("phonon_benchmarks")}
    assert {name: doc.get("same_displacements") for name, doc in found.items()} == {"a": True, "b": False, "c": None}
    same_numbers(found["c"]["mesh"], found["a"]["mesh"], 1e-5)
    same_numbers(found["b"]["mesh"], found["a"]["mesh"], 1e-2)


def test_what_does_not_fit_is_not_compared(
    bench: Workbench, reference: Phonon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = bulk("Cu", a=WIDE, cubic=True)
    other = {
        "supercell": written(tmp_path / "s", bulk("Cu", a=WIDE), np.diag([3, 3, 3]), primitive="P"),
        "crystal": written(tmp_path / "c", bulk("Cu", "bcc", a=2.9, cubic=True), np.diag([2, 2, 4]), primitive="I"),
        "element": written(tmp_path / "e", bulk("Al", a=4.0, cubic=True)),
        "strain": written(tmp_path / "v", bulk("Cu", a=1.15 * WIDE, cubic=True)),
    }
    add_external(bench.database, [potential(path, name) for name, path in other.items()])
    add_external(bench.database, [potential(written(tmp_path / "m", cell), "named", material="silver")])
    report = bench.build(*BUILDERS)["phonon_benchmarks"]
    assert (report.built, report.failed) == (0, 0)
    assert bench.docs("phonon_benchmarks") == []
    assert sum("no DFT phonons of the crystal and supercell" in text for text in caplog.messages) == 5


def test_displacements_that_do_not_suffice(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    """Two kinds of atoms, of which only one was displaced."""
    alloy = bulk("NiAl", "cesiumchloride", a=2.9)
    dft = written(tmp_path / "alloy", alloy, calculator=Softer(), primitive="P")
    assert add_paths(bench.database, [dft], workers=1, level=LEVEL).problems == []
    path = written(tmp_path / "emt", alloy, primitive="P")
    before, _, after = path.read_text().partition("displacements:\n")
    second = after.index("- atom:", after.index("- atom:") + 1)
    path.write_text(before + "displacements:\n" + after[second:])
    add_external(bench.database, [potential(path)])
    report = bench.build(*BUILDERS)["phonon_benchmarks"]
    assert (report.built, report.failed) == (0, 1)
    assert "1 displacements of AlNi are missing" in report.failures[0]["message"]
    (document,) = bench.docs("phonon_benchmarks")
    assert (document["state"], document["task_ids"]) == ("failed", external_tasks(bench))


def external_tasks(bench: Workbench) -> list[str]:
    return [task["task_id"] for task in bench.docs("tasks", **{"source.format": "phonopy_potential"})]


def test_builds_again_only_what_changed(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    path = written(tmp_path / "emt", bulk("Cu", a=WIDE, cubic=True))
    add_external(bench.database, [potential(path)])
    bench.build(*BUILDERS)
    add_external(bench.database, [potential(path, references=["10.1/x"])])
    assert bench.docs("potentials")[0]["references"] == ["10.1/x"]
    assert bench.build(*BUILDERS)["phonon_benchmarks"].built == 0
    (task,) = bench.docs("tasks", **{"source.format": "phonopy_potential"})
    bench.database.collection("tasks").delete_one({"task_id": task["task_id"]})
    bench.database.touch("tasks")
    assert bench.build(*BUILDERS)["phonon_benchmarks"].withdrawn == 1


def test_an_external_potential_has_no_calculator(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    path = written(tmp_path / "emt", bulk("Cu", a=WIDE, cubic=True))
    add_external(bench.database, [potential(path, references=["10.1/x"])])
    with pytest.raises(NotFoundError, match=r"\(EMT\) is external: only forces .* ask its makers for them \(10.1/x\)"):
        MlipDB.of(bench.database).calculator(bench.docs("potentials")[0]["potential_id"])


def test_a_folder_of_compressed_files(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for number, factor in enumerate((1.0, 0.99)):
        path = written(folder / f"run-{number}", bulk("Cu", a=factor * WIDE, cubic=True))
        path.with_name("phonopy_params.yaml.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    broken = folder / "run-2" / "phonopy_params.yaml"
    broken.parent.mkdir()
    broken.write_text("unit_cell: 7\n")
    report = add_external(bench.database, [potential(folder)])
    assert (report.added, len(report.problems)) == (2, 1)
    broken.unlink()
    # The failed entry goes with the file that is read without a problem in its place.
    missing = add_external(bench.database, [potential(tmp_path / "nowhere")])
    assert (missing.added, len(missing.problems)) == (0, 1)
    assert "does not exist" in missing.problems[0]


def test_a_corrected_file_replaces_the_old(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    path = written(tmp_path / "emt", bulk("Cu", a=WIDE, cubic=True))
    add_external(bench.database, [potential(path), potential(path, "other")])
    first, second = sorted(external_tasks(bench))
    path.write_text(path.read_text() + "# corrected\n")
    report = add_external(bench.database, [potential(path, item="7")])
    assert (report.added, report.updated, report.problems) == (0, 1, [])
    left = external_tasks(bench)
    assert len(left) == 2, "the task of the other potential stays"
    assert len({first, second} & set(left)) == 1


def test_a_folder_of_ordinary_runs(bench: Workbench, reference: Phonon, tmp_path: Path) -> None:
    path = written(tmp_path / "emt", bulk("Cu", a=WIDE, cubic=True))
    bare = phonopy_run(bulk("Cu", a=WIDE, cubic=True), CUBIC).to_phonopy_yaml(settings={"force_sets": False})
    path.with_name("phonopy_disp.yaml").write_text(str(bare))
    report = add_external(bench.database, [potential(path.parent)])
    assert (report.added, report.problems) == (1, [])
