"""Outputs of DFT codes: real ones of Quantum ESPRESSO, GPAW, ABINIT and CP2K, two written by hand."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dft_outputs import AIMS, CASTEP

from mlipdb.errors import IngestError
from mlipdb.ingest.ase_output import claims, read
from mlipdb.ingest.interpret import interpret

Raw = dict[str, Any]
OUTPUTS = Path(__file__).parents[1] / "data" / "outputs"
SILICON = Path(__file__).parents[2].parent / "shared" / "data" / "si-dft"

EXPECTED: dict[str, tuple[float, str]] = {
    "espresso.pwo.gz": (-213.25425396889568, "PBE, Quantum ESPRESSO pw.x, 163 eV, k-mesh >= 9.5 A"),
    "gpaw.txt.gz": (-10.609311, "PBE, GPAW, PAW, 200 eV, k-mesh >= 6.7 A"),
    "abinit.abo.gz": (-208.417414136159, "LDA, ABINIT, 163 eV, k-mesh >= 6.7 A"),
    "cp2k.out.gz": (-30.894997708748157 * 27.211386245988, "PBE, CP2K, 2721 eV"),
}


def only(path: Path) -> Raw:
    assert claims(path, None)
    (record,) = read(path)
    assert record.raw is not None
    return record.raw


@pytest.mark.parametrize("name", EXPECTED)
def test_real_outputs(name: str) -> None:
    raw = only(OUTPUTS / name)
    energy, label = EXPECTED[name]
    calculation = interpret(raw["task_id"], raw, "ase_output")
    assert calculation.energy == pytest.approx(energy, abs=1e-9)
    assert calculation.level.label == label
    assert calculation.level.pseudopotentials.keys() == {"Si"}
    assert calculation.level.spin_polarised is False
    assert calculation.converged
    forces, stress = calculation.forces, calculation.stress
    assert forces is not None
    assert stress is not None
    assert forces.shape == (len(calculation.atoms), 3)
    assert np.abs(forces.sum(axis=0)).max() < 2e-3
    assert stress.shape == (6,)
    # The displaced atom is drawn back.
    assert np.linalg.norm(forces[0]) > 0.1
    assert raw["source_files"][0]["name"] == name


def test_an_input_beside_espresso_says_the_mesh(tmp_path: Path) -> None:
    shutil.copy(OUTPUTS / "espresso.pwo.gz", tmp_path / "run.out.gz")
    assert "kpoints" not in only(tmp_path / "run.out.gz")
    text = (OUTPUTS / "si.in").read_text()
    for name in ("si.in", "run.pwi"):
        (tmp_path / name).write_text(text.replace("3 3 3 0 0 0", "! dense\n  5,4, 3 1 1 1"))
        raw = only(tmp_path / "run.out.gz")
        assert raw["kpoints"] == {"mesh": [5, 4, 3]}
        assert [item["name"] for item in raw["source_files"]] == ["run.out.gz", name]
        (tmp_path / name).unlink()


def test_handwritten_castep(tmp_path: Path) -> None:
    path = tmp_path / "si.castep"
    path.write_text(CASTEP.replace("{warning}", ""))
    raw = only(path)
    calculation = interpret(raw["task_id"], raw, "ase_output")
    assert calculation.energy == -337.89421
    assert calculation.level.label == "PBEsol, CASTEP, 400 eV, k-mesh >= 13.4 A"
    assert calculation.level.pseudopotentials == {"Si": "Si_C19_PBESOL_OTF.usp"}
    assert calculation.stress is not None
    assert calculation.stress[0] == pytest.approx(-3.61 / 160.2176634, rel=1e-6)
    path.write_text(
        CASTEP.replace("{warning}", "*Warning* max. SCF cycles performed but system has not reached the groundstate.")
    )
    assert only(path)["converged"] is False


def test_handwritten_aims(tmp_path: Path) -> None:
    path = tmp_path / "aims.out"
    path.write_text(AIMS)
    raw = only(path)
    calculation = interpret(raw["task_id"], raw, "ase_output")
    assert calculation.energy == -15782.89
    assert calculation.level.label == "PBEsol, FHI-aims, all-electron, k-mesh >= 19 A"
    assert calculation.forces is not None
    assert calculation.forces[1, 2] == 0.41
    assert calculation.stress is None


def test_a_moved_output_keeps_its_id(tmp_path: Path) -> None:
    plain = tmp_path / "elsewhere" / "other.name"
    plain.parent.mkdir()
    plain.write_bytes(gzip.decompress((OUTPUTS / "gpaw.txt.gz").read_bytes()))
    assert only(plain)["task_id"] == only(OUTPUTS / "gpaw.txt.gz")["task_id"]


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("part", [0.45, 0.6])
def test_an_output_that_is_cut_off(tmp_path: Path, name: str, part: float) -> None:
    text = gzip.decompress((OUTPUTS / name).read_bytes())
    path = tmp_path / "cut.out"
    path.write_bytes(text[: int(part * len(text))])
    assert claims(path, None)
    found, problem = outcome(path)
    if problem is not None:
        assert problem.reason in ("truncated", "no_labels")
        assert str(problem).startswith("cut.out: ")
    else:  # the last step was whole
        assert found is not None
        assert found.get("forces") is None or len(found["forces"]) == len(found["structure"]["sites"])


def outcome(path: Path) -> tuple[Raw | None, IngestError | None]:
    try:
        return only(path), None
    except IngestError as error:
        return None, error


def test_an_unconverged_cp2k_is_told(tmp_path: Path) -> None:
    text = gzip.decompress((OUTPUTS / "cp2k.out.gz").read_bytes()).decode()
    path = tmp_path / "si.out"
    path.write_text(
        text.replace(
            "*** SCF run converged in    53 steps ***", "*** WARNING in qs_scf.F:601 :: SCF run NOT converged ***"
        )
    )
    assert only(path)["converged"] is False
    path.write_text(text.replace(" CELL| Vector b [angstrom]:       0.000", " CELL| Vector b [angstrom]:       1.000"))
    with pytest.raises(IngestError, match="too coarse for phonons"):
        list(read(path))


def test_other_files_are_not_claimed(tmp_path: Path) -> None:
    for name, text in (("a.out", "hello\n"), ("b.txt", ""), ("c.py", "# Program PWSCF v.6\n")):
        (tmp_path / name).write_text(text)
        assert not claims(tmp_path / name, None)
    assert not claims(tmp_path, frozenset({"a.out"}))


def test_the_silicon_outputs_are_the_shipped_tasks() -> None:
    """Energies, forces, stresses and meshes of the outputs that the shipped data were made from."""
    if not (SILICON / "raw").is_dir():
        pytest.skip(f"{SILICON} is not there")
    with gzip.open(SILICON / "tasks.jsonl.gz", "rt") as stream:
        tasks = {task["task_id"]: task for task in map(json.loads, stream)}
    names = ["relax-diamond", "phonon-4h-00", "phonon-clathrate-II-01", "rattled-bc8-00", "isolated-atom"]
    seen = 0
    for name in names:
        path = SILICON / "raw" / f"{name}.pwo.gz"
        if not path.exists():
            continue
        raw, task = only(path), tasks[name]
        assert raw["energy"] == task["energy"]
        assert raw["forces"] == task["forces"]
        assert raw["kpoints"]["mesh"] == task["kpoints"]["mesh"]
        levels = [interpret("x", item, kind).level for item, kind in ((raw, "ase_output"), (task, "flat"))]
        assert levels[0].level_id == levels[1].level_id
        seen += 1
    assert seen >= 4
