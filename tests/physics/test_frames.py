"""Frames refuse what cannot be fitted, and get signs right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.errors import ConfigurationError
from mlipdb.physics.frames import Frame, frame_elements


def make(**changes: Any) -> Frame:
    arguments: dict[str, Any] = {
        "configuration_id": "a-1",
        "numbers": [14, 8],
        "cell": np.diag([3.0, 4.0, 5.0]),
        "positions": [[0.0, 0.0, 0.0], [1.5, 0.1, 0.2]],
        "energy": -1.5,
        "forces": [[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]],
        "config_type": "rattled",
    }
    return Frame(**{**arguments, **changes})


def test_properties() -> None:
    frame = make(stress=[-0.01, -0.02, -0.03, 0.001, 0.002, 0.003])
    assert frame.n_atoms == 2
    assert frame.volume == pytest.approx(60.0)
    assert frame.symbols == ["Si", "O"]
    assert frame.virial is not None
    expected = -60 * np.array([[-0.01, 0.003, 0.002], [0.003, -0.02, 0.001], [0.002, 0.001, -0.03]])
    np.testing.assert_allclose(frame.virial, expected)
    assert not frame.is_isolated_atom
    assert frame_elements([frame]) == ["O", "Si"]


def test_atoms_carry_no_labels() -> None:
    atoms = make().to_atoms()
    assert atoms.calc is None
    assert atoms.info == {}
    assert set(atoms.arrays) == {"numbers", "positions"}
    assert atoms.pbc.all()


def test_left_handed_cell_has_a_positive_volume() -> None:
    frame = make(cell=np.diag([3.0, 4.0, -5.0]), stress=[-0.01] * 3 + [0.0] * 3)
    assert frame.volume == pytest.approx(60.0)
    assert frame.virial is not None
    assert np.trace(frame.virial) > 0


def test_arrays_are_copies_that_cannot_be_written() -> None:
    forces = np.zeros((2, 3))
    frame = make(forces=forces)
    forces[0, 0] = 7.0
    assert frame.forces[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        frame.forces[0, 0] = 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"forces": [[np.nan, 0, 0], [0, 0, 0]]}, "not_finite"),
        ({"energy": float("inf")}, "not_finite"),
        ({"stress": [np.nan] * 6}, "not_finite"),
        ({"forces": [[0.0, 0.0, 0.0]]}, "bad_shape"),
        ({"stress": [0.0] * 9}, "bad_shape"),
        ({"pbc": (True, True)}, "bad_shape"),
        ({"numbers": [], "positions": np.empty((0, 3)), "forces": np.empty((0, 3))}, "bad_shape"),
        ({"numbers": [14, 0]}, "bad_element"),
        ({"numbers": [14, 119]}, "bad_element"),
        ({"cell": np.zeros((3, 3))}, "bad_cell"),
        ({"config_type": "two words"}, "bad_name"),
        ({"config_type": "T"}, "bad_name"),
        ({"config_type": "1e5"}, "bad_name"),
        ({"config_type": 'a"b'}, "bad_name"),
        ({"configuration_id": "a b"}, "bad_name"),
        ({"configuration_id": ""}, "bad_name"),
        ({"energy_sigma": 0.0}, "bad_sigma"),
        ({"virial_sigma": -1.0}, "bad_sigma"),
        ({"force_sigmas": [0.1, 0.0]}, "bad_sigma"),
    ],
)
def test_unusable_frames_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**changes)
    assert caught.value.reason == reason


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.8, 1.2), seed=st.integers(0, 1000))
def test_virial_is_minus_the_strain_derivative_of_the_energy(scale: float, seed: int) -> None:
    """A compressed cell has a positive virial, whatever potential it comes from."""
    atoms = bulk("Cu", cubic=True)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.03, size=(4, 3))
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    atoms.calc = EMT()
    frame = make(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(),
    )

    def energy(strain: float) -> float:
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        strained.calc = atoms.calc
        return float(strained.get_potential_energy())

    step = 1e-5
    slope = (energy(step) - energy(-step)) / (2 * step)
    assert frame.virial is not None
    assert np.trace(frame.virial) == pytest.approx(-slope, rel=1e-4, abs=1e-4)
    if scale < 0.93:
        assert np.trace(frame.virial) > 0
