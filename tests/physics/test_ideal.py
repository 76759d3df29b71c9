"""The ideal crystal is recovered from displaced supercells without any reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.physics.supercells import ideal_supercell, match_supercell, recover_ideal, space_group

TASKS = [
    ("phonon-diamond-01", 2, 227),
    ("phonon-lonsdaleite-02", 4, 194),
    ("phonon-bc8-01", 8, 206),
    ("phonon-clathrate-II-06", 34, 227),
    ("phonon-st12-04", 12, 96),
    ("phonon-4h-01", 8, 194),
    ("phonon-4h-00", 8, 194),
]


@pytest.mark.parametrize(("task_id", "n_primitive", "number"), TASKS)
def test_shipped_supercells(silicon_tasks: Any, task_id: str, n_primitive: int, number: int) -> None:
    task = silicon_tasks[task_id]
    recovered = recover_ideal(task.atoms)
    assert recovered is not None
    ideal, primitive = recovered
    assert len(primitive) == n_primitive
    assert space_group(primitive).number == number
    moves = task.atoms.positions - ideal.positions
    known = task.raw["displacement"]
    expected = np.zeros_like(moves)
    if known is not None:
        expected[known["number"]] = known["displacement"]
    assert np.abs(moves - expected).max() < 1e-6
    match = match_supercell(task.atoms, primitive)
    assert match is not None
    assert match.strain < 1e-6


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.005, 0.01, 0.03, 0.08]))
@settings(deadline=None, max_examples=10)
def test_a_displaced_atom_of_a_noisy_supercell(seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    supercell = ideal_supercell(bulk("NaCl", "rocksalt", a=5.6), 2 * np.eye(3, dtype=int))
    displaced = supercell.copy()
    displaced.positions += rng.normal(scale=3e-6, size=displaced.positions.shape)
    atom, vector = int(rng.integers(len(supercell))), rng.normal(size=3)
    displaced.positions[atom] += vector * distance / np.linalg.norm(vector)
    recovered = recover_ideal(displaced)
    assert recovered is not None
    ideal, primitive = recovered
    assert len(primitive) == 2
    assert np.abs(ideal.positions - supercell.positions).max() < 5e-5


def test_many_displaced_atoms_have_no_ideal(silicon_tasks: Any) -> None:
    assert recover_ideal(silicon_tasks["rattled-st12-01"].atoms) is None
    two = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(2)
    two.positions[0, 0] += 0.02
    two.positions[9, 1] += 0.02
    assert recover_ideal(two) is None
