"""One crystal and its supercell in phonopy, with the symmetry operations that displacements need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import PhononError
from mlipdb.physics.cells import fractional, ideal_supercell, wrapped
from mlipdb.physics.symmetry import primitive_cell, symmetrise

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Crystal", "build_crystal", "to_ase", "to_phonopy"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Crystal:
    """A crystal set up for finite displacements.

    Attributes
    ----------
    phonopy
        The `phonopy.Phonopy` object.
    unitcell
        Symmetrised unit cell.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    primitive_matrix
        P with rows, ``A_primitive = P @ A_unit``.
    supercell
        `ideal_supercell` of the two, N atoms.
    order
        Shape (N,): phonopy's index of each atom of ``supercell``.
    rotations
        Cartesian rotations of the supercell's space group, shape (n, 3, 3), acting on columns.
    permutations
        Shape (n, N), in phonopy's order: operation k carries atom i onto ``permutations[k, i]``.
    """

    phonopy: Any
    unitcell: Atoms
    supercell_matrix: Ints
    primitive_matrix: Floats
    supercell: Atoms
    order: Ints
    rotations: Floats
    permutations: Ints

    def representative(self, atom: int) -> int:
        """Lowest atom (phonopy's order) equivalent to ``atom`` (phonopy's order)."""
        return int(self.permutations[:, atom].min())

    def operation(self, atom: int, target: int) -> int:
        """First operation that carries one atom onto another (phonopy's order)."""
        return int(np.flatnonzero(self.permutations[:, atom] == target)[0])

    def site_rotations(self, atom: int) -> Floats:
        """Cartesian point-group operations that keep an atom (phonopy's order), shape (m, 3, 3)."""
        result: Floats = self.rotations[self.permutations[:, atom] == atom]
        return result


def to_phonopy(atoms: Atoms) -> Any:
    """Turn Atoms into PhonopyAtoms, masses included."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=fractional(atoms),
        masses=atoms.get_masses(),
    )


def to_ase(cell: Any) -> Atoms:
    """Turn PhonopyAtoms into Atoms."""
    from ase import Atoms

    return Atoms(
        symbols=cell.symbols,
        cell=cell.cell,
        scaled_positions=cell.scaled_positions,
        masses=cell.masses,
        pbc=True,
    )


def build_crystal(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    symprec: float,
    primitive_matrix: NDArray[np.float64] | None = None,
) -> Crystal:
    """Symmetrise a unit cell and set up phonopy for its supercell.

    The primitive cell is the one spglib finds, in the orientation of the unit cell,
    unless ``primitive_matrix`` fixes it.

    Parameters
    ----------
    unitcell
        Relaxed unit cell; it is symmetrised within ``symprec`` first, since noise of
        1e-5 Angstrom already hides symmetry and multiplies displacements.
    supercell_matrix
        S with rows, shape (3, 3).
    symprec
        Angstrom.
    primitive_matrix
        P with rows, shape (3, 3).

    Returns
    -------
    Crystal

    Raises
    ------
    DataError
        No symmetry can be found, or S is not a supercell matrix.
    PhononError
        The primitive matrix does not fit the crystal (reason ``bad_primitive_matrix``).
    """
    from phonopy import Phonopy

    cell = symmetrise(unitcell, symprec)
    supercell = ideal_supercell(cell, supercell_matrix)
    matrix = np.rint(np.asarray(supercell_matrix, dtype=float)).astype(np.int64)
    primitive = _primitive_matrix(cell, symprec) if primitive_matrix is None else np.array(primitive_matrix)
    # After symmetrising the symmetry is exact; phonopy's own tolerance can be tight.
    try:
        phonopy = Phonopy(
            to_phonopy(cell),
            supercell_matrix=matrix.T,
            primitive_matrix=primitive.T,
            symprec=min(symprec, 1e-5),
            log_level=0,
        )
    except (RuntimeError, ValueError) as error:
        raise PhononError(
            f"phonopy cannot use the primitive matrix {primitive.tolist()} for {cell.get_chemical_formula()}: {error}.",
            reason="bad_primitive_matrix",
        ) from error
    operations = phonopy.symmetry.symmetry_operations
    lattice = phonopy.supercell.cell.T
    rotations = lattice @ operations["rotations"] @ np.linalg.inv(lattice)
    return Crystal(
        phonopy=phonopy,
        unitcell=cell,
        supercell_matrix=matrix,
        primitive_matrix=primitive,
        supercell=supercell,
        order=_order(supercell, phonopy.supercell),
        rotations=rotations,
        permutations=np.array(phonopy.symmetry.atomic_permutations, dtype=np.int64),
    )


def _primitive_matrix(cell: Atoms, symprec: float) -> Floats:
    """P with ``A_primitive = P @ A_unit``; its inverse holds integers, which removes rounding."""
    primitive = primitive_cell(cell, symprec)
    inverse = np.linalg.solve(primitive.cell.array.T, cell.cell.array.T).T
    result: Floats = np.linalg.inv(np.rint(inverse))
    return result


def _order(supercell: Atoms, theirs: Any) -> Ints:
    """Phonopy's index of every atom of our supercell, found by position."""
    gaps = wrapped(fractional(supercell)[:, None, :] - np.asarray(theirs.scaled_positions)[None, :, :])
    distances = np.linalg.norm(gaps @ supercell.cell.array, axis=-1)
    result: Ints = np.argmin(distances, axis=1)
    return result
