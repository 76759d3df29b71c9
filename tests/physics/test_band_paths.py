"""Band paths in the basis of the cell they were asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlipdb.physics.band_paths import band_path
from mlipdb.physics.symmetry import primitive_cell

A = 5.43


def points(cell: Atoms, density: float = 50.0) -> dict[str, np.ndarray]:
    """Cartesian reciprocal coordinates of the labels."""
    reciprocal = np.linalg.inv(cell.cell.array).T
    found = {}
    for segment in band_path(cell, density):
        found[segment.start] = segment.qpoints[0] @ reciprocal
        found[segment.end] = segment.qpoints[-1] @ reciprocal
    return found


def test_fcc_points_are_where_they_belong() -> None:
    for cell in (bulk("Si", a=A), primitive_cell(bulk("Si", a=A, cubic=True))):
        found = points(cell)
        assert sorted(np.abs(found["X"] * A)) == pytest.approx([0, 0, 1], abs=1e-9)
        assert np.abs(found["L"] * A) == pytest.approx([0.5, 0.5, 0.5])
        assert sorted(np.abs(found["W"] * A)) == pytest.approx([0, 0.5, 1], abs=1e-9)


def test_another_basis_and_orientation_moves_the_coefficients_only() -> None:
    cell = bulk("Si", a=A)
    other = cell.copy()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ cell.cell.array @ turn)
    other.positions = cell.positions @ turn
    plain, moved = points(cell), points(other)
    assert plain.keys() == moved.keys()
    for label, point in plain.items():
        assert np.linalg.norm(moved[label]) == pytest.approx(np.linalg.norm(point), abs=1e-9)


def test_points_are_spaced_evenly_and_distances_grow() -> None:
    cell = bulk("Mg", "hcp", a=3.2, c=5.2)
    reciprocal = np.linalg.inv(cell.cell.array).T
    end = 0.0
    for segment in band_path(cell, 80.0):
        steps = np.linalg.norm(np.diff(segment.qpoints @ reciprocal, axis=0), axis=1)
        length = steps.sum()
        assert len(steps) == math.ceil(length * 80.0 - 1e-6)
        assert np.allclose(steps, length / len(steps))
        assert np.allclose(np.diff(segment.distances), steps)
        assert segment.distances[0] == pytest.approx(end)
        end = segment.distances[-1]


def test_a_sparse_path_keeps_both_ends() -> None:
    assert all(len(segment.qpoints) == 2 for segment in band_path(bulk("Si", a=A), 0.1))
