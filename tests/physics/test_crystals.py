"""Crystals in phonopy: order of atoms, symmetry operations, primitive cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlipdb.errors import PhononError
from mlipdb.physics.cells import fractional, wrapped
from mlipdb.physics.crystals import build_crystal, to_ase, to_phonopy


def test_order_finds_phonopys_atoms() -> None:
    crystal = build_crystal(bulk("NaCl", "rocksalt", a=5.6), np.array([[-1, 1, 1], [1, -1, 1], [2, 2, -2]]), 1e-3)
    theirs = to_ase(crystal.phonopy.supercell)
    gaps = wrapped(fractional(theirs)[crystal.order] - fractional(crystal.supercell))
    assert np.abs(gaps).max() < 1e-9
    assert theirs.numbers[crystal.order].tolist() == crystal.supercell.numbers.tolist()
    assert sorted(crystal.order) == list(range(len(theirs)))


def test_operations_carry_atoms_and_vectors(silicon_cells: dict[str, Atoms]) -> None:
    crystal = build_crystal(silicon_cells["st12"], np.diag([2, 2, 1]), 1e-3)
    positions, cell = crystal.phonopy.supercell.positions, crystal.phonopy.supercell.cell
    for rotation, permutation in zip(crystal.rotations, crystal.permutations, strict=True):
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-8)
        # Differences of positions turn with the rotation, up to lattice vectors.
        turned = (positions - positions[0]) @ rotation.T
        gaps = np.linalg.solve(cell.T, (positions[permutation] - positions[permutation[0]] - turned).T)
        assert np.abs(gaps - np.rint(gaps)).max() < 1e-6
    orbit = {crystal.representative(atom) for atom in range(len(positions))}
    assert orbit == set(crystal.phonopy.symmetry.get_independent_atoms().tolist())
    for atom in (5, 17, 40):
        target = crystal.representative(atom)
        assert crystal.permutations[crystal.operation(atom, target), atom] == target
        assert len(crystal.site_rotations(atom)) in (1, 2)


def test_primitive_matrix_has_rows_and_can_be_fixed() -> None:
    crystal = build_crystal(bulk("Si", a=5.43, cubic=True), 2 * np.eye(3, dtype=int), 1e-3)
    assert len(crystal.phonopy.primitive) == 2
    assert np.allclose(crystal.phonopy.primitive.cell, crystal.primitive_matrix @ crystal.unitcell.cell.array)
    whole = build_crystal(bulk("Si", a=5.43, cubic=True), 2 * np.eye(3, dtype=int), 1e-3, np.eye(3))
    assert len(whole.phonopy.primitive) == 8


def test_a_primitive_matrix_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PhononError) as caught:
        build_crystal(bulk("Si", a=5.43, cubic=True), 2 * np.eye(3, dtype=int), 1e-3, np.diag([0.5, 1, 1]))
    assert caught.value.reason == "bad_primitive_matrix"


def test_cells_go_to_phonopy_and_back() -> None:
    cell = bulk("NaCl", "rocksalt", a=5.6)
    cell.set_masses([23.5, 35.0])
    back = to_ase(to_phonopy(cell))
    assert back.get_masses().tolist() == [23.5, 35.0]
    assert np.allclose(back.positions, cell.positions)
    assert back.get_chemical_symbols() == ["Na", "Cl"]
