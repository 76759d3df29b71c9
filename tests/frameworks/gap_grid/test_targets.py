"""Groups and their sigmas give every row the sigma gap_fit would."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.frameworks.gap_grid import StudyPoint
from mlipdb.frameworks.gap_grid.targets import frame_rows, group_sigma, make_weighting, targets
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.frames import Frame
from mlipdb.physics.sigmas import atomwise_force_sigmas


def make_frame(forces: np.ndarray, name: str = "rattled") -> Frame:
    n_atoms = len(forces)
    return Frame(
        configuration_id=f"frame-{name}",
        numbers=np.full(n_atoms, 14),
        cell=np.eye(3) * 5,
        positions=np.arange(3.0 * n_atoms).reshape(n_atoms, 3) / 7,
        energy=-100.0,
        forces=forces,
        stress=np.array([0.01, -0.02, 0.03, 0.004, 0.005, -0.006]),
        config_type=name,
    )


def make_point(f: float | None, floor: float | None) -> StudyPoint:
    content = {"f": f, "floor": floor, "sigmas": {"energy": 0.002, "force": 0.07, "virial": 0.03}}
    return StudyPoint(GapHyperparameters.model_validate(content))


def row_sigmas(frame: Frame, point: StudyPoint, frames: list[Frame], points: list[StudyPoint]) -> np.ndarray:
    """Sigma of every row; each must be in one group that counts."""
    weighting = make_weighting(frames, points)
    sigmas = np.full(7 + 3 * frame.n_atoms, np.nan)
    for part in frame_rows(frame, weighting):
        sigma = group_sigma(part.group, point, weighting)
        if sigma is not None:
            assert np.all(np.isnan(sigmas[part.rows]))
            sigmas[part.rows] = part.scale * sigma
    return sigmas


FORCES = st.lists(st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.3, 2.0]), min_size=1, max_size=5)
SETTINGS = st.tuples(st.sampled_from([None, 0.05, 0.4]), st.sampled_from([0.01, 0.1, 0.5]))


@settings(deadline=None, max_examples=60)
@given(norms=FORCES, grid=st.lists(SETTINGS, min_size=1, max_size=5), marked=st.booleans(), atom=st.booleans())
def test_every_row_gets_its_sigma_once(
    norms: list[float], grid: list[tuple[float | None, float]], marked: bool, atom: bool
) -> None:
    frame = make_frame(np.array(norms)[:, None] * np.array([[0.6, 0.0, -0.8]]), "isolated_atom" if atom else "rattled")
    other = make_frame(np.array([[0.2, 0.0, 0.0]]), "bulk")
    column = np.linspace(0.01, 0.2, other.n_atoms)
    frames = [frame, replace(other, force_sigmas=column) if marked else other]
    points = [make_point(f, None if f is None else floor) for f, floor in grid]
    n = frame.n_atoms
    for point in points:
        f, floor = point.hyperparameters.f, point.hyperparameters.floor
        expected = np.full(n, 0.07)
        if f is not None and floor is not None and not marked and not atom:
            expected = atomwise_force_sigmas(frame.forces, f, floor)
        found = row_sigmas(frame, point, frames, points)
        np.testing.assert_allclose(found[0], 0.002 * math.sqrt(n))
        np.testing.assert_allclose(found[-6:], 0.03 * math.sqrt(n))
        np.testing.assert_allclose(found[1:-6], np.repeat(expected, 3), rtol=1e-12)
        by_column = row_sigmas(frames[1], point, frames, points)[1:-6]
        if f is not None and floor is not None:
            np.testing.assert_allclose(by_column, np.repeat(atomwise_force_sigmas(frames[1].forces, f, floor), 3))
        else:
            np.testing.assert_allclose(by_column, np.repeat(column, 3) if marked else 0.07)


def test_sigmas_of_a_configuration_are_per_atom() -> None:
    frame = replace(make_frame(np.zeros((4, 3))), energy_sigma=0.01, virial_sigma=0.2)
    found = row_sigmas(frame, make_point(None, None), [frame], [make_point(None, None)])
    np.testing.assert_allclose(found[0], 0.02)
    np.testing.assert_allclose(found[-6:], 0.4)


def test_targets() -> None:
    frame = make_frame(np.arange(6.0).reshape(2, 3))
    y = targets(frame, {14: -40.0})
    assert y[0] == pytest.approx(-20.0)
    np.testing.assert_array_equal(y[1:7], np.arange(6.0))
    # xx yx zx yy zy zz of -V stress, V = 125.
    np.testing.assert_allclose(y[7:], -125 * np.array([0.01, -0.006, 0.005, -0.02, 0.004, 0.03]))
    assert np.all(np.isnan(targets(replace(frame, stress=None), {14: -40.0})[7:]))


def test_groups_of_config_types_that_are_not_fitted() -> None:
    frame = make_frame(np.ones((1, 3)))
    point = replace(make_point(0.1, 0.05), config_types=frozenset({"bulk"}))
    assert np.all(np.isnan(row_sigmas(frame, point, [frame], [point])))
