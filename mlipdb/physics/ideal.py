"""Recover the ideal crystal behind a supercell with one displaced atom, by symmetry alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlipdb.errors import DataError
from mlipdb.physics.cells import fractional, wrapped
from mlipdb.physics.symmetry import (
    SymmetricPositions,
    count_operations,
    primitive_cell,
    symmetric_positions,
    symmetrise,
)

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["recover_ideal"]

#: Tolerances (Angstrom) at which the symmetry of the displaced supercell is sought.
_TOLERANCES = (0.02, 0.05, 0.1, 0.2, 0.01)
#: An atom further than this (Angstrom) from its predicted site is displaced.
_REST = 1e-3
#: Tolerance of the symmetry of a recovered ideal supercell.
_FINE = 1e-3


def recover_ideal(atoms: Atoms) -> tuple[Atoms, Atoms] | None:
    """Find the ideal supercell and primitive cell behind at most one displaced atom.

    Symmetry operations are sought at a loosened tolerance; each atom is predicted as
    the median of the images of all atoms under them, in which one displaced atom
    hardly weighs.  The displaced atom is the one that is not where its images
    predict it; it is put there, and the result is symmetrised.  Among the tolerances
    the one with the most operations wins.

    Parameters
    ----------
    atoms
        Periodic supercell in which no more than one atom is off its site.

    Returns
    -------
    (ideal_supercell, primitive) or None
        The ideal supercell in the order and frame of ``atoms``, and the primitive
        cell in the same frame; None where more than one atom is displaced or there is
        no symmetry but the identity, which tells nothing.
    """
    best: _Ideal | None = None
    spoilt = False
    tried: set[int] = set()
    for tolerance in _TOLERANCES:
        try:
            predicted = symmetric_positions(atoms, tolerance, reducer=np.median)
            # As many operations are the same operations: nothing new to learn.
            if predicted.n_operations in tried:
                continue
            tried.add(predicted.n_operations)
            found = _put_right(atoms, predicted)
        except DataError:
            continue
        if found.moved > 1:
            spoilt = spoilt or (predicted.n_translations > 1 and found.moved <= len(atoms) / 4)
        elif best is None or (found.operations, -found.moved) > (best.operations, -best.moved):
            best = found
    if best is None or best.operations == 1:
        return None
    try:
        primitive = symmetrise(primitive_cell(best.atoms, _FINE), _FINE)
    except DataError:
        return None
    # A lattice of translations that a few atoms break is a supercell with several displaced atoms.
    return None if spoilt and len(primitive) == len(atoms) else (best.atoms, primitive)


@dataclass(frozen=True, slots=True)
class _Ideal:
    """What one set of operations makes of a supercell: how many atoms it must move, and the result."""

    atoms: Atoms
    moved: int
    operations: int


def _put_right(atoms: Atoms, predicted: SymmetricPositions) -> _Ideal:
    """Put a displaced atom where the images of the others predict it."""
    moves = wrapped(fractional(atoms) - predicted.fractions) @ atoms.cell.array
    moved = np.flatnonzero(np.linalg.norm(moves, axis=1) > _REST)
    ideal = atoms.copy()
    ideal.calc = None
    if len(moved) > 1:
        return _Ideal(ideal, len(moved), 0)
    ideal.positions[moved] -= moves[moved]
    ideal = symmetrise(ideal, _FINE)
    return _Ideal(ideal, len(moved), count_operations(ideal, _FINE))
