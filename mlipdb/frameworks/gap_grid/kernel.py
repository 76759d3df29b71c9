"""Dot-product kernels between environments and sparse points.

With descriptors x_i of the environments and x_s of a sparse point, and a kernel of delta = 1, a
sparse point adds to the energy ``sum_i (x_i . x_s)^zeta``.  With
``g_n = zeta (x_i . x_s)^(zeta - 1) (dx_i/dr_n . x_s)`` for each neighbour image n of i (the centre
among them), the force on atom j is ``-sum g_n`` over all n that are images of j, and the virial
``W_lk = -sum_n g_nk r_nl``.  A. P. Bartok and G. Csanyi, Int. J. Quantum Chem. 115, 1051 (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import scipy.sparse

from mlipdb.frameworks.gap_grid.soap import Environments
from mlipdb.physics.frames import FloatArray

__all__ = ["VIRIAL_ROWS", "kernel_matrix", "kernel_rows", "power"]

#: Components (l, k) of the virial, l >= k, in the order of the rows.
VIRIAL_ROWS: Final = ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))


def power(base: FloatArray, exponent: float) -> FloatArray:
    """Raise to a power; small whole exponents by products, which are many times quicker."""
    if exponent == int(exponent) and 0 <= exponent <= 8:
        result = np.ones_like(base) if exponent == 0 else base.copy()
        for _ in range(int(exponent) - 1):
            result *= base
        return result
    raised: FloatArray = np.power(np.maximum(base, 0.0), exponent)
    return raised


def kernel_matrix(x: FloatArray, y: FloatArray, zeta: float) -> FloatArray:
    """Kernel of each descriptor of x, shape (A, D), with each of y, shape (B, D): shape (A, B)."""
    return power(x @ y.T, zeta)


def kernel_rows(
    parts: Sequence[Environments],
    sparse: Sequence[FloatArray],
    zetas: Sequence[float],
    n_atoms: int,
    *,
    chunk_bytes: int = 100_000_000,
) -> FloatArray:
    """Design matrix of one frame at delta = 1.

    Parameters
    ----------
    parts
        The frame's environments, for each term.
    sparse
        Sparse points of each term, shape (M_t, D_t).
    zetas
        Exponent of each term's kernel.
    n_atoms
        N, number of atoms of the frame.
    chunk_bytes
        Largest array besides the result.

    Returns
    -------
    ndarray
        Shape (1 + 3 N + 6, M), M = sum of M_t: energy, forces (atom by atom), virial.
    """
    rows = np.zeros((7 + 3 * n_atoms, sum(map(len, sparse))))
    begin = 0
    for part, points, zeta in zip(parts, sparse, zetas, strict=True):
        if len(part.x):
            _fill(rows[:, begin : begin + len(points)], part, points, zeta, chunk_bytes)
        begin += len(points)
    return rows


def _fill(rows: FloatArray, part: Environments, points: FloatArray, zeta: float, chunk_bytes: int) -> None:
    scatter = _scatter(part, (rows.shape[0] - 7) // 3)
    n_gradients, _, dimensions = part.gradients.shape
    flat = part.gradients.reshape(3 * n_gradients, dimensions)
    chunk = max(16, chunk_bytes // (24 * max(1, n_gradients)))
    for begin in range(0, len(points), chunk):
        some = slice(begin, begin + chunk)
        overlaps = part.x @ points[some].T
        slopes = power(overlaps, zeta - 1)
        rows[0, some] = np.einsum("ij,ij->j", slopes, overlaps)
        slopes *= zeta
        derivatives = flat @ points[some].T
        for i, slope in enumerate(slopes):
            derivatives[3 * part.starts[i] : 3 * part.starts[i + 1]] *= slope
        rows[1:, some] = scatter @ derivatives


def _scatter(part: Environments, n_atoms: int) -> Any:
    """Sparse matrix that gathers gradients, shape (3 N + 6, 3 G), signs included."""
    n = len(part.atoms)
    columns = np.arange(3 * n).reshape(n, 3)
    rows = [(3 * part.atoms[:, None] + np.arange(3)).ravel()]
    entries = [np.full(3 * n, -1.0)]
    where = [columns.ravel()]
    for index, (position, component) in enumerate(VIRIAL_ROWS):
        rows.append(np.full(n, 3 * n_atoms + index))
        where.append(columns[:, component])
        entries.append(-part.positions[:, position])
    shape = (3 * n_atoms + 6, 3 * n)
    return scipy.sparse.csr_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(where))), shape)
