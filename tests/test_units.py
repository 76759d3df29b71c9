from __future__ import annotations

import numpy as np
import pytest
from ase import units as ase_units
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlipdb.units import (
    KB_TO_EV_PER_A3,
    THZ_TO_EV,
    matrix_to_voigt,
    stress_from_vasp_kb,
    stress_to_virial,
    virial_to_stress,
    voigt_to_matrix,
)

VOIGT = arrays(float, 6, elements=st.floats(-1e3, 1e3))


@given(VOIGT)
@settings(deadline=None)
def test_voigt_round_trip(voigt: np.ndarray) -> None:
    matrix = voigt_to_matrix(voigt)
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(matrix_to_voigt(matrix), voigt)


def test_voigt_order_is_xx_yy_zz_yz_xz_xy() -> None:
    assert voigt_to_matrix([1, 2, 3, 4, 5, 6]).tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_off_diagonal_pairs_are_averaged() -> None:
    assert matrix_to_voigt([0, 0, 0, 2, 0, 0, 0, 0, 0]).tolist() == [0, 0, 0, 0, 0, 1]


@given(VOIGT, st.floats(0.1, 1e4))
@settings(deadline=None)
def test_virial_round_trip(stress: np.ndarray, volume: float) -> None:
    assert np.allclose(virial_to_stress(stress_to_virial(stress, volume), volume), stress, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("scale", "sign"), [(0.96, 1), (1.04, -1)])
def test_a_compressed_cell_has_a_positive_virial(scale: float, sign: int) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    atoms.calc = EMT()
    virial = stress_to_virial(atoms.get_stress(), atoms.get_volume())
    assert np.sign(np.trace(virial)) == sign


def test_virial_is_minus_the_strain_derivative_of_the_energy() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    atoms.calc = EMT()
    virial = stress_to_virial(atoms.get_stress(), atoms.get_volume())
    energies = []
    for step in (1e-4, -1e-4):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([step, 0, 0])), scale_atoms=True)
        strained.calc = EMT()
        energies.append(strained.get_potential_energy())
    assert virial[0, 0] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, rel=1e-4)


def test_kilobar() -> None:
    assert pytest.approx(1e8 * ase_units.Pascal, rel=1e-6) == KB_TO_EV_PER_A3
    stress = stress_from_vasp_kb([[10, 1, 2], [1, 20, 3], [2, 3, 30]])
    # VASP counts compression positive, ASE tension.
    assert stress == pytest.approx(-1e8 * ase_units.Pascal * np.array([10, 20, 30, 3, 2, 1]), rel=1e-6)


def test_terahertz() -> None:
    planck = 2 * np.pi * ase_units._hbar / ase_units._e
    assert pytest.approx(planck * 1e12, rel=1e-6) == THZ_TO_EV
