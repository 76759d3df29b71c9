"""The shipped silicon data as frames, and small GAP fits shared by the tests of a session."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame

_TASKS = Path(__file__).resolve().parents[2] / "mlipdb" / "data" / "si_dft" / "tasks.jsonl.gz"
SMALL_SOAP: dict[str, Any] = {"n_sparse": 20, "l_max": 3, "n_max": 4, "cutoff": 4.5}


def _frame(task: dict[str, Any]) -> Frame:
    sites = task["structure"]["sites"]
    config_type = {"isolated_atom": "isolated_atom", "rattled": "rattled", "relax": "bulk"}
    return Frame(
        configuration_id=task["task_id"],
        numbers=np.full(len(sites), 14),
        cell=np.array(task["structure"]["lattice"]["matrix"]),
        positions=np.array([site["xyz"] for site in sites]),
        energy=task["energy"],
        forces=np.array(task["forces"]),
        stress=None if task["stress"] is None else np.array(task["stress"]),
        config_type=config_type.get(task["calc_type"], "single_displacement"),
    )


@pytest.fixture(scope="session")
def silicon_frames() -> list[Frame]:
    """All shipped silicon configurations."""
    with gzip.open(_TASKS, "rt") as lines:
        return [_frame(json.loads(line)) for line in lines]


@pytest.fixture(scope="session")
def small_frames(silicon_frames: list[Frame]) -> list[Frame]:
    """The atom, four rattled cells of 12 or 16 atoms and two relaxed cells of 8."""
    atom = [frame for frame in silicon_frames if frame.is_isolated_atom]
    rattled = [f for f in silicon_frames if f.config_type == "rattled" and f.n_atoms <= 16][:4]
    relaxed = [f for f in silicon_frames if f.config_type == "bulk" and f.n_atoms <= 8][:2]
    return [*atom, *rattled, *relaxed]


def fit_input(frames: list[Frame]) -> FitInput:
    energies = {frame.symbols[0]: frame.energy for frame in frames if frame.is_isolated_atom}
    return FitInput(extxyz=write_extxyz(frames), frames=frames, isolated_atom_energies=energies)


@pytest.fixture(scope="session")
def make_input() -> Callable[[list[Frame]], FitInput]:
    return fit_input


@pytest.fixture(scope="session")
def small_input(small_frames: list[Frame]) -> FitInput:
    return fit_input(small_frames)


@pytest.fixture(scope="session")
def small_hyperparameters() -> GapHyperparameters:
    return GapHyperparameters.model_validate({"soap": SMALL_SOAP})


@pytest.fixture(scope="session")
def small_fit(
    tmp_path_factory: pytest.TempPathFactory, small_input: FitInput, small_hyperparameters: GapHyperparameters
) -> tuple[Path, FitResult]:
    """One fit that most tests look at: its directory and result."""
    directory = tmp_path_factory.mktemp("small_fit")
    return directory, GAP().fit(small_input, small_hyperparameters, directory)
