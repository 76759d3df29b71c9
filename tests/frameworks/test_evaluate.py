from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipdb.errors import CalculatorError
from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP
from mlipdb.physics.frames import Frame


def copper(configuration_id: str, number: int = 29) -> Frame:
    return Frame(
        configuration_id=configuration_id,
        numbers=np.full(2, number),
        cell=np.diag([2.6, 2.6, 3.6]),
        positions=np.array([[0, 0, 0], [1.3, 1.3, 1.9]]),
        energy=0.0,
        forces=np.zeros((2, 3)),
        config_type="bulk",
    )


def test_every_property_of_every_frame() -> None:
    predictions = evaluate(EMT(), [copper("one"), copper("two")])
    assert predictions[0].energy == predictions[1].energy
    atoms = copper("one").to_atoms()
    atoms.calc = EMT()
    assert predictions[0].energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(predictions[0].forces, atoms.get_forces())
    np.testing.assert_array_equal(predictions[0].stress, atoms.get_stress())


def test_a_failure_names_the_configuration(small_fit: tuple[Path, FitResult]) -> None:
    directory, result = small_fit
    calculator = GAP().calculator(directory, result.main_file)
    with pytest.raises(CalculatorError, match=r"configuration 'gold': .*knows only Si") as caught:
        evaluate(calculator, [copper("gold", 79)])
    assert caught.value.reason == "unknown_element"


class _NotANumber(EMT):  # type: ignore[misc]
    def calculate(self, *arguments: object) -> None:
        super().calculate(*arguments)
        self.results["forces"][0, 0] = np.nan


def test_nan_names_the_configuration() -> None:
    with pytest.raises(CalculatorError, match=r"configuration 'one': .*NaN"):
        evaluate(_NotANumber(), [copper("one")])
