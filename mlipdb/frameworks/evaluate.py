"""Predictions of a calculator for labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlipdb.errors import CalculatorError, FrameworkError
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import Prediction

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["evaluate"]


def evaluate(calculator: Calculator, frames: Sequence[Frame]) -> list[Prediction]:
    """Predict energy, forces and stress of each frame.

    Parameters
    ----------
    calculator
        Any ASE calculator with energy and forces; its stress is used where it has one.
    frames
        The frames; their labels are not seen by the calculator.

    Returns
    -------
    list of Prediction
        In the order of the frames.

    Raises
    ------
    CalculatorError
        If the calculator fails or gives NaN; the message names the configuration.
    """
    return [_predict(calculator, frame) for frame in frames]


def _predict(calculator: Calculator, frame: Frame) -> Prediction:
    wanted = ["energy", "forces"]
    if "stress" in calculator.implemented_properties and all(frame.pbc):
        wanted.append("stress")
    atoms = frame.to_atoms()
    try:
        # All at once: some calculators compute everything again for each property asked for later.
        calculator.calculate(atoms, wanted, ["positions", "numbers", "cell", "pbc"])
    except FrameworkError as error:
        raise CalculatorError(
            f"configuration {frame.configuration_id!r}: {error.message}", reason=error.reason
        ) from error
    results = calculator.results
    energy = float(results["energy"])
    forces = np.array(results["forces"], dtype=float)
    stress = np.array(results["stress"], dtype=float) if "stress" in wanted else None
    finite = np.isfinite(energy) and np.all(np.isfinite(forces))
    if not finite or (stress is not None and not np.all(np.isfinite(stress))):
        raise CalculatorError(
            f"configuration {frame.configuration_id!r}: the potential gives NaN or infinity",
            reason="not_finite",
        )
    return Prediction(energy=energy, forces=forces, stress=stress)
