"""Orders of sparse points."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.frameworks.gap_grid.sparse_points import SparseOrder, distinct, order_points


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1)[:, None]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), copies=st.lists(st.integers(0, 9), max_size=20))
def test_distinct_keeps_the_first_of_each(seed: int, copies: list[int]) -> None:
    rng = np.random.default_rng(seed)
    originals = unit(rng.normal(size=(10, 7)))
    repeated = originals[copies] + rng.uniform(-1, 1, size=(len(copies), 7)) * 3e-11
    np.testing.assert_array_equal(distinct(np.vstack([originals, repeated])), np.arange(10))
    shuffled = rng.permutation(10 + len(copies))
    x = np.vstack([originals, repeated])[shuffled]
    found = distinct(x)
    labels = np.concatenate([np.arange(10), np.array(copies, dtype=int)])[shuffled]
    expected = sorted(int(np.flatnonzero(labels == label)[0]) for label in range(10))
    assert found.tolist() == expected


def test_distinct_tells_near_from_equal() -> None:
    x = unit(np.random.default_rng(1).normal(size=(3, 5)))
    assert len(distinct(np.vstack([x, x + 1e-9]))) == 6
    assert len(distinct(np.empty((0, 5)))) == 0


@pytest.mark.parametrize("method", get_args(SparseOrder))
def test_orders_are_nested_and_repeatable(method: SparseOrder) -> None:
    x = unit(np.random.default_rng(5).normal(size=(60, 12)))
    whole = order_points(x, 60, method, zeta=2.0, seed=4)
    assert sorted(whole.tolist()) == list(range(60))
    for count in (1, 7, 30):
        np.testing.assert_array_equal(order_points(x, count, method, zeta=2.0, seed=4), whole[:count])
    other = order_points(x, 60, method, zeta=2.0, seed=5)
    assert (other.tolist() == whole.tolist()) == (method != "cur")


def test_cur_prefers_what_few_environments_share() -> None:
    common = unit(np.array([1.0, 0, 0, 0]) + 0.01 * np.random.default_rng(0).normal(size=(200, 4)) * [1, 1, 0, 0])
    rare = np.array([[0.0, 0, 1, 0], [0, 0, 0, 1]])
    x = np.vstack([common, rare])
    early = [{200, 201} <= set(order_points(x, 40, "cur", zeta=2.0, seed=seed).tolist()) for seed in range(1, 21)]
    assert sum(early) > 15


@pytest.mark.parametrize("method", ["pivot", "farthest"])
def test_spread_orders_take_each_cluster_before_any_twice(method: SparseOrder) -> None:
    rng = np.random.default_rng(2)
    x = unit(np.vstack([axis + 0.02 * rng.normal(size=(30, 6)) for axis in np.eye(6)]))
    first = order_points(x, 6, method, zeta=4.0, seed=1)
    assert sorted((first // 30).tolist()) == list(range(6))


def test_pivots_are_those_of_the_cholesky_decomposition() -> None:
    x = unit(np.random.default_rng(8).normal(size=(25, 9)))
    order = order_points(x, 12, "pivot", zeta=2.0, seed=1)
    kernel = (x @ x.T) ** 2
    for count in range(1, 12):
        chosen = order[:count]
        left = np.diag(kernel - kernel[:, chosen] @ np.linalg.solve(kernel[np.ix_(chosen, chosen)], kernel[chosen]))
        assert left[order[count]] == pytest.approx(left.max(), abs=1e-10)
