"""Solutions and likelihoods against dense formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.assembly import GroupSum, make_basis
from mlipdb.frameworks.gap_grid.kernel import kernel_matrix
from mlipdb.frameworks.gap_grid.solve import PointSystem, Solver

RNG = np.random.default_rng(3)
SIZES = (9, 6)
ZETAS = [2.0, 3.0]
SPARSE = [x / np.linalg.norm(x, axis=1)[:, None] for x in (RNG.normal(size=(m, 12)) for m in SIZES)]
KERNELS = [kernel_matrix(x, x, zeta) for x, zeta in zip(SPARSE, ZETAS, strict=True)]
# One group of many rows, which becomes a product, and one of few, which is kept as it is.
ROWS = [RNG.normal(size=(count, sum(SIZES))) for count in (40, 2)]
TARGETS = [RNG.normal(size=len(rows)) for rows in ROWS]
SCALES = [RNG.uniform(0.5, 2.0, size=len(rows)) for rows in ROWS]


def make_solver(jitter: float = 1e-6) -> Solver:
    basis = make_basis(KERNELS, SPARSE, ZETAS, jitter, 1e-5)
    sums = []
    for rows, y, scale in zip(ROWS, TARGETS, SCALES, strict=True):
        total = GroupSum.empty(basis.size)
        whitened = basis.whiten(rows.copy())
        for part in (slice(0, 1), slice(1, None)):
            total.add(whitened[:, part], y[part], scale[part])
        sums.append(total)
    assert [total.is_gram for total in sums] == [True, False]
    return Solver(basis, sums)


def dense(point: PointSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Kernel rows, kernel matrix, targets and sigmas of a point, written out."""
    starts = np.cumsum([0, *SIZES])
    columns = np.concatenate([np.arange(s, s + tier) for s, tier in zip(starts, point.tiers, strict=False)])
    variances = np.repeat(np.square(point.deltas), point.tiers)
    chosen = sorted(point.sigmas)
    rows = np.vstack([ROWS[g] for g in chosen])[:, columns] * variances
    blocks = [
        delta**2 * kernel[:tier, :tier] for delta, kernel, tier in zip(point.deltas, KERNELS, point.tiers, strict=True)
    ]
    kernel = scipy.linalg.block_diag(*blocks) + point.jitter * np.eye(len(columns))
    y = np.concatenate([TARGETS[g] for g in chosen])
    sigmas = np.concatenate([SCALES[g] * point.sigmas[g] for g in chosen])
    return rows, kernel, y, sigmas


POINTS = [
    PointSystem(SIZES, (1.0, 1.0), {0: 0.3, 1: 0.1}, 1e-6),
    PointSystem((9, 4), (0.5, 0.7), {0: 0.3, 1: 0.1}, 1e-5),
    PointSystem((5, 6), (0.3, 1.0), {0: 0.2}, 1e-2),
    PointSystem((5, 3), (0.9, 0.2), {1: 0.4}, 1e-4),
]


@pytest.mark.parametrize("point", POINTS)
def test_weights_and_likelihood(point: PointSystem) -> None:
    rows, kernel, y, sigmas = dense(point)
    solution = make_solver().solve(point)
    scaled = rows / sigmas[:, None]
    expected = np.linalg.solve(kernel + scaled.T @ scaled, scaled.T @ (y / sigmas))
    np.testing.assert_allclose(rows @ np.concatenate(solution.weights), rows @ expected, atol=1e-9)
    covariance = np.diag(sigmas**2) + rows @ np.linalg.solve(kernel, rows.T)
    likelihood = scipy.stats.multivariate_normal.logpdf(y, cov=(covariance + covariance.T) / 2)
    assert solution.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert solution.n_targets == len(y)
    np.testing.assert_allclose(solution.jitter, point.jitter)


def test_condition_numbers() -> None:
    point = POINTS[0]
    solution = make_solver().solve(point)
    exact = max(np.linalg.cond(k + 1e-6 * np.eye(len(k)), 1) for k in KERNELS)
    assert 0.2 * exact < solution.kernel_condition_number < 1.1 * exact
    factor = scipy.linalg.cholesky(scipy.linalg.block_diag(*KERNELS) + 1e-6 * np.eye(sum(SIZES)), lower=True)
    rows, _, _, sigmas = dense(point)
    whitened = np.linalg.solve(factor, (rows / sigmas[:, None]).T)
    exact = np.linalg.cond(np.eye(sum(SIZES)) + whitened @ whitened.T, 1)
    assert 0.2 * exact < solution.condition_number < 1.1 * exact


def test_a_jitter_below_that_of_the_factor_is_raised_and_told() -> None:
    point = replace(POINTS[0], jitter=1e-9, deltas=(1.0, 2.0))
    solution = make_solver(jitter=1e-6).solve(point)
    np.testing.assert_allclose(solution.jitter, [1e-6, 4e-6])


def test_singular_kernels_get_more_jitter_or_an_error() -> None:
    twice = np.vstack([SPARSE[0], SPARSE[0]])
    kernel = kernel_matrix(twice, twice, 2.0)
    basis = make_basis([kernel], [twice], [2.0], 1e-25, 1e-6)
    assert 1e-25 < basis.jitter <= 1e-6
    with pytest.raises(FitError, match="18 sparse points is singular"):
        make_basis([kernel], [twice], [2.0], 1e-25, 1e-24)
    with pytest.raises(FitError, match="singular"):
        make_basis([np.full((2, 2), np.nan)], [twice[:2]], [2.0], 1e-8, 1e-7)
