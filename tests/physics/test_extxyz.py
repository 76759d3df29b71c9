"""The training-set file: exact round trip, readable by ASE, nothing dropped in silence."""

from __future__ import annotations

import io
from typing import Any

import ase.io
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlipdb.errors import DataError
from mlipdb.physics.extxyz import read_extxyz, write_extxyz
from mlipdb.physics.frames import Frame

NUMBER = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)
SIGMA = st.floats(1e-8, 1e3)


def assert_same(one: Frame, two: Frame) -> None:
    for name in Frame.__dataclass_fields__:
        first, second = getattr(one, name), getattr(two, name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second, name


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    n = draw(st.integers(1, 4))
    cell = draw(arrays(float, (3, 3), elements=st.floats(-20, 20)))
    assume(abs(np.linalg.det(cell)) > 1e-3)
    return Frame(
        configuration_id=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,20}", fullmatch=True)),
        numbers=draw(arrays(int, n, elements=st.integers(1, 118))),
        cell=cell,
        positions=draw(arrays(float, (n, 3), elements=NUMBER)),
        pbc=draw(st.tuples(st.booleans(), st.booleans(), st.booleans())),
        energy=draw(NUMBER),
        forces=draw(arrays(float, (n, 3), elements=NUMBER)),
        stress=draw(st.none() | arrays(float, 6, elements=st.floats(-10, 10))),
        config_type=draw(st.sampled_from(["isolated_atom", "rattled", "single_displacement"])),
        energy_sigma=draw(st.none() | SIGMA),
        force_sigmas=draw(st.none() | arrays(float, n, elements=SIGMA)),
        virial_sigma=draw(st.none() | SIGMA),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=3))
def test_round_trip_is_exact(given_frames: list[Frame]) -> None:
    data = write_extxyz(given_frames)
    again = read_extxyz(data)
    assert len(again) == len(given_frames)
    for one, two in zip(given_frames, again, strict=True):
        assert_same(one, two)
    assert write_extxyz(again) == data


@settings(max_examples=25, deadline=None)
@given(frames())
def test_ase_reads_the_same_numbers(frame: Frame) -> None:
    atoms = ase.io.read(io.StringIO(write_extxyz([frame]).decode()), format="extxyz")
    np.testing.assert_array_equal(atoms.numbers, frame.numbers)
    np.testing.assert_array_equal(atoms.positions, frame.positions)
    np.testing.assert_array_equal(atoms.cell.array, frame.cell)
    np.testing.assert_array_equal(atoms.arrays["REF_forces"], frame.forces)
    assert atoms.info["REF_energy"] == frame.energy
    assert tuple(atoms.pbc) == frame.pbc
    assert atoms.calc is None
    assert atoms.info["config_type"] == frame.config_type
    if frame.virial is not None:
        # ASE turns nine numbers into a matrix, column by column; the virial is symmetric.
        np.testing.assert_array_equal(np.asarray(atoms.info["REF_virial"]).reshape(3, 3), frame.virial)
    if frame.energy_sigma is not None:
        assert atoms.info["energy_sigma"] == pytest.approx(frame.energy_sigma * np.sqrt(frame.n_atoms))
    if frame.force_sigmas is not None:
        np.testing.assert_array_equal(atoms.arrays["force_atom_sigma"], frame.force_sigmas)


def example(**changes: Any) -> Frame:
    arguments: dict[str, Any] = {
        "configuration_id": "si-1",
        "numbers": [14, 14],
        "cell": 5.0 * np.eye(3),
        "positions": [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]],
        "energy": -3.0,
        "forces": np.zeros((2, 3)),
        "stress": [0.01, 0.01, 0.01, 0.0, 0.0, 0.0],
        "config_type": "rattled",
        "energy_sigma": 0.001,
    }
    return Frame(**{**arguments, **changes})


def test_virial_is_nine_plain_numbers_and_no_bare_stress_or_energy_key() -> None:
    text = write_extxyz([example()]).decode()
    comment = text.splitlines()[1]
    assert "\r" not in text
    assert "_JSON" not in text
    assert 'REF_virial="-1.25 -0.0 -0.0 -0.0 -1.25 -0.0 -0.0 -0.0 -1.25"' in comment
    assert " stress=" not in comment
    assert " energy=" not in comment


def test_energy_sigma_is_written_for_the_whole_configuration() -> None:
    comment = write_extxyz([example()]).decode().splitlines()[1]
    assert f"energy_sigma={float(0.001 * np.sqrt(2))!r} energy_sigma_per_atom=0.001" in comment


GOOD = write_extxyz([example(), example(configuration_id="si-2")])


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-1],
        GOOD[:-30],
        GOOD[: GOOD.index(b"\n") + 1],
        b"\xff" + GOOD,
        b"three\n" + GOOD,
        b"0\n\n",
        GOOD.replace(b"Si 0.0", b"Xx 0.0"),
        GOOD.replace(b"Si 0.0", b"Si 0.0 9.0"),
        GOOD.replace(b"REF_energy=-3.0", b"REF_energy=low"),
        GOOD.replace(b"REF_energy=-3.0", b"REF_energy=nan"),
        GOOD.replace(b"REF_energy=-3.0 ", b""),
        GOOD.replace(b"REF_energy", b"energy"),
        GOOD.replace(b"pbc=", b"extra=1 pbc="),
        GOOD.replace(b'pbc="T T T"', b'pbc="T T"'),
        GOOD.replace(b'"-1.25 ', b'"-1.26 '),
        GOOD.replace(b'"-1.25 ', b'"'),
        GOOD.replace(b"energy_sigma_per_atom=0.001", b"energy_sigma_per_atom=0.002"),
        GOOD.replace(b" energy_sigma_per_atom=0.001", b""),
        GOOD.replace(b"REF_forces:R:3", b"forces:R:3"),
        GOOD.replace(b"Lattice=", b"Lattice"),
    ],
)
def test_damaged_files_are_refused(data: bytes) -> None:
    assert data != GOOD
    with pytest.raises(DataError):
        read_extxyz(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3))
def test_any_damage_gives_frames_or_an_error_of_ours(position: int, replacement: bytes) -> None:
    data = GOOD[:position] + replacement + GOOD[position + 2 :]
    try:
        again = read_extxyz(data)
    except DataError:
        return
    assert all(isinstance(frame, Frame) for frame in again)
