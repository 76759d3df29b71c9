"""Expected errors ("sigmas") of the targets of a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlipdb.errors import RecipeError
from mlipdb.physics.frames import FloatArray

__all__ = ["atomwise_force_sigmas"]


def atomwise_force_sigmas(forces: ArrayLike, f: float, floor: float) -> FloatArray:
    """Sigma of each atom's force, proportional to the force on that atom.

    ``sigma_i = f * max(|F_i|, floor)`` with ``|F_i|`` the norm of the force on atom i, so that the
    small forces of a displaced supercell, which decide its phonons, are fitted as closely in
    relative terms as the large ones: the atom-wise regularisation of J. George, G. Hautier,
    A. P. Bartok, G. Csanyi and V. L. Deringer, J. Chem. Phys. 153, 044104 (2020).

    Parameters
    ----------
    forces
        Shape (N, 3), eV/Angstrom.
    f
        Dimensionless, above zero; 0.1 in the paper.
    floor
        Force norm below which sigma no longer falls, eV/Angstrom, above zero.

    Returns
    -------
    ndarray
        Shape (N,), eV/Angstrom, all above zero.

    Raises
    ------
    RecipeError
        If f or floor are not finite numbers above zero, or forces are not finite of shape (N, 3).
    """
    for name, value in (("f", f), ("floor", floor)):
        if not (np.isfinite(value) and value > 0):
            raise RecipeError(f"{name} is {value}; it must be a number above zero", reason="bad_sigma")
    array = np.asarray(forces, dtype=float)
    if array.ndim != 2 or array.shape[1] != 3 or not np.all(np.isfinite(array)):
        raise RecipeError(
            f"forces of shape {array.shape} given; they must be finite and of shape (N, 3)",
            reason="bad_forces",
        )
    sigmas: FloatArray = f * np.maximum(np.linalg.norm(array, axis=1), floor)
    return sigmas
