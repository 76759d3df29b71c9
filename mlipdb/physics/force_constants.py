"""Phonons from force constants that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import PhononError
from mlipdb.physics.crystals import build_crystal
from mlipdb.physics.displacement_sets import DisplacementSet
from mlipdb.physics.phonons import PhononResult, QPointSource, result_of
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["phonons_from_force_constants"]


def phonons_from_force_constants(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    force_constants: NDArray[np.float64],
    protocol: PhononProtocol,
    *,
    qpoints_from: QPointSource | None = None,
) -> PhononResult:
    """Compute phonons from force constants, such as another program fitted them.

    Parameters
    ----------
    unitcell
        Relaxed unit cell; symmetrised within ``protocol.symprec``.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    force_constants
        Shape (N, N, 3, 3), eV/Angstrom^2, in the order of `ideal_supercell` and the frame of the unit cell.
    protocol
        All other choices; its displacements play no part.
    qpoints_from
        Take primitive cell, mesh and path from another result.

    Returns
    -------
    PhononResult
        With an empty displacement set.

    Raises
    ------
    PhononError
        The force constants do not fit the supercell (reason ``bad_force_constants``).
    DataError
        No symmetry can be found.
    """
    primitive_matrix = None if qpoints_from is None else qpoints_from.primitive_matrix
    crystal = build_crystal(unitcell, supercell_matrix, protocol.symprec, primitive_matrix)
    n_atoms = len(crystal.supercell)
    if force_constants.shape != (n_atoms, n_atoms, 3, 3) or not np.all(np.isfinite(force_constants)):
        raise PhononError(
            f"The force constants of a supercell of {n_atoms} atoms must be finite and of shape "
            f"{(n_atoms, n_atoms, 3, 3)}, not {force_constants.shape}.",
            reason="bad_force_constants",
        )
    ordered = np.empty_like(force_constants)
    ordered[np.ix_(crystal.order, crystal.order)] = force_constants
    phonopy = crystal.phonopy
    # Only the rows of the primitive cell: the others are their translations.
    phonopy.force_constants = np.array(ordered[phonopy.primitive.p2s_map], order="C")
    if protocol.symmetrise_force_constants:
        phonopy.symmetrize_force_constants(show_drift=False)
    return result_of(crystal, DisplacementSet(True, [], [], []), protocol, qpoints_from)
