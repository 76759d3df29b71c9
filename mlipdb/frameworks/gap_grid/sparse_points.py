"""Choosing sparse points, in an order of which every beginning is a choice by itself (nested tiers)."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mlipdb.frameworks.gap_grid.kernel import power
from mlipdb.physics.frames import FloatArray

__all__ = ["SparseOrder", "distinct", "order_points"]

SparseOrder = Literal["cur", "pivot", "farthest"]
#: Descriptors closer than this in every component are the same environment, as `gap_fit` has it.
TOLERANCE: Final = 1e-10


def distinct(x: FloatArray, tolerance: float = TOLERANCE) -> NDArray[np.int64]:
    """First occurrence of each distinct environment.

    Environments equal by symmetry have descriptors equal to rounding.

    Parameters
    ----------
    x
        Descriptors, shape (E, D).
    tolerance
        Largest difference of a component.

    Returns
    -------
    ndarray
        Increasing indices.
    """
    if not len(x):
        return np.empty(0, dtype=np.int64)
    # Close descriptors have close projections, so only neighbours in that order need comparing.
    direction = np.cos(np.arange(1, x.shape[1] + 1) * 0.7)
    projections = x @ direction
    width = tolerance * float(np.sum(np.abs(direction))) + 1e-13
    order = np.argsort(projections, kind="stable")
    representative = np.arange(len(x))
    for position, i in enumerate(order):
        for j in reversed(order[max(0, position - 4096) : position]):
            if projections[i] - projections[j] > width:
                break
            if np.max(np.abs(x[i] - x[j])) <= tolerance:
                representative[i] = representative[j]
                break
    # Of each class the environment that came first in the data, whatever the order of projections.
    first: dict[int, int] = {}
    for i, chosen in enumerate(representative):
        first.setdefault(int(chosen), i)
    return np.array(sorted(first.values()), dtype=np.int64)


def order_points(x: FloatArray, count: int, method: SparseOrder, *, zeta: float, seed: int) -> NDArray[np.int64]:
    """Order environments by how much a sparse set gains by each.

    Parameters
    ----------
    x
        Distinct descriptors of length 1, shape (E, D).
    count
        How many to order, at most E.
    method
        ``cur``: drawn without replacement with probabilities proportional to the leverage scores of
        the descriptor matrix, M. W. Mahoney and P. Drineas, PNAS 106, 697 (2009); ``pivot``: each
        the one whose energy the ones before it leave most uncertain (pivoted Cholesky
        decomposition of the kernel matrix; holds count x E numbers); ``farthest``: each the one
        farthest from all before it, by the distance ``2 - 2 k`` of the kernel.
    zeta
        Exponent of the kernel.
    seed
        Of the draws; the others begin with the environment most like the mean and draw nothing.

    Returns
    -------
    ndarray
        Indices, shape (count,); the first m of them are the choice of m.
    """
    if method == "cur":
        return _leverage_order(x, seed)[:count]
    return _pivot_order(x, count, zeta) if method == "pivot" else _farthest_order(x, count, zeta)


def _leverage_order(x: FloatArray, seed: int) -> NDArray[np.int64]:
    values, vectors = np.linalg.eigh(x.T @ x)
    kept = values > 1e-12 * values[-1]
    scores = np.sum((x @ vectors[:, kept]) ** 2 / values[kept], axis=1)
    # Exponential waiting times: ordering them draws without replacement, P. S. Efraimidis and
    # P. G. Spirakis, Inf. Process. Lett. 97, 181 (2006).  Rounded, so that the last digits of a
    # BLAS do not decide between environments.
    draws = np.random.default_rng(seed).exponential(size=len(x))
    times = np.array([float(f"{value:.6e}") for value in draws / np.maximum(scores, 1e-300)])
    return np.argsort(times, kind="stable")


def _first(x: FloatArray) -> int:
    return int(np.argmax(np.round(x @ x.mean(axis=0), 9)))


def _pivot_order(x: FloatArray, count: int, zeta: float) -> NDArray[np.int64]:
    chosen = np.empty(count, dtype=np.int64)
    variance = power(np.einsum("ij,ij->i", x, x), zeta)
    factor = np.zeros((count, len(x)))
    following = _first(x)
    for position in range(count):
        chosen[position] = following
        row = power(x @ x[following], zeta) - factor[:position, following] @ factor[:position]
        # Beyond the rank of the kernel only rounding is left; the order is arbitrary but fixed.
        factor[position] = row / np.sqrt(max(variance[following], 1e-15))
        variance = variance - factor[position] ** 2
        variance[chosen[: position + 1]] = -np.inf
        following = int(np.argmax(variance))
    return chosen


def _farthest_order(x: FloatArray, count: int, zeta: float) -> NDArray[np.int64]:
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(x), np.inf)
    following = _first(x)
    for position in range(count):
        chosen[position] = following
        nearest = np.minimum(nearest, 2.0 - 2.0 * power(x @ x[following], zeta))
        nearest[following] = -1.0
        following = int(np.argmax(nearest))
    return chosen
