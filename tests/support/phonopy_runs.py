"""Real phonopy runs, written to files by phonopy itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

#: Supercell of 32 atoms of a face-centred cubic cell of four.
CUBIC = [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


def phonopy_run(
    unitcell: Atoms,
    matrix: Any,
    *,
    calculator: Any = None,
    units: str | None = None,
    distance: float = 0.01,
    primitive: str = "F",
) -> Phonopy:
    """Displacements of phonopy's own choice with the forces of a calculator, in the units of a program."""
    from phonopy.interface.calculator import get_calculator_physical_units

    factors = get_calculator_physical_units(units)
    cell = PhonopyAtoms(
        symbols=unitcell.get_chemical_symbols(),
        cell=unitcell.cell.array / factors.distance_to_A,
        scaled_positions=unitcell.get_scaled_positions(),
    )
    phonopy = Phonopy(cell, matrix, primitive_matrix=primitive, calculator=units, log_level=0)
    phonopy.generate_displacements(distance=distance / factors.distance_to_A)
    forces = []
    for supercell in phonopy.supercells_with_displacements:
        atoms = Atoms(
            supercell.symbols,
            cell=supercell.cell * factors.distance_to_A,
            scaled_positions=supercell.scaled_positions,
            pbc=True,
        )
        atoms.calc = EMT() if calculator is None else calculator
        forces.append(atoms.get_forces() / factors.force_to_eVperA)
    phonopy.forces = np.array(forces)
    return phonopy


def save(phonopy: Phonopy, path: Path, *, force_constants: bool = False, forces: bool = True) -> Path:
    """Write phonopy_params.yaml, with force constants besides or alone."""
    settings = {"force_sets": forces, "displacements": forces, "force_constants": force_constants}
    path.parent.mkdir(parents=True, exist_ok=True)
    if force_constants:
        phonopy.produce_force_constants(show_drift=False)
        phonopy.symmetrize_force_constants(show_drift=False)
    phonopy.save(str(path), settings=settings)
    return path
