"""The kind of a configuration from its geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from mlipdb.physics.supercells import classify, match_supercell


def kind(atoms: Atoms, reference: Atoms | None = None) -> str:
    return classify(atoms, None if reference is None else match_supercell(atoms, reference))


def test_isolated_atoms(silicon_tasks: Any) -> None:
    assert kind(silicon_tasks["isolated-atom"].atoms) == "isolated_atom"
    assert kind(Atoms("Si")) == "isolated_atom"
    assert kind(bulk("Cu")) == "bulk"


def test_bulk_and_strained() -> None:
    reference = bulk("Si", a=5.43, cubic=True)
    assert kind(reference.repeat(2), reference) == "bulk"
    stretched = reference.repeat(2)
    stretched.set_cell(stretched.cell.array * 1.01, scale_atoms=True)
    assert kind(stretched, reference) == "strained"
    displaced = stretched.copy()
    displaced.positions[3, 1] += 0.01
    assert kind(displaced, reference) == "single_displacement"


def test_without_a_reference(silicon_tasks: Any) -> None:
    assert kind(silicon_tasks["phonon-st12-04"].atoms) == "single_displacement"
    assert kind(silicon_tasks["phonon-bc8-00"].atoms) == "bulk"
    assert kind(silicon_tasks["rattled-bc8-01"].atoms) == "other"
    rng = np.random.default_rng(0)
    molecule = Atoms("H2O", positions=rng.uniform(size=(3, 3)) * 3)
    assert kind(molecule) == "other"
