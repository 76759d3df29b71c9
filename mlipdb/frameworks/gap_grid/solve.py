"""Weights of one grid point from the shared sums.

In the whitened basis u = L^T c delta the weights minimise
``sum_g |y_g - delta B_g u|^2 / sigma_g^2 + u^T R u``, ``R = 1 + (j' - j) L^-1 L^-T``, where j is the
jitter of L and j' that of the point, both relative to delta^2: so every point keeps the absolute
jitter that `gap_fit` adds, whatever its delta.  All of it holds for any beginning of the sparse
points, since the factors are triangular.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import lapack

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.assembly import Basis, GroupSum
from mlipdb.frameworks.gap_grid.kernel import kernel_matrix
from mlipdb.physics.frames import FloatArray

__all__ = ["PointSystem", "Solution", "Solver"]

_PANEL: Final = 512


@dataclass(frozen=True)
class PointSystem:
    """What a point asks of the sums.

    Parameters
    ----------
    tiers
        Sparse points of each term, at most those of the basis.
    deltas
        Of each term, eV.
    sigmas
        Of each group that is part of the point's data, by the group's place among the sums.
    jitter
        Added to the kernel matrices, eV^2.
    """

    tiers: Sequence[int]
    deltas: Sequence[float]
    sigmas: Mapping[int, float]
    jitter: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights of a point and what they tell.

    Parameters
    ----------
    weights
        Of each term's sparse points, shape (m_t,), 1/eV: predictions are delta^2 k(x) . weights.
    jitter
        That each term got, eV^2; larger than asked for where the kernel matrix was singular.
    log_likelihood
        Logarithm of the marginal likelihood of the targets.
    condition_number
        Of the matrix that was solved, whitened; an estimate in the 1-norm.
    kernel_condition_number
        The largest of the terms' kernel matrices with jitter; an estimate in the 1-norm.
    n_targets
        Number of rows.
    """

    weights: list[FloatArray]
    jitter: list[float]
    log_likelihood: float
    condition_number: float
    kernel_condition_number: float
    n_targets: int


class Solver:
    """Solves points from sums.

    Parameters
    ----------
    basis
        The sparse points.
    sums
        The groups' sums; may lie in mapped files.
    """

    def __init__(self, basis: Basis, sums: Sequence[GroupSum]) -> None:
        self._basis = basis
        self._sums = sums
        self._ridges: dict[int, FloatArray] = {}
        self._log_kernels: dict[tuple[int, float], FloatArray] = {}
        self._conditions: dict[tuple[int, int], float] = {}

    def rows(self, place: int) -> int:
        """Number of rows of a group."""
        return self._sums[place].rows

    def solve(self, point: PointSystem) -> Solution:
        """Solve a point.

        Raises
        ------
        FitError
            If its matrix is not positive definite, or weights are not finite.
        """
        parts = self._basis.slices
        pairs = list(zip(parts, point.tiers, strict=True))
        columns = np.concatenate([np.arange(part.start, part.start + tier) for part, tier in pairs])
        deltas = np.repeat(np.asarray(point.deltas, dtype=float), point.tiers)
        extra = [max(0.0, point.jitter / delta**2 - self._basis.jitter) for delta in point.deltas]
        matrix = np.zeros((len(columns), len(columns)), order="F")
        right = np.zeros(len(columns))
        for place, sigma in point.sigmas.items():
            _add_sum(matrix, self._sums[place], columns, sigma)
            right += self._sums[place].projection[columns] / sigma**2
        _scale(matrix, deltas)
        right *= deltas
        self._add_prior(matrix, point.tiers, extra)
        anorm = _one_norm(matrix)
        factor, info = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
        if info:
            raise FitError(
                f"the equations of {len(columns)} sparse points cannot be solved: not positive definite; take fewer "
                "sparse points, or a larger sparse_jitter",
                reason="singular_kernel",
            )
        u, _ = lapack.dpotrs(factor, right, lower=1)
        reciprocal, _ = lapack.dpocon(factor, anorm, uplo="L")
        weights = self._weights(u, point)
        log_determinant = 2 * math.fsum(np.log(np.diag(factor)))
        return Solution(
            weights=weights,
            jitter=[(self._basis.jitter + more) * delta**2 for more, delta in zip(extra, point.deltas, strict=True)],
            log_likelihood=self._log_likelihood(point, float(right @ u), log_determinant, extra),
            condition_number=1.0 / max(float(reciprocal), 1e-300),
            kernel_condition_number=max(self._condition(t, tier) for t, tier in enumerate(point.tiers)),
            n_targets=sum(self._sums[place].rows for place in point.sigmas),
        )

    def _weights(self, u: FloatArray, point: PointSystem) -> list[FloatArray]:
        weights = []
        begin = 0
        for factor, tier, delta in zip(self._basis.factors, point.tiers, point.deltas, strict=True):
            some = scipy.linalg.solve_triangular(
                factor[:tier, :tier], u[begin : begin + tier], lower=True, trans=1, check_finite=False
            )
            weights.append(some / delta)
            begin += tier
        if not all(np.all(np.isfinite(some)) for some in weights):
            raise FitError("the weights of the sparse points are not finite; look at sigmas and jitter", reason="nan")
        return weights

    def _add_prior(self, matrix: FloatArray, tiers: Sequence[int], extra: Sequence[float]) -> None:
        matrix[np.diag_indices_from(matrix)] += 1.0
        begin = 0
        for term, (tier, more) in enumerate(zip(tiers, extra, strict=True)):
            if more > 0:
                block = slice(begin, begin + tier)
                matrix[block, block] += more * self._ridge(term)[:tier, :tier]
            begin += tier

    def _ridge(self, term: int) -> FloatArray:
        """``L^-1 L^-T``: what a change of the jitter adds, per unit."""
        if term not in self._ridges:
            inverse, _ = lapack.dtrtri(self._basis.factors[term], lower=1)
            self._ridges[term] = np.asfortranarray(inverse @ inverse.T)
        return self._ridges[term]

    def _log_likelihood(
        self, point: PointSystem, explained: float, log_determinant: float, extra: Sequence[float]
    ) -> float:
        """Of the targets under the prior of the sparse points, up to nothing: all constants are in.

        The determinant of ``Sigma + delta^2 K K_MM^-1 K^T`` by the matrix determinant lemma.
        """
        chosen = [(self._sums[place], sigma) for place, sigma in point.sigmas.items()]
        misfit = math.fsum(part.targets_squared / sigma**2 for part, sigma in chosen) - explained
        noise = math.fsum(2 * (part.rows * math.log(sigma) + part.log_scale) for part, sigma in chosen)
        n_targets = sum(part.rows for part, _ in chosen)
        prior = math.fsum(self._log_prior(t, tier, extra[t]) for t, tier in enumerate(point.tiers))
        return -0.5 * (misfit + noise + log_determinant - prior + n_targets * math.log(2 * math.pi))

    def _log_prior(self, term: int, tier: int, more: float) -> float:
        """Logarithm of the determinant of R for one term."""
        if more == 0.0:
            return 0.0
        if (term, more) not in self._log_kernels:
            points, zeta = self._basis.sparse[term], self._basis.zetas[term]
            kernel = kernel_matrix(points, points, zeta)
            kernel[np.diag_indices_from(kernel)] += self._basis.jitter + more
            factor = scipy.linalg.cholesky(kernel, lower=True, overwrite_a=True)
            ratios = np.log(np.diag(factor)) - np.log(np.diag(self._basis.factors[term]))
            self._log_kernels[(term, more)] = np.concatenate([[0.0], 2 * np.cumsum(ratios)])
        return float(self._log_kernels[(term, more)][tier])

    def _condition(self, term: int, tier: int) -> float:
        if (term, tier) not in self._conditions:
            factor = np.asfortranarray(self._basis.factors[term][:tier, :tier])
            points = self._basis.sparse[term][:tier]
            norm = float(np.max(np.abs(kernel_matrix(points, points, self._basis.zetas[term])).sum(axis=0)))
            reciprocal, _ = lapack.dpocon(factor, norm, uplo="L")
            self._conditions[(term, tier)] = 1.0 / max(float(reciprocal), 1e-300)
        return self._conditions[(term, tier)]


def _add_sum(matrix: FloatArray, part: GroupSum, columns: NDArray[np.int64], sigma: float) -> None:
    """Add B^T B / sigma^2 to the lower triangle, in panels that bound temporary memory."""
    whole = len(columns) == columns[-1] + 1
    size = len(columns)
    rows = None if part.is_gram else np.asarray(part.matrix[columns]) / sigma
    for begin in range(0, size, _PANEL):
        panel = slice(begin, min(size, begin + _PANEL))
        if rows is not None:
            matrix[begin:, panel] += rows[begin:] @ rows[panel].T
        elif whole:
            matrix[begin:, panel] += part.matrix[begin:size, panel] * sigma**-2
        else:
            matrix[begin:, panel] += part.matrix[np.ix_(columns[begin:], columns[panel])] * sigma**-2
    _release(part.matrix)


def _release(array: FloatArray) -> None:
    """Give the pages of a mapped file back, which would count as this process's memory."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _scale(matrix: FloatArray, deltas: FloatArray) -> None:
    matrix *= deltas[:, None]
    matrix *= deltas[None, :]


def _one_norm(matrix: FloatArray) -> float:
    """1-norm of a symmetric matrix given by its lower triangle."""
    sums = np.zeros(len(matrix))
    for begin in range(0, len(matrix), _PANEL):
        panel = np.abs(np.tril(matrix[begin:, begin : begin + _PANEL]))
        sums[begin : begin + panel.shape[1]] += panel.sum(axis=0)
        rows = panel.sum(axis=1)
        rows[: panel.shape[1]] -= np.diag(panel)
        sums[begin:] += rows
    return float(sums.max())
