from __future__ import annotations

import numpy as np
import pytest

from mlipdb.physics.stress_consistency import GPA, same_shape, stress_errors
from mlipdb.units import KB_TO_EV_PER_A3

BULK, SLOPE, VOLUME = 95 * GPA, 4.2, 160.0


def murnaghan(volume: float) -> tuple[float, float]:
    """Energy and trace(stress)/3 of a crystal with the bulk modulus of silicon (Murnaghan 1944)."""
    ratio = VOLUME / volume
    energy = BULK * volume / SLOPE * (ratio**SLOPE / (SLOPE - 1) + 1) - BULK * VOLUME / (SLOPE - 1)
    return energy, -BULK / SLOPE * (ratio**SLOPE - 1)


def scan(ratios: list[float]) -> tuple[list[float], list[float], list[float]]:
    volumes = [VOLUME * ratio for ratio in ratios]
    points = [murnaghan(volume) for volume in volumes]
    return volumes, [point[0] for point in points], [point[1] for point in points]


def test_gpa() -> None:
    assert pytest.approx(10 * KB_TO_EV_PER_A3) == GPA


@pytest.mark.parametrize("ratios", [[0.94, 0.97, 1.0, 1.03, 1.06], [1.04, 0.97, 1.0], [0.98, 1.01], [0.9, 0.94, 0.98]])
def test_a_right_scan(ratios: list[float]) -> None:
    errors = stress_errors(*scan(ratios), limit=GPA)
    assert all(error is not None and error < 0.35 * GPA for error in errors)


def test_pulay_stress_passes() -> None:
    volumes, energies, stresses = scan([0.96, 0.98, 1.0, 1.02])
    errors = stress_errors(volumes, energies, [value - 0.25 * GPA for value in stresses], limit=GPA)
    assert all(error is not None and 0.1 * GPA < error < 0.5 * GPA for error in errors)


@pytest.mark.parametrize("wrong", [1, 2])
def test_the_wrong_stress_is_the_one_that_is_told(wrong: int) -> None:
    volumes, energies, stresses = scan([0.94, 0.96, 0.98, 1.0, 1.02])
    stresses[wrong] *= -1
    errors = stress_errors(volumes, energies, stresses, limit=GPA)
    assert [index for index, error in enumerate(errors) if error is not None and error > GPA] == [wrong]


def test_a_wrong_end() -> None:
    volumes, energies, stresses = scan([0.94, 0.97, 1.0, 1.03])
    stresses[0] *= -1
    errors = stress_errors(volumes, energies, stresses, limit=GPA)
    assert errors[0] == pytest.approx(abs(stresses[0]), abs=0.3 * GPA)
    assert all(error is not None and error < GPA for error in errors[1:])


def test_of_two_points_either_may_be_wrong() -> None:
    volumes, energies, stresses = scan([0.95, 0.98])
    errors = stress_errors(volumes, energies, [-stresses[0], stresses[1]], limit=GPA)
    assert errors[0] == errors[1]
    assert errors[0] is not None
    assert errors[0] > GPA


@pytest.mark.parametrize("ratios", [[1.0], [1.0, 1.0], [1.0, 1.004], [0.9, 1.0], []])
def test_what_cannot_be_told(ratios: list[float]) -> None:
    assert stress_errors(*scan(ratios), limit=GPA) == [None] * len(ratios)


def test_points_too_close_are_passed_over() -> None:
    volumes, energies, stresses = scan([0.98, 1.0, 1.001, 1.02])
    errors = stress_errors(volumes, energies, stresses, limit=GPA)
    assert errors[2] is None
    assert all(error is not None and error < 0.1 * GPA for index, error in enumerate(errors) if index != 2)


def test_same_shape() -> None:
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0, 0.5, 6.0]])
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert same_shape(cell, 1.03 * cell @ turn)
    assert not same_shape(cell, cell @ np.diag([1, 1, 1.01]))
