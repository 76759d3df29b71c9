"""Supercells are recognised whatever was done to them, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mlipdb.physics.supercells import classify, ideal_supercell, match_supercell, symmetrise

# Unimodular: other bases of the same superlattice, one of them left-handed.
BASES = [
    np.eye(3),
    np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    np.array([[1, 0, 0], [0, 1, 0], [1, 0, -1]]),
]
REFERENCES = {
    "diamond": (bulk("Si", a=5.43, cubic=True), np.diag([2, 2, 1])),
    "primitive diamond": (bulk("Si", a=5.43), np.array([[-1, 1, 1], [1, -1, 1], [2, 2, -2]])),
    "rocksalt": (bulk("NaCl", "rocksalt", a=5.6), 2 * np.eye(3, dtype=int)),
    "hcp": (bulk("Mg", "hcp", a=3.2, c=5.2), np.diag([3, 3, 2])),
}


def transformed(atoms: Atoms, rng: np.random.Generator, basis: np.ndarray) -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Rotate, shift, permute and re-base; also give the permutation and the rotation (row vectors)."""
    rotation = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    order = rng.permutation(len(atoms))
    result = atoms[order]
    result.set_cell(basis @ result.cell.array @ rotation)
    result.positions = (result.positions + rng.normal(size=3)) @ rotation
    result.wrap()
    return result, order, rotation


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(REFERENCES)), st.sampled_from(range(len(BASES))))
@settings(deadline=None, max_examples=30)
def test_a_transformed_supercell_is_recovered(seed: int, name: str, basis: int) -> None:
    rng = np.random.default_rng(seed)
    reference, matrix = REFERENCES[name]
    supercell = ideal_supercell(reference, matrix)
    atom, vector = int(rng.integers(len(supercell))), rng.normal(size=3)
    vector *= 0.01 / np.linalg.norm(vector)
    supercell.positions[atom] += vector
    moved, order, rotation = transformed(supercell, rng, BASES[basis])
    match = match_supercell(moved, reference)
    assert match is not None
    assert match.strain < 1e-9
    lattice = match.supercell_matrix @ reference.cell.array @ match.deformation @ match.rotation
    assert np.abs(lattice - moved.cell.array).max() < 1e-9
    assert np.linalg.det(match.rotation) == pytest.approx(1.0)
    assert sorted(match.mapping) == list(range(len(moved)))
    expected = np.zeros((len(moved), 3))
    expected[np.flatnonzero(order == atom)[0]] = vector @ rotation
    assert np.abs(match.displacements - expected).max() < 1e-9
    assert classify(moved, match) == "single_displacement"


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(REFERENCES)))
@settings(deadline=None, max_examples=20)
def test_a_strained_rattled_supercell_is_recovered(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    reference, matrix = REFERENCES[name]
    supercell = ideal_supercell(reference, matrix)
    skew = rng.uniform(-0.02, 0.02, size=(3, 3))
    deformation = np.cbrt(rng.uniform(0.96, 1.04)) * (np.eye(3) + (skew + skew.T) / 2)
    supercell.set_cell(supercell.cell.array @ deformation, scale_atoms=True)
    moves = rng.normal(scale=0.05, size=supercell.positions.shape)
    supercell.positions += moves
    match = match_supercell(supercell, reference)
    assert match is not None
    assert np.array_equal(match.supercell_matrix, matrix)
    assert np.abs(match.deformation @ match.rotation - deformation).max() < 1e-9
    assert np.abs(match.displacements - (moves - np.median(moves, axis=0))).max() < 0.02
    assert classify(supercell, match) == "rattled"


def test_every_shipped_calculation_is_recognised(silicon_tasks: Any, silicon_cells: dict[str, Atoms]) -> None:
    kinds = {"phonon_displacement": "single_displacement", "rattled": "rattled"}
    seen = 0
    for task in silicon_tasks.values():
        if task.calc_type not in kinds:
            continue
        match = match_supercell(task.atoms, symmetrise(silicon_cells[task.allotrope]))
        assert match is not None, task.task_id
        assert match.supercell_matrix.tolist() == task.raw["supercell_matrix"], task.task_id
        scale = task.raw.get("volume_scale") or 1.0
        assert np.linalg.det(match.deformation) == pytest.approx(scale, abs=1e-9)
        known = task.raw.get("displacement")
        if task.calc_type == "phonon_displacement" and known is None:
            assert classify(task.atoms, match) == "bulk"
        else:
            assert classify(task.atoms, match) == kinds[task.calc_type]
        if known is not None:
            assert np.abs(match.displacements[known["number"]] - known["displacement"]).max() < 1e-9
        seen += 1
    assert seen == 62


def test_no_allotrope_is_taken_for_another(silicon_tasks: Any, silicon_cells: dict[str, Atoms]) -> None:
    names = [
        "phonon-lonsdaleite-01",
        "rattled-4h-00",
        "rattled-diamond-01",
        "phonon-bc8-01",
        "rattled-st12-01",
    ]
    for task_id in names:
        task = silicon_tasks[task_id]
        for allotrope, cell in silicon_cells.items():
            match = match_supercell(task.atoms, cell)
            assert (match is not None) == (allotrope == task.allotrope), (task_id, allotrope)


def test_a_mirrored_chiral_crystal_is_another(silicon_cells: dict[str, Atoms]) -> None:
    cell = silicon_cells["st12"]
    mirrored = cell.copy()
    mirrored.set_cell(cell.cell.array * [1, 1, -1])
    mirrored.positions = cell.positions * [1, 1, -1]
    assert match_supercell(cell, cell) is not None
    assert match_supercell(mirrored, cell) is None


def test_what_cannot_fit_is_rejected() -> None:
    silicon = bulk("Si", a=5.43, cubic=True)
    assert match_supercell(bulk("Ge", a=5.43, cubic=True), silicon) is None
    assert match_supercell(silicon[:7], silicon) is None
    assert match_supercell(bulk("Si", a=5.43), silicon) is None
    assert match_supercell(bulk("Si", a=7.5, cubic=True), silicon) is None
    flat = silicon.copy()
    flat.pbc = [True, True, False]
    assert match_supercell(flat, silicon) is None


def test_a_displacement_beyond_the_limit_is_no_match() -> None:
    silicon = bulk("Si", a=5.43, cubic=True)
    moved = silicon.repeat(2)
    moved.positions[5] += [0.5, 0.0, 0.0]
    assert match_supercell(moved, silicon, max_displacement=0.4) is None
    match = match_supercell(moved, silicon)
    assert match is not None
    assert match.max_displacement == pytest.approx(0.5)
    assert int((np.linalg.norm(match.displacements, axis=1) > 1e-9).sum()) == 1


def test_a_displaced_atom_of_two_is_not_shared_between_them() -> None:
    silicon = bulk("Si", a=5.43)
    moved = silicon.copy()
    moved.positions[1] += [0.01, 0.0, 0.0]
    match = match_supercell(moved, silicon)
    assert match is not None
    assert np.allclose(match.displacements, [[0, 0, 0], [0.01, 0, 0]])
    assert classify(moved, match) == "single_displacement"


def test_to_reference_turns_vectors_back() -> None:
    rng = np.random.default_rng(5)
    reference, matrix = REFERENCES["rocksalt"]
    supercell = ideal_supercell(reference, matrix)
    moved, _, _ = transformed(supercell, rng, BASES[0])
    match = match_supercell(moved, reference)
    assert match is not None
    vectors = rng.normal(size=(len(moved), 3))
    back = match.to_reference(vectors)
    assert np.allclose(back[match.mapping] @ match.rotation, vectors)
