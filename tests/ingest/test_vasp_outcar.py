from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vasp import LICL, Run, need_real

from mlipdb.errors import IngestError
from mlipdb.ingest.vasp_outcar import read_incar, read_kpoints, read_outcar
from mlipdb.ingest.vasprun import read_vasprun


def test_the_step_and_the_inputs(tmp_path: Path) -> None:
    run = Run()
    path = tmp_path / "OUTCAR"
    path.write_text(run.outcar())
    found = read_outcar(path)
    assert (found.energy, found.symbols, found.potcars) == (run.energy, run.symbols, run.potcars)
    assert np.allclose(found.forces, run.forces, atol=1e-6)
    assert np.allclose(found.positions, run.positions, atol=1e-6)
    assert np.allclose(found.stress, run.stress, atol=1e-6)
    assert found.kpoints == {"mesh": [2, 2, 2]}
    assert (found.parameters["ENMAX"], found.parameters["NELM"], found.parameters["GGA"]) == (520.0, 40, "PS")
    assert (found.n_ionic, found.n_electronic) == (1, 9)
    assert found.parameters["LHFCALC"] is False


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        (Run().outcar()[:-60], "truncated"),
        ("General timing and accounting informations for this job:\n", "bad_outcar"),
        (Run().outcar().replace(" POSITION ", " SOMETHING "), "bad_outcar"),
    ],
)
def test_what_is_no_finished_run(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "OUTCAR"
    path.write_text(text)
    with pytest.raises(IngestError) as caught:
        read_outcar(path)
    assert caught.value.reason == reason


def test_the_files_beside_it_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "CONTCAR").write_text("no structure")
    (tmp_path / "OUTCAR").write_text(Run().outcar())
    monkeypatch.chdir(tmp_path)
    assert read_outcar(tmp_path / "OUTCAR").energy == Run().energy


def test_what_the_header_says_of_pressure_charge_and_u(tmp_path: Path) -> None:
    header = (
        "   POMASS =   22.990; ZVAL   =    7.000    mass and valenz\n"
        "   POMASS =   35.453; ZVAL   =    7.000    mass and valenz\n"
        "   PSTRESS=  100.0 pullay stress\n   ZVAL   =   7.00  7.00\n"
        "   NELECT =      13.0000    total number of electrons\n"
        " LDA+U is selected, type is set to LDAUTYPE =  1\n"
        "   angular momentum for each species LDAUL =     2   -1\n"
        "   U (eV)           for each species LDAUU =    4.0  1.0\n"
        "   J (eV)           for each species LDAUJ =    1.0  0.0\n"
    )
    (tmp_path / "OUTCAR").write_text(Run().outcar().replace("   Spin polarized", header + "   Spin polarized"))
    found = read_outcar(tmp_path / "OUTCAR")
    said = found.parameters
    assert (said["PSTRESS"], said["NELECT"], found.neutral_electrons) == (100.0, 13.0, 14.0)
    assert (said["LDAU"], said["LDAUTYPE"], said["LDAUL"].split()) == (True, 1, ["2", "-1"])


def test_an_incar(tmp_path: Path) -> None:
    path = tmp_path / "INCAR"
    path.write_text(
        "encut = 520 # eV\nGGA = Ps ; ISPIN=2 ! spin\nLDAU = .TRUE.\nLDAUU = 3.5 \\\n 0\nEDIFF = 1E-6\n\nrubbish\n"
    )
    assert read_incar(path) == {
        "ENCUT": 520, "GGA": "Ps", "ISPIN": 2, "LDAU": True, "LDAUU": "3.5   0", "EDIFF": 1e-6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mesh\n0\nGamma\n4 4 2\n0 0 0\n", {"mesh": [4, 4, 2]}),
        ("mesh\n 0 \n monkhorst\n4 4 2\n", {"mesh": [4, 4, 2]}),
        ("auto\n0\nAuto\n40\n", {"generation_style": "Automatic", "kpoints": [[40.0]]}),
        ("list\n2\nReciprocal\n0 0 0 1\n0.5 0 0 1\n", {"generation_style": "Reciprocal"}),
        ("vectors\n0\nReciprocal\n0.25 0 0\n0 0.25 0\n", {"generation_style": "Reciprocal"}),
        ("", {}),
        ("a\nb\nc\nd\n", {}),
    ],
)
def test_kpoints(tmp_path: Path, text: str, expected: object) -> None:
    path = tmp_path / "KPOINTS"
    path.write_text(text)
    assert read_kpoints(path) == expected


@need_real
@pytest.mark.parametrize("name", ["rand_static_1", "tight_relax_1", "Cl-statisoatom"])
def test_a_real_outcar_says_what_its_vasprun_says(name: str) -> None:
    outputs = LICL / name / "outputs"
    outcar, vasprun = read_outcar(outputs / "OUTCAR.gz"), read_vasprun(outputs / "vasprun.xml.gz")
    assert (outcar.energy, outcar.symbols, outcar.potcars) == (vasprun.energy, vasprun.symbols, vasprun.potcars)
    assert outcar.neutral_electrons == vasprun.neutral_electrons == vasprun.parameters["NELECT"]
    assert outcar.parameters["NELECT"] == vasprun.parameters["NELECT"]
    assert outcar.parameters["PSTRESS"] == vasprun.parameters["PSTRESS"] == 0.0
    assert (outcar.kpoints, outcar.n_electronic) == (vasprun.kpoints, vasprun.n_electronic)
    assert np.allclose(outcar.forces, vasprun.forces, atol=2e-6)
    assert np.allclose(outcar.stress, vasprun.stress, atol=2e-3)
