"""Periodic cells: fractional positions, supercells in a fixed order of atoms, distances.

Lattice vectors are rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "fractional",
    "hermite_normal_form",
    "ideal_supercell",
    "nearest_neighbour_distance",
    "same_sites",
    "wrapped",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def fractional(atoms: Atoms) -> Floats:
    """Fractional positions, shape (N, 3), not wrapped into the cell."""
    solution: Floats = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
    return solution


def wrapped(fractions: Floats) -> Floats:
    """Fractional differences moved into [-0.5, 0.5]."""
    result: Floats = fractions - np.rint(fractions)
    return result


def ideal_supercell(unitcell: Atoms, supercell_matrix: NDArray[np.int64]) -> Atoms:
    """Build the supercell ``S @ A`` in mlipdb's order of atoms.

    All images of the first atom of the unit cell come first, then those of the
    second; images are ordered by their lattice translation (in units of the
    supercell, wrapped into it), so the order depends on nothing but the arguments.

    Parameters
    ----------
    unitcell
        n atoms.
    supercell_matrix
        S, shape (3, 3), integers, not singular.

    Returns
    -------
    Atoms
        n |det S| atoms, periodic.

    Raises
    ------
    DataError
        S is singular or not integer (reason ``bad_supercell_matrix``).
    """
    from ase import Atoms

    matrix = _integer_matrix(supercell_matrix)
    translations = _translations(matrix)
    cell = matrix @ unitcell.cell.array
    sites = unitcell.positions[:, None, :] + (translations @ unitcell.cell.array)[None, :, :]
    return Atoms(
        numbers=np.repeat(unitcell.numbers, len(translations)),
        positions=sites.reshape(-1, 3),
        cell=cell,
        pbc=True,
    )


def _integer_matrix(matrix: NDArray[np.int64]) -> Ints:
    values = np.asarray(matrix, dtype=float)
    if values.shape != (3, 3) or np.abs(values - np.rint(values)).max() > 1e-8:
        raise DataError(
            f"A supercell matrix must be 3x3 integers, not {values.tolist()}.", reason="bad_supercell_matrix"
        )
    result: Ints = np.rint(values).astype(np.int64)
    if round(np.linalg.det(result)) == 0:
        raise DataError(f"The supercell matrix {result.tolist()} is singular.", reason="bad_supercell_matrix")
    return result


def _translations(matrix: Ints) -> Ints:
    """Lattice points of the unit cell inside the supercell, shape (|det S|, 3), exact integers."""
    det = round(np.linalg.det(matrix))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ matrix
    axes = [np.arange(low, high + 1) for low, high in zip(corners.min(0), corners.max(0), strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # m S^-1 = m adj(S) / det with integers: inside means 0 <= numerator / det < 1, exactly.
    adjugate = np.rint(np.linalg.inv(matrix) * det).astype(np.int64)
    numerators = (points @ adjugate) * np.sign(det)
    inside = np.all((numerators >= 0) & (numerators < abs(det)), axis=1)
    points, numerators = points[inside], numerators[inside]
    order = np.lexsort(numerators.T[::-1])
    result: Ints = points[order]
    return result


def hermite_normal_form(matrix: NDArray[np.int64]) -> Ints:
    """Reduce an integer matrix to the one that all bases of its superlattice share.

    Row-style and upper triangular, with a positive diagonal and entries above a
    pivot in [0, pivot).  Two supercell matrices make the same superlattice exactly
    when their forms are equal (Cohen, A Course in Computational Algebraic Number
    Theory, 1993, section 2.4).

    Parameters
    ----------
    matrix
        Shape (3, 3), integers, not singular.

    Returns
    -------
    ndarray
        Shape (3, 3), integers.

    Raises
    ------
    DataError
        The matrix is singular or not integer (reason ``bad_supercell_matrix``).
    """
    form = _integer_matrix(matrix).copy()
    for column in range(3):
        # Euclid's algorithm on the rows from the diagonal down leaves one entry.
        while np.count_nonzero(form[column:, column]) > 1 or form[column, column] == 0:
            rows = column + np.flatnonzero(form[column:, column])
            pivot = rows[np.argmin(np.abs(form[rows, column]))]
            form[[column, pivot]] = form[[pivot, column]]
            below = slice(column + 1, None)
            form[below] -= (form[below, column] // form[column, column])[:, None] * form[column]
        if form[column, column] < 0:
            form[column] = -form[column]
        form[:column] -= (form[:column, column] // form[column, column])[:, None] * form[column]
    return form


def same_sites(old: NDArray[np.int64], new: NDArray[np.int64], n_atoms: int) -> Ints:
    """Sites of one `ideal_supercell` in another basis of the same superlattice.

    Parameters
    ----------
    old, new
        Supercell matrices of one superlattice.
    n_atoms
        Atoms of the unit cell.

    Returns
    -------
    ndarray
        Shape (N,): site k of the old supercell is site ``result[k]`` of the new one.

    Raises
    ------
    DataError
        The superlattices differ (reason ``different_superlattice``).
    """
    first, second = _integer_matrix(old), _integer_matrix(new)
    if not np.array_equal(hermite_normal_form(first), hermite_normal_form(second)):
        raise DataError(
            f"The supercell matrices {first.tolist()} and {second.tolist()} make different superlattices.",
            reason="different_superlattice",
        )
    det = round(np.linalg.det(second))
    adjugate = np.rint(np.linalg.inv(second) * det).astype(np.int64)
    # Coordinates in the new supercell, times its determinant, are integers; modulo it they name the site.
    names = (_translations(second) @ adjugate) * np.sign(det) % abs(det)
    index = {tuple(name): k for k, name in enumerate(names.tolist())}
    moved = (_translations(first) @ adjugate) * np.sign(det) % abs(det)
    order = np.array([index[tuple(name)] for name in moved.tolist()], dtype=np.int64)
    blocks = np.arange(n_atoms)[:, None] * abs(det)
    result: Ints = (blocks + order[None, :]).reshape(-1)
    return result


def nearest_neighbour_distance(atoms: Atoms) -> float:
    """Shortest distance between two atoms or images, Angstrom.

    Images up to two cells away are looked at, which covers reduced and moderately skewed cells.
    """
    grid = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = grid @ atoms.cell.array
    positions = atoms.positions
    gaps = wrapped(fractional(atoms)[:, None] - fractional(atoms)[None, :]) @ atoms.cell.array
    distances = np.linalg.norm(gaps.reshape(-1, 1, 3) + shifts[None], axis=-1)
    distances = distances.reshape(len(positions), len(positions), len(shifts))
    own = np.arange(len(positions))
    distances[own, own, len(shifts) // 2] = np.inf
    return float(distances.min())
