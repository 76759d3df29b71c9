"""Metrics against direct evaluations of the published formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import wasserstein_distance

from mlipdb.errors import PhononError
from mlipdb.physics.phonon_metrics import (
    dos_error,
    frequency_errors,
    mesh_errors,
    path_errors,
    stability,
    thermal_errors,
    wasserstein_1,
)
from mlipdb.physics.thermal import thermal_properties
from mlipdb.schemas.phonon_data import BandSegment, BandStructure, DensityOfStates, MeshFrequencies

frequencies = hnp.arrays(float, (5, 6), elements=st.floats(-5, 20, allow_subnormal=False))


def test_path_rmse_is_the_published_formula(silicon_phonons: Any) -> None:
    """George et al. 2020: sort at each q, mean over bands and points, root."""
    rng = np.random.default_rng(0)
    reference = silicon_phonons["diamond"].band_structure
    candidate = reference.model_copy(deep=True)
    for segment in candidate.segments:
        shifted = np.array(segment.frequencies) + rng.normal(scale=0.3, size=np.shape(segment.frequencies))
        segment.frequencies = shifted.tolist()
    first = np.concatenate([np.array(s.frequencies) for s in reference.segments])
    second = np.concatenate([np.array(s.frequencies) for s in candidate.segments])
    total, count = 0.0, 0
    for q in range(len(first)):
        for a, b in zip(sorted(first[q]), sorted(second[q]), strict=True):
            total += (a - b) ** 2
            count += 1
    assert abs(path_errors(reference, candidate).rmse - (total / count) ** 0.5) < 1e-10


@given(frequencies, frequencies, hnp.arrays(int, 5, elements=st.integers(1, 48)))
@settings(deadline=None)
def test_weighted_errors(reference: np.ndarray, candidate: np.ndarray, weights: np.ndarray) -> None:
    errors = frequency_errors(reference, candidate, weights)
    # A weight is a multiplicity: writing every point out as often gives the same.
    first = np.repeat(np.sort(reference, axis=1), weights, axis=0)
    second = np.repeat(np.sort(candidate, axis=1), weights, axis=0)
    difference = second - first
    assert errors.rmse == pytest.approx(np.sqrt(np.mean(difference**2)), abs=1e-10)
    assert errors.mae == pytest.approx(np.mean(np.abs(difference)), abs=1e-10)
    assert errors.bias == pytest.approx(np.mean(difference), abs=1e-10)
    assert errors.mean_difference == pytest.approx(errors.bias, abs=1e-10)
    assert errors.max_abs == pytest.approx(np.abs(difference).max())
    assert errors.per_branch_rmse == pytest.approx(np.sqrt(np.mean(difference**2, axis=0)), abs=1e-10)
    assert errors.per_q_rmse == pytest.approx(
        np.sqrt(np.mean((np.sort(candidate, axis=1) - np.sort(reference, axis=1)) ** 2, axis=1)), abs=1e-10
    )
    assert errors.wasserstein_1 == pytest.approx(wasserstein_distance(first.ravel(), second.ravel()), abs=1e-9)
    assert errors.wasserstein_1 <= errors.mae + 1e-9 <= errors.rmse + 2e-9 <= errors.max_abs + 3e-9


@given(frequencies)
@settings(deadline=None)
def test_equal_frequencies_have_no_error(values: np.ndarray) -> None:
    errors = frequency_errors(values, values)
    assert errors.rmse == errors.mae == errors.bias == errors.max_abs == errors.wasserstein_1 == 0.0
    assert errors.max_difference == errors.min_difference == errors.mean_difference == 0.0


def test_wasserstein_of_a_shift_is_the_shift() -> None:
    values = np.random.default_rng(2).uniform(0, 15, size=(20, 6))
    assert wasserstein_1(values, values + 0.3, np.arange(1, 21)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("reference", "candidate", "weights"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), None),
        (np.ones(3), np.ones(3), None),
        (np.ones((2, 3)), np.full((2, 3), np.nan), None),
        (np.ones((2, 3)), np.ones((2, 3)), [1.0]),
        (np.ones((2, 3)), np.ones((2, 3)), [1.0, -1.0]),
    ],
)
def test_what_cannot_be_compared_is_refused(reference: Any, candidate: Any, weights: Any) -> None:
    with pytest.raises(PhononError) as caught:
        frequency_errors(reference, candidate, weights)
    assert caught.value.reason == "bad_frequencies"


def test_different_qpoints_are_refused() -> None:
    one = MeshFrequencies(mesh=[1, 1, 1], qpoints=[[0, 0, 0]], weights=[1], frequencies=[[0, 0, 0]])
    other = one.model_copy(update={"qpoints": [[0.1, 0, 0]]})
    with pytest.raises(PhononError) as caught:
        mesh_errors(one, other)
    assert caught.value.reason == "different_qpoints"


def dos(first: int, values: list[float], step: float = 0.5) -> DensityOfStates:
    return DensityOfStates(frequencies=[(first + k) * step for k in range(len(values))], total=values)


def test_dos_error_on_a_common_grid() -> None:
    reference = dos(0, [0.0, 2.0, 0.0])
    assert dos_error(reference, reference).model_dump() == {"mae": 0.0, "rmse": 0.0, "relative": 0.0}
    disjoint = dos_error(reference, dos(10, [0.0, 2.0, 0.0]))
    assert disjoint.relative == pytest.approx(2.0)
    shifted = dos_error(reference, dos(1, [0.0, 2.0, 0.0]))
    assert shifted.mae == pytest.approx(4.0 / 4)
    assert shifted.rmse == pytest.approx(np.sqrt(8.0 / 4))


def test_thermal_errors() -> None:
    first = thermal_properties([[5.0, 6.0, 7.0]], [1], [0.0, 300.0], n_atoms=1, cutoff=0.01)
    second = thermal_properties([[5.5, 6.0, 7.0]], [1], [0.0, 300.0], n_atoms=1, cutoff=0.01)
    errors = thermal_errors(first, second)
    assert errors.zero_point_energy == pytest.approx(0.5 * 0.5 * 4.135667696e-3)
    assert errors.at[1].temperature == 300.0
    assert errors.at[1].free_energy == pytest.approx(second.free_energy[1] - first.free_energy[1])
    assert errors.free_energy_mae == pytest.approx(np.mean([abs(entry.free_energy) for entry in errors.at]))
    assert errors.at[1].entropy < 0 < errors.at[1].free_energy
    other = thermal_properties([[5.0, 6.0, 7.0]], [1], [0.0], n_atoms=1, cutoff=0.01)
    with pytest.raises(PhononError):
        thermal_errors(first, other)


def mesh(gamma: list[float], other: list[float]) -> MeshFrequencies:
    return MeshFrequencies(mesh=[2, 1, 1], qpoints=[[0, 0, 0], [0.5, 0, 0]], weights=[1, 1], frequencies=[gamma, other])


def path(values: list[float]) -> BandStructure:
    segment = BandSegment(
        start="GAMMA",
        end="X",
        qpoints=[[0, 0, 0], [0.25, 0, 0]],
        distances=[0, 0.1],
        frequencies=[[-1.0] * len(values), values],
    )
    return BandStructure(scheme="test", segments=[segment])


def test_stability_separates_acoustic_from_optical_modes() -> None:
    found = stability(mesh([-3.0, -0.02, 0.0, 0.01, 5.0, 6.0], [1.0] * 6), None, threshold=0.1)
    assert found.gamma_acoustic_min == -0.02
    assert found.gamma_optical_min == -3.0
    assert found.path_min is None
    assert not found.stable


@pytest.mark.parametrize(
    ("gamma", "other", "along", "expected"),
    [
        ([-1e-6, 0, 0, 5, 5, 5], [1.0] * 6, [1.0] * 6, (True, True, True)),
        ([-0.05, 0, 0, 5, 5, 5], [1.0] * 6, [1.0] * 6, (True, False, False)),
        ([0, 0, 0, 5, 5, 5], [-0.05] + [1.0] * 5, [1.0] * 6, (True, False, True)),
        ([0, 0, 0, 5, 5, 5], [1.0] * 6, [-0.2] + [1.0] * 5, (False, True, False)),
        ([0, 0, 0, 5, 5, 5], [-2.0] + [1.0] * 5, [1.0] * 6, (False, False, True)),
    ],
)
def test_published_definitions(gamma: Any, other: Any, along: Any, expected: tuple[bool, bool, bool]) -> None:
    found = stability(mesh(gamma, other), path(along), threshold=0.1)
    assert (found.stable, found.stable_matbench_discovery, found.stable_pymatgen) == expected
    assert found.path_min == min(along)


def test_stability_needs_gamma() -> None:
    shifted = MeshFrequencies(mesh=[1, 1, 1], qpoints=[[0.5, 0, 0]], weights=[1], frequencies=[[1, 1, 1]])
    with pytest.raises(PhononError) as caught:
        stability(shifted, None, threshold=0.1)
    assert caught.value.reason == "no_gamma"
