"""Units and sign conventions, in one place.

Everything inside mlipdb is in eV, Angstrom, eV/Angstrom, eV/Angstrom^3, THz and K.
Stress follows ASE: Voigt order xx yy zz yz xz xy, tension positive.  The virial is
``-volume * stress`` in eV, so that a compressed cell (negative stress) has a positive
virial trace.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "KB_TO_EV_PER_A3",
    "THZ_TO_EV",
    "matrix_to_voigt",
    "stress_from_vasp_kb",
    "stress_to_virial",
    "virial_to_stress",
    "voigt_to_matrix",
]

#: 1 kB (kilobar) in eV/Angstrom^3; CODATA 2018 elementary charge 1.602176634e-19 C.
KB_TO_EV_PER_A3: Final = 1.0 / 1602.176634
#: h * 1 THz in eV; CODATA 2018 Planck constant 4.135667696e-15 eV s.
THZ_TO_EV: Final = 4.135667696e-3


def voigt_to_matrix(voigt: ArrayLike) -> NDArray[np.float64]:
    """Turn a Voigt vector (xx, yy, zz, yz, xz, xy) into a symmetric 3x3 matrix.

    Parameters
    ----------
    voigt
        Shape (6,), any unit.

    Returns
    -------
    ndarray
        Shape (3, 3), symmetric, same unit.
    """
    xx, yy, zz, yz, xz, xy = np.asarray(voigt, dtype=float).reshape(6)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def matrix_to_voigt(matrix: ArrayLike) -> NDArray[np.float64]:
    """Turn a 3x3 matrix into a Voigt vector, averaging over the off-diagonal pairs.

    Parameters
    ----------
    matrix
        Shape (3, 3) or flat (9,), any unit.

    Returns
    -------
    ndarray
        Shape (6,), order xx, yy, zz, yz, xz, xy, same unit.
    """
    m = np.asarray(matrix, dtype=float).reshape(3, 3)
    m = 0.5 * (m + m.T)
    return np.array([m[0, 0], m[1, 1], m[2, 2], m[1, 2], m[0, 2], m[0, 1]])


def stress_to_virial(stress: ArrayLike, volume: float) -> NDArray[np.float64]:
    """Virial -V * stress as a 3x3 matrix.

    Parameters
    ----------
    stress
        Voigt vector, shape (6,), eV/Angstrom^3, tension positive.
    volume
        Cell volume in Angstrom^3.

    Returns
    -------
    ndarray
        Shape (3, 3), eV.
    """
    return -float(volume) * voigt_to_matrix(stress)


def virial_to_stress(virial: ArrayLike, volume: float) -> NDArray[np.float64]:
    """Voigt stress -virial / V, the inverse of `stress_to_virial`.

    Parameters
    ----------
    virial
        Shape (3, 3) or flat (9,), eV.
    volume
        Cell volume in Angstrom^3.

    Returns
    -------
    ndarray
        Shape (6,), eV/Angstrom^3, tension positive.
    """
    return -matrix_to_voigt(virial) / float(volume)


def stress_from_vasp_kb(stress_kb: ArrayLike) -> NDArray[np.float64]:
    """Turn VASP's stress (kB, compression positive, 3x3) into ASE's Voigt stress.

    Parameters
    ----------
    stress_kb
        Shape (3, 3), kB, positive under compression.

    Returns
    -------
    ndarray
        Shape (6,), eV/Angstrom^3, tension positive.
    """
    return -KB_TO_EV_PER_A3 * matrix_to_voigt(stress_kb)
