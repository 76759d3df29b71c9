"""Thermal properties against phonopy's and against limits."""

from __future__ import annotations

import numpy as np
import pytest

from mlipdb.physics.phonons import PhononResult
from mlipdb.physics.thermal import BOLTZMANN, thermal_properties
from mlipdb.units import THZ_TO_EV

KJ_PER_MOL = 96.48533212331  # kJ/mol in one eV


def test_agree_with_phonopy(silicon_phonons: dict[str, PhononResult]) -> None:
    result = silicon_phonons["bc8"]
    phonopy = result.phonopy
    phonopy.run_thermal_properties(temperatures=[0.0, 75.0, 150.0, 300.0, 600.0], cutoff_frequency=0.01)
    theirs = phonopy.get_thermal_properties_dict()
    ours = result.thermal
    assert ours.temperatures == [0.0, 75.0, 150.0, 300.0, 600.0]
    assert np.array(ours.free_energy) == pytest.approx(theirs["free_energy"] / KJ_PER_MOL, rel=1e-5)
    assert np.array(ours.entropy) == pytest.approx(theirs["entropy"] / KJ_PER_MOL / 1000, rel=1e-5, abs=1e-12)
    assert np.array(ours.heat_capacity) == pytest.approx(
        theirs["heat_capacity"] / KJ_PER_MOL / 1000, rel=1e-5, abs=1e-12
    )
    assert ours.zero_point_energy == ours.free_energy[0]
    assert ours.free_energy_per_atom[3] == pytest.approx(ours.free_energy[3] / 8)


def test_one_mode_by_hand() -> None:
    found = thermal_properties([[10.0]], [1], [0.0, 300.0], n_atoms=1, cutoff=0.0)
    energy = 10.0 * THZ_TO_EV
    x = energy / (BOLTZMANN * 300.0)
    assert found.zero_point_energy == pytest.approx(energy / 2)
    assert found.free_energy[1] == pytest.approx(energy / 2 + BOLTZMANN * 300 * np.log(1 - np.exp(-x)))
    assert found.heat_capacity[1] == pytest.approx(BOLTZMANN * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2)
    # F = U - T S
    internal = energy * (0.5 + 1 / (np.exp(x) - 1))
    assert found.entropy[1] == pytest.approx((internal - found.free_energy[1]) / 300.0)
    assert found.entropy[0] == found.heat_capacity[0] == 0.0


def test_limits_and_excluded_modes() -> None:
    found = thermal_properties(
        [[-1.0, 0.0, 1e-5, 5.0], [1.0, 2.0, 3.0, 4.0]], [1, 3], [1.0, 1e5], n_atoms=1, cutoff=0.01
    )
    assert found.excluded_modes == pytest.approx(3 * 0.25)
    assert found.heat_capacity[1] == pytest.approx(BOLTZMANN * (4 - 0.75), rel=1e-6)
    assert found.heat_capacity[0] == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(found.free_energy).all()
