"""What a phonopy calculation holds, in mlipdb's units, and how it lies on a reference crystal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.physics.displacement_sets import DisplacementRecord
from mlipdb.physics.supercells import SupercellMatch, ideal_supercell, match_supercell
from mlipdb.physics.symmetry import symmetrise

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["PhonopyData", "deformed_cell", "force_constants_on", "records_on", "relaxed_basis"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PhonopyData:
    """Displacements with forces, or force constants, of one supercell.

    Attributes
    ----------
    unitcell
        Unit cell at rest.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    supercell
        Undisplaced supercell of N atoms, in phonopy's order.
    displacements
        (atom, vector) in the order of ``supercell``, Angstrom; empty where there are only force constants.
    forces
        One for each displacement, shape (n, N, 3), eV/Angstrom.
    force_constants
        Shape (N, N, 3, 3), eV/Angstrom^2, where there are no forces.
    calculator
        phonopy's word for the program.
    born_charges
        Whether Born charges and a dielectric tensor came along; they are not applied.
    """

    unitcell: Atoms
    supercell_matrix: Ints
    supercell: Atoms
    displacements: list[tuple[int, Floats]]
    forces: Floats | None
    force_constants: Floats | None
    calculator: str | None
    born_charges: bool

    @property
    def distance(self) -> float | None:
        """Median length of the displacements, Angstrom."""
        if not self.displacements:
            return None
        return float(np.median([np.linalg.norm(vector) for _, vector in self.displacements]))

    def match(self, reference: Atoms, *, max_strain: float = 0.2) -> SupercellMatch | None:
        """How its supercell arises from a reference crystal, if it does."""
        return match_supercell(self.supercell, reference, max_strain=max_strain)


def records_on(data: PhonopyData, match: SupercellMatch, label: str) -> list[DisplacementRecord]:
    """Displacements and forces in the frame and order of the reference that was matched.

    Parameters
    ----------
    data
        With forces.
    match
        Of its supercell.
    label
        Beginning of the records' labels.
    """
    assert data.forces is not None
    return [
        DisplacementRecord(
            int(match.mapping[atom]), vector @ match.rotation.T, match.to_reference(forces), f"{label}/{number:05d}"
        )
        for number, ((atom, vector), forces) in enumerate(zip(data.displacements, data.forces, strict=True), start=1)
    ]


def force_constants_on(data: PhonopyData, match: SupercellMatch) -> Floats:
    """Force constants in the frame and order of the reference that was matched, shape (N, N, 3, 3)."""
    assert data.force_constants is not None
    result = np.empty_like(data.force_constants)
    turned = np.einsum("ac,ijcd,bd->ijab", match.rotation, data.force_constants, match.rotation)
    result[np.ix_(match.mapping, match.mapping)] = turned
    return result


def deformed_cell(reference: Atoms, match: SupercellMatch, symprec: float) -> Atoms:
    """The unit cell that a supercell is really made of, in the frame, basis and order of the reference.

    Parameters
    ----------
    reference
        Cell that the supercell was matched with.
    match
        How the supercell arises from it.
    symprec
        Tolerance of the symmetry that the cell is given, Angstrom.
    """
    deformed = reference.copy()
    deformed.set_cell(reference.cell.array @ match.deformation, scale_atoms=True)
    sites = match.to_reference(match.ideal_positions + match.displacements)
    return symmetrise(relaxed_basis(deformed, sites, match.supercell_matrix), symprec)


def relaxed_basis(deformed: Atoms, positions: Floats, matrix: Ints) -> Atoms:
    """Move the basis of a cell to the median of where its images sit in a supercell (one atom may be displaced)."""
    ideal = ideal_supercell(deformed, matrix)
    shift = (positions - ideal.positions) @ np.linalg.inv(ideal.cell.array)
    moves = (shift - np.round(shift)) @ ideal.cell.array
    moves -= np.median(moves, axis=0)
    basis = deformed.copy()
    n_images = len(ideal) // len(deformed)
    basis.positions += np.median(moves.reshape(len(deformed), n_images, 3), axis=1)
    return basis
