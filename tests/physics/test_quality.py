from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlipdb.physics.quality import measured_problems, measures_of, sorted_problems, stated_problems
from mlipdb.schemas.quality import QualityLimits


def test_measures_of_a_crystal() -> None:
    forces = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    found = measures_of(bulk("Si"), -1.0, forces, isolated=False)
    assert found == {
        "energy": -1.0,
        "max_force": 5.0,
        "force_drift": 2.5,
        "min_distance": None,
        "box_distance": None,
    }


def test_measures_of_atoms_too_close() -> None:
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]], cell=[9, 9, 9], pbc=True)
    assert measures_of(atoms, -1.0, np.zeros((2, 3)), isolated=False)["min_distance"] == pytest.approx(0.74)


@pytest.mark.parametrize(("pbc", "box"), [(True, 6.0), (False, None)])
def test_measures_of_an_atom(pbc: bool, box: float | None) -> None:
    atoms = Atoms("H", cell=[6, 7, 8], pbc=pbc)
    assert measures_of(atoms, -1.0, np.zeros((1, 3)), isolated=True)["box_distance"] == box
    assert measures_of(atoms, -1.0, np.zeros((1, 3)), isolated=False)["box_distance"] is None


#: Measure, value at the limit, value beyond it, reason.
LIMITS = [
    ("max_force", 100.0, 100.1, "force_too_large"),
    ("force_drift", 0.01, 0.011, "force_drift"),
    ("min_distance", 0.5, 0.49, "atoms_too_close"),
    ("box_distance", 8.0, 7.9, "small_box"),
    ("stress_error", 1.0, 1.1, "stress_inconsistent"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "reason"), LIMITS)
def test_limits(name: str, right: float, wrong: float, reason: str) -> None:
    assert measured_problems({name: right}, QualityLimits()) == []
    assert measured_problems({name: None}, QualityLimits()) == []
    (problem,) = measured_problems({name: wrong}, QualityLimits())
    assert (problem.reason, problem.value, problem.limit) == (reason, wrong, right)
    assert "is expected" in problem.message


@pytest.mark.parametrize(("energy", "count"), [(0.0, 1), (-0.0, 1), (1e-9, 0), (None, 0)])
def test_an_energy_of_zero(energy: Any, count: int) -> None:
    assert [item.reason for item in measured_problems({"energy": energy}, QualityLimits())] == ["zero_energy"] * count


def test_what_a_producer_states() -> None:
    assert stated_problems(converged=True, energy_kind="free") == []
    both = stated_problems(converged=False, energy_kind="extrapolated")
    assert [item.reason for item in sorted_problems([*both[::-1], *both])] == ["unconverged", "energy_kind"]
