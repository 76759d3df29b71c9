"""Supercells in a fixed order, and distances."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.errors import DataError
from mlipdb.physics.cells import (
    fractional,
    hermite_normal_form,
    ideal_supercell,
    nearest_neighbour_distance,
    same_sites,
    wrapped,
)

matrices = (
    st.lists(st.integers(-3, 3), min_size=9, max_size=9)
    .map(lambda values: np.array(values).reshape(3, 3))
    .filter(lambda matrix: 0 < abs(round(np.linalg.det(matrix))) <= 40)
)


@given(matrices)
@settings(deadline=None, max_examples=40)
def test_ideal_supercell_holds_every_site_once(matrix: np.ndarray) -> None:
    unitcell = bulk("NaCl", "rocksalt", a=5.6)
    supercell = ideal_supercell(unitcell, matrix)
    multiple = abs(round(np.linalg.det(matrix)))
    assert len(supercell) == 2 * multiple
    assert np.allclose(supercell.cell.array, matrix @ unitcell.cell.array)
    gaps = wrapped(fractional(supercell)[:, None] - fractional(supercell)[None])
    np.fill_diagonal(close := np.abs(gaps).max(axis=-1) < 1e-6, False)
    assert not close.any()
    # Every site is a lattice translation away from its atom of the unit cell.
    parents = np.repeat(unitcell.positions, multiple, axis=0)
    steps = np.linalg.solve(unitcell.cell.array.T, (supercell.positions - parents).T)
    assert np.abs(steps - np.rint(steps)).max() < 1e-9
    assert supercell.get_chemical_symbols() == ["Na"] * multiple + ["Cl"] * multiple


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.eye(3) * 1.5, np.ones((2, 2))])
def test_ideal_supercell_refuses_what_is_no_supercell_matrix(matrix: np.ndarray) -> None:
    with pytest.raises(DataError) as caught:
        ideal_supercell(bulk("Cu"), matrix)
    assert caught.value.reason == "bad_supercell_matrix"


UNIMODULAR = [
    np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    np.array([[1, 0, 0], [2, 1, 0], [1, -3, -1]]),
]


@given(matrices, st.sampled_from(range(len(UNIMODULAR))))
@settings(deadline=None, max_examples=40)
def test_bases_of_one_superlattice_share_form_and_sites(matrix: np.ndarray, which: int) -> None:
    other = UNIMODULAR[which] @ matrix
    form = hermite_normal_form(matrix)
    assert np.array_equal(form, hermite_normal_form(other))
    assert np.array_equal(form, np.triu(form))
    assert round(np.linalg.det(form)) == abs(round(np.linalg.det(matrix)))
    unitcell = bulk("NaCl", "rocksalt", a=5.6)
    old, new = ideal_supercell(unitcell, matrix), ideal_supercell(unitcell, other)
    order = same_sites(matrix, other, len(unitcell))
    steps = np.linalg.solve(new.cell.array.T, (new.positions[order] - old.positions).T)
    assert np.abs(steps - np.rint(steps)).max() < 1e-9


def test_different_superlattices_have_different_sites() -> None:
    with pytest.raises(DataError) as caught:
        same_sites(np.diag([2, 1, 1]), np.diag([1, 2, 1]), 1)
    assert caught.value.reason == "different_superlattice"


def test_nearest_neighbours() -> None:
    assert nearest_neighbour_distance(bulk("Cu", a=3.6)) == pytest.approx(3.6 / np.sqrt(2))
    assert nearest_neighbour_distance(bulk("Si", a=5.43, cubic=True)) == pytest.approx(5.43 * np.sqrt(3) / 4)
    assert nearest_neighbour_distance(Atoms("Si", cell=[9, 10, 11], pbc=True)) == pytest.approx(9.0)
