"""Relaxation of unit cells with real calculators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from mlipdb.benchmarks.relaxation import evaluate_forces, relax
from mlipdb.errors import CalculatorError
from mlipdb.physics.symmetry import space_group, symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol()


class Spoilt(EMT):
    """EMT until a number of evaluations, then what a broken potential gives."""

    def __init__(self, good: int, forces: float = np.nan, stress: float = 0.0) -> None:
        super().__init__()
        self.good, self.bad_forces, self.bad_stress = good, forces, stress

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.good -= 1
        if self.good < 0:
            self.results["forces"] = self.results["forces"] + self.bad_forces
            self.results["stress"] = self.results["stress"] + self.bad_stress * np.array([1, 1, 1, 0, 0, 0])


class ForcesOnly(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # ASE's own form

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_cell_and_symmetry() -> None:
    start = bulk("Cu", "hcp", a=2.6, c=4.0)
    found = relax(start, EMT(), PROTOCOL)
    assert found.steps > 0
    assert found.fmax < 1e-3
    assert space_group(found.atoms).number == 194
    stressed = found.atoms.copy()
    stressed.calc = EMT()
    assert np.abs(stressed.get_stress() * stressed.get_volume() / 2).max() < 1e-3
    again = relax(found.atoms, EMT(), PROTOCOL)
    assert again.steps == 0
    assert again.atoms.positions.tobytes() == found.atoms.positions.tobytes()
    assert again.atoms.cell.array.tobytes() == found.atoms.cell.array.tobytes()


def test_positions_alone() -> None:
    # Alternate layers shifted along c keep a mirror and have forces.
    start = bulk("Cu", a=3.6, cubic=True).repeat((1, 1, 2))
    start.positions[np.isclose(start.positions[:, 2], 1.8), 2] += 0.1
    start = symmetrise(start)
    found = relax(start, EMT(), PhononProtocol(relax="positions"))
    assert found.fmax_start > 0.1 > 1e-3 > found.fmax
    assert found.atoms.cell.array.tobytes() == start.cell.array.tobytes()
    assert found.pressure_start is None


def test_none_changes_nothing() -> None:
    start = bulk("Cu", a=3.7)
    found = relax(start, EMT(), PhononProtocol(relax="none"))
    assert found.steps == 0
    assert found.atoms.cell.array.tobytes() == start.cell.array.tobytes()


@pytest.mark.parametrize(
    ("calculator", "protocol", "reason"),
    [
        (Spoilt(0), PROTOCOL, "not_finite"),
        (Spoilt(2), PROTOCOL, "not_finite"),
        (Spoilt(0, 0.0, np.nan), PROTOCOL, "not_finite"),
        (Spoilt(0, 0.0, -3.0), PROTOCOL, "cell_exploded"),
        (EMT(), PhononProtocol(max_relax_steps=1), "not_converged"),
        (ForcesOnly(), PROTOCOL, "property_missing"),
    ],
)
def test_failures_have_reasons(calculator: Any, protocol: PhononProtocol, reason: str) -> None:
    with pytest.raises(CalculatorError) as caught:
        relax(bulk("Cu", "hcp", a=2.7, c=4.0), calculator, protocol)
    assert caught.value.reason == reason


def test_an_unknown_element_is_the_potentials_failure() -> None:
    with pytest.raises(CalculatorError) as caught:
        evaluate_forces(bulk("Si"), EMT())
    assert caught.value.reason == "calculator_failed"


def test_a_programming_error_is_not_hidden() -> None:
    class Buggy(EMT):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            raise TypeError("a bug")

    with pytest.raises(TypeError):
        evaluate_forces(Atoms("Cu", cell=np.eye(3) * 3, pbc=True), Buggy())


def test_the_protocol_of_files_is_refused() -> None:
    from mlipdb.errors import DataError

    with pytest.raises(DataError) as caught:
        relax(bulk("Cu"), EMT(), PhononProtocol(relax="external"))
    assert caught.value.reason == "external_protocol"
