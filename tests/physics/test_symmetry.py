"""Symmetrised cells, space groups and labels."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.errors import DataError
from mlipdb.physics.cells import fractional, wrapped
from mlipdb.physics.symmetry import (
    count_operations,
    point_group,
    primitive_cell,
    protostructure_label,
    space_group,
    symmetric_positions,
    symmetrise,
)

LABELS = {
    "diamond": ("A_cF8_227_a", 227),
    "lonsdaleite": ("A_hP4_194_f", 194),
    "4h": ("A_hP8_194_ef", 194),
    "bc8": ("A_cI16_206_c", 206),
    "clathrate-II": ("A_cF136_227_aeg", 227),
    "st12": ("A_tP12_96_ab", 96),
    "si24": ("A_oC24_63_3f", 63),
}


@pytest.mark.filterwarnings("ignore:gcd is deprecated")
def test_labels_of_the_silicon_allotropes(silicon_cells: dict[str, Atoms]) -> None:
    found = {name: (protostructure_label(cell), space_group(cell).number) for name, cell in silicon_cells.items()}
    assert found == LABELS


@given(st.integers(0, 2**32 - 1), st.sampled_from(["bc8", "st12", "lonsdaleite"]))
@settings(deadline=None, max_examples=15)
def test_symmetrise_removes_noise_in_place(silicon_cells: dict[str, Atoms], seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    cell = silicon_cells[name].copy()
    cell.set_cell(cell.cell.array @ rotation, scale_atoms=True)
    noisy = cell.copy()
    noisy.positions += rng.normal(scale=4e-6, size=noisy.positions.shape)
    noisy.set_cell(noisy.cell.array @ (np.eye(3) + 1e-6 * rng.normal(size=(3, 3))), scale_atoms=True)
    clean = symmetrise(noisy)
    assert space_group(noisy, 1e-8).number < space_group(clean, 1e-8).number == LABELS[name][1]
    # Same setting, orientation and order of atoms.
    assert np.abs(clean.cell.array - cell.cell.array).max() < 1e-4
    assert np.abs(wrapped(fractional(clean) - fractional(cell)) @ cell.cell.array).max() < 1e-4
    again = symmetrise(clean)
    assert again.positions.tobytes() == clean.positions.tobytes()
    assert again.cell.array.tobytes() == clean.cell.array.tobytes()


def test_operations_of_a_supercell_are_counted(silicon_cells: dict[str, Atoms]) -> None:
    cell = symmetrise(silicon_cells["bc8"])
    found = symmetric_positions(cell.repeat(2), 1e-3)
    assert (found.n_operations, found.n_translations) == (24 * 8, 8)
    assert count_operations(cell.repeat(2)) == 24 * 8
    assert len(point_group(cell)) == 24
    assert np.abs(found.fractions - fractional(cell.repeat(2))).max() < 1e-9


def test_the_median_ignores_one_displaced_atom() -> None:
    ideal = bulk("Si", a=5.43, cubic=True).repeat(2)
    displaced = ideal.copy()
    displaced.positions[0] += [0.01, 0.0, 0.0]
    found = symmetric_positions(displaced, 0.02, reducer=np.median)
    assert np.abs((found.fractions - fractional(ideal)) @ ideal.cell.array).max() < 1e-9
    smeared = symmetric_positions(displaced, 0.02)
    assert np.abs((smeared.fractions - fractional(ideal)) @ ideal.cell.array).max() > 1e-4


def test_primitive_cell_keeps_the_orientation() -> None:
    conventional = bulk("Si", a=5.43, cubic=True)
    primitive = primitive_cell(conventional)
    assert len(primitive) == 2
    matrix = np.linalg.solve(primitive.cell.array.T, conventional.cell.array.T).T
    assert np.abs(matrix - np.rint(matrix)).max() < 1e-9


def test_no_symmetry_of_atoms_on_top_of_each_other() -> None:
    broken = Atoms("Si2", positions=np.zeros((2, 3)), cell=np.eye(3) * 5, pbc=True)
    for function in (symmetrise, space_group, primitive_cell, point_group, count_operations):
        with pytest.raises(DataError) as caught:
            function(broken)
        assert caught.value.reason == "no_symmetry"
