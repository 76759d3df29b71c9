"""Subsets of config types and replaced sigmas: what gap_fit reads, and that both engines fit the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_grid import StudyOptions, StudyResult, load_potentials, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.frameworks.gap_training import check_config_types, fitted_frames, training_bytes, without_own_sigmas
from mlipdb.frameworks.gap_xml import check_files
from mlipdb.physics.extxyz import read_extxyz, write_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.physics.sigmas import atomwise_force_sigmas

SOAP: dict[str, Any] = {"n_sparse": 25, "l_max": 3, "n_max": 4, "cutoff": 4.5}
SIGMAS = {"energy": 0.003, "force": 0.08, "virial": 0.03}
MakeInput = Callable[[list[Frame]], FitInput]


def gap(**content: Any) -> GapHyperparameters:
    return GapHyperparameters.model_validate({"soap": SOAP, **content})


@pytest.fixture(scope="module")
def weighted(small_frames: list[Frame]) -> list[Frame]:
    """A training set as mlipdb writes it: all configurations bring all sigmas, the atom too."""
    dense = small_frames[-1]
    strained = replace(
        dense,
        configuration_id="compressed",
        cell=dense.cell * 0.95,
        positions=dense.positions * 0.95,
        config_type="strained",
    )
    return [
        replace(
            frame,
            energy_sigma=0.0001 if frame.is_isolated_atom else 0.001,
            force_sigmas=atomwise_force_sigmas(frame.forces, 0.1, 0.1),
            virial_sigma=None if frame.stress is None else 0.05,
        )
        for frame in [*small_frames, strained]
    ]


@pytest.fixture(scope="module")
def data(weighted: list[Frame], make_input: MakeInput) -> FitInput:
    return make_input(weighted)


def fitted_bytes(data: FitInput, settings: GapHyperparameters) -> bytes:
    return training_bytes(data, fitted_frames(data.frames, settings), settings)[0]


def test_bytes_are_those_of_the_training_set_where_nothing_changes_them(data: FitInput) -> None:
    assert fitted_bytes(data, gap()) is data.extxyz
    assert fitted_bytes(data, gap(sigmas=SIGMAS)) is data.extxyz


def test_a_subset_keeps_isolated_atoms_and_what_configurations_bring(data: FitInput, weighted: list[Frame]) -> None:
    kept = [frame for frame in weighted if frame.config_type in ("isolated_atom", "strained", "bulk")]
    assert 0 < len(kept) < len(weighted)
    assert fitted_bytes(data, gap(config_types=["strained", "bulk"])) == write_extxyz(kept)


def test_replaced_sigmas(data: FitInput, weighted: list[Frame]) -> None:
    bare = [replace(frame, energy_sigma=None, force_sigmas=None, virial_sigma=None) for frame in weighted]
    assert weighted[0].is_isolated_atom
    bare[0] = replace(bare[0], energy_sigma=0.0001)
    assert write_extxyz(without_own_sigmas(weighted)) == write_extxyz(bare)
    assert fitted_bytes(data, gap(own_sigmas="replace", sigmas=SIGMAS)) == write_extxyz(bare)
    # f applies to all but isolated atoms, whose column would say that it applies to them alone.
    for old, new in zip(bare, read_extxyz(fitted_bytes(data, gap(own_sigmas="replace", f=0.2))), strict=True):
        if old.is_isolated_atom:
            assert new.force_sigmas is None
        else:
            np.testing.assert_array_equal(new.force_sigmas, atomwise_force_sigmas(old.forces, 0.2, 0.01))


def test_config_types_that_are_not_there(data: FitInput, weighted: list[Frame], tmp_path: Path) -> None:
    said = r"no configurations of type single_displacement; it has bulk, isolated_atom, rattled, strained"
    missing = gap(config_types=["bulk", "single_displacement"])
    with pytest.raises(FitError, match=said) as caught:
        GAP().fit(data, missing, tmp_path)
    assert caught.value.reason == "unknown_config_type"
    with pytest.raises(FitError, match=said):
        run_study(data, [gap(), missing], tmp_path, options=StudyOptions(1, 1))
    check_config_types({"bulk", "isolated_atom"}, weighted[1:])
    with pytest.raises(FitError, match="none named"):
        check_config_types([], weighted)


# Sigmas by default and those brought along, f and a flat force sigma, all and some config types.
POINTS: dict[str, list[dict[str, Any]]] = {
    "keep": [
        {},
        {"config_types": ["rattled"]},
        {"config_types": ["bulk", "strained"], "f": 0.3, "floor": 0.05},
    ],
    "replace": [
        {"sigmas": SIGMAS},
        {"sigmas": {**SIGMAS, "energy": 0.0005}, "config_types": ["bulk", "rattled"]},
        {"sigmas": SIGMAS, "f": 0.2, "floor": 0.02},
        {"sigmas": {**SIGMAS, "virial": 0.2}, "f": 0.05, "config_types": ["rattled", "strained"]},
    ],
}


@pytest.fixture(scope="module")
def held_out(silicon_frames: list[Frame]) -> list[Frame]:
    rattled = [frame for frame in silicon_frames if frame.config_type == "rattled" and frame.n_atoms <= 24][4:6]
    return [*rattled, *(frame for frame in silicon_frames if frame.is_isolated_atom)]


@pytest.fixture(scope="module")
def studies(
    tmp_path_factory: pytest.TempPathFactory, data: FitInput
) -> dict[str, tuple[Path, list[GapHyperparameters], StudyResult]]:
    found = {}
    for own, contents in POINTS.items():
        directory = tmp_path_factory.mktemp(own)
        points = [gap(own_sigmas=own, **content) for content in contents]
        found[own] = directory, points, run_study(data, points, directory, options=StudyOptions(1, 1))
    return found


def by_gap_fit(data: FitInput, settings: GapHyperparameters, study_file: Path, directory: Path) -> FitResult:
    """The whole way of a single fit, but with the sparse points of a study."""
    (term,) = check_files(study_file.parent, study_file.name)[0].terms
    assert term.side_file is not None
    dimensions = int(term.attributes["dimensions"])
    points = np.loadtxt(study_file.parent / term.side_file).reshape(-1, dimensions)[: term.n_sparse]
    np.savetxt(directory / "points.dat", np.column_stack([np.ones(len(points)), points]).ravel(), fmt="%.20e")
    soap = {**SOAP, "sparse_method": "file", "options": {"sparse_file": "points.dat"}}
    content = {**settings.model_dump(mode="json"), "soap": soap}
    return GAP().fit(data, GapHyperparameters.model_validate(content), directory)


@pytest.mark.parametrize(
    ("own", "index"), [(own, index) for own, points in POINTS.items() for index in range(len(points))]
)
def test_both_engines_fit_the_same(
    studies: dict[str, tuple[Path, list[GapHyperparameters], StudyResult]],
    data: FitInput,
    held_out: list[Frame],
    tmp_path: Path,
    own: str,
    index: int,
) -> None:
    directory, points, result = studies[own]
    details = result.fits[index].details
    reference = by_gap_fit(data, points[index], directory / details["study_file"], tmp_path)
    assert reference.details["n_targets"] == details["n_targets"]
    predicted = load_potentials(directory, [details["study_file"]]).predict(held_out)[0]
    expected = evaluate(GAP().calculator(tmp_path, "gap.xml", trust=True), held_out)
    for frame, one, other in zip(held_out, predicted, expected, strict=True):
        assert abs(one.energy - other.energy) / frame.n_atoms < 1e-8
        assert np.max(np.abs(one.forces - other.forces)) < 1e-7


def test_points_of_a_study_differ_and_say_what_they_were_fitted_to(
    studies: dict[str, tuple[Path, list[GapHyperparameters], StudyResult]], held_out: list[Frame], weighted: list[Frame]
) -> None:
    for directory, points, result in studies.values():
        files = [fit.details["study_file"] for fit in result.fits]
        forces = [predicted[0].forces for predicted in load_potentials(directory, files).predict(held_out[:1])]
        assert all(np.max(np.abs(one - other)) > 1e-4 for place, one in enumerate(forces) for other in forces[:place])
        for point, fit in zip(points, result.fits, strict=True):
            wanted = None if point.config_types is None else ["isolated_atom", *point.config_types]
            assert fit.details["config_types"] == (None if wanted is None else sorted(wanted))
            chosen = [frame for frame in weighted if wanted is None or frame.config_type in wanted]
            assert fit.details["n_targets"]["energies"] == len(chosen)
            assert fit.details["study"]["sparse_from"] == "any"
            assert fit.details["study"]["sparse_config_types"] == ["bulk", "isolated_atom", "rattled", "strained"]


def test_which_environments_a_study_draws_from(data: FitInput, tmp_path: Path) -> None:
    def sources(points: list[GapHyperparameters], **options: Any) -> list[str]:
        result = run_study(data, points, tmp_path, options=StudyOptions(1, 1, **options))
        types: list[str] = result.fits[0].details["study"]["sparse_config_types"]
        return types

    subsets = [gap(soap={**SOAP, "n_sparse": 10}, config_types=types) for types in (["bulk", "rattled"], ["rattled"])]
    assert sources(subsets) == ["bulk", "isolated_atom", "rattled"]
    assert sources(subsets, sparse_from="every") == ["isolated_atom", "rattled"]
    assert sources(subsets, sparse_config_types=frozenset({"rattled"})) == ["isolated_atom", "rattled"]
    apart = [gap(config_types=["bulk"]), gap(config_types=["rattled"])]
    with pytest.raises(FitError, match="no config type is fitted by every point"):
        sources(apart, sparse_from="every")
    with pytest.raises(FitError, match=r"n_sparse is 10, but .* type isolated_atom, strained have only 2 distinct"):
        sources(subsets, sparse_config_types=frozenset({"strained"}))
    with pytest.raises(FitError, match="no configurations of type liquid"):
        sources(subsets, sparse_config_types=frozenset({"liquid"}))


@pytest.mark.parametrize(("own", "warned"), [("keep", False), ("replace", True)])
def test_delta_and_all_sigmas_are_one_axis_only_where_no_others_stay(
    data: FitInput, tmp_path: Path, own: str, warned: bool
) -> None:
    points = [
        gap(
            soap={**SOAP, "n_sparse": 10, "delta": scale},
            own_sigmas=own,
            sigmas={name: scale * value for name, value in SIGMAS.items()},
        )
        for scale in (1.0, 2.0)
    ]
    warnings = run_study(data, points, tmp_path, options=StudyOptions(1, 1)).warnings
    assert any("delta and all sigmas together" in warning for warning in warnings) is warned
