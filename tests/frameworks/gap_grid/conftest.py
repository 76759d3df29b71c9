"""A small silicon study that most tests look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap_grid import StudyOptions, StudyPoint, StudyResult, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.frames import Frame

SMALL = {"l_max": 3, "n_max": 4, "cutoff": 4.5}
MakePoint = Callable[..., StudyPoint]


def _point(
    n_sparse: int = 20,
    delta: float = 1.0,
    config_types: set[str] | None = None,
    soap: dict[str, Any] | None = None,
    **settings: Any,
) -> StudyPoint:
    content = {"soap": {**SMALL, "n_sparse": n_sparse, "delta": delta, **(soap or {})}, **settings}
    types = None if config_types is None else frozenset(config_types)
    return StudyPoint(GapHyperparameters.model_validate(content), config_types=types)


@pytest.fixture(scope="session")
def make_point() -> MakePoint:
    return _point


@pytest.fixture(scope="session")
def study_frames(small_frames: list[Frame]) -> list[Frame]:
    """The atom, four rattled cells, two relaxed ones and a compressed one, whose labels stay as they are."""
    dense = small_frames[2]
    compressed = replace(
        dense,
        configuration_id="compressed",
        cell=dense.cell * 0.93,
        positions=dense.positions * 0.93,
        config_type="strained",
        energy_sigma=0.01,
        virial_sigma=0.1,
    )
    return [*small_frames, compressed]


@pytest.fixture(scope="session")
def held_out(silicon_frames: list[Frame]) -> list[Frame]:
    """Rattled cells that are not fitted, one of them compressed, and the atom."""
    rattled = [f for f in silicon_frames if f.config_type == "rattled" and f.n_atoms <= 24][4:6]
    last = rattled[-1]
    compressed = replace(last, configuration_id="pressed", cell=last.cell * 0.9, positions=last.positions * 0.9)
    return [*rattled, compressed, *(f for f in silicon_frames if f.is_isolated_atom)]


@pytest.fixture(scope="session")
def study_points() -> list[StudyPoint]:
    return [
        _point(20),
        _point(40, delta=3.0, sigmas={"energy": 0.002, "force": 0.1, "virial": 0.02}),
        _point(30, delta=0.3, f=0.1),
        _point(40, delta=2.0, f=0.3, floor=0.5),
        _point(40, f=0.1, config_types={"rattled", "isolated_atom"}),
        _point(25, sparse_jitter=1e-6),
    ]


@pytest.fixture(scope="session")
def study_input(study_frames: list[Frame], make_input: Callable[[list[Frame]], FitInput]) -> FitInput:
    return make_input(study_frames)


@pytest.fixture(scope="session")
def study(
    tmp_path_factory: pytest.TempPathFactory, study_input: FitInput, study_points: list[StudyPoint]
) -> tuple[Path, StudyResult]:
    directory = tmp_path_factory.mktemp("study")
    return directory, run_study(study_input, study_points, directory, options=StudyOptions(processes=1, threads=1))
