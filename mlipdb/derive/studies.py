"""All potentials of a hyperparameter study, from one pass over its training set."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlipdb.derive import Built
from mlipdb.derive.potentials import document_of, file_bytes
from mlipdb.errors import FitError
from mlipdb.frameworks import get_framework
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.gap_grid import StudyOptions, load_potentials, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.extxyz import read_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import Prediction, parity_errors
from mlipdb.schemas.potential import Potential
from mlipdb.schemas.training_set import TrainingSet
from mlipdb.work_progress import report_progress

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["study_of"]

Raw = dict[str, Any]

#: One in so many potentials is loaded by quippy and compared with the study's own predictions.
SPOT_CHECK = 10
#: Times that each n_sparse of a study is measured.
TIMING_ROUNDS = 3
#: Largest difference allowed between the two, eV/Angstrom and eV/atom.
SPOT_TOLERANCE = 1e-7


def study_of(
    stubs: list[Potential],
    training_set: TrainingSet,
    train: bytes,
    test: bytes | None,
    directory: Path,
    *,
    processes: int,
    memory_mb: float,
    train_errors: bool = True,
    sparse_from: Literal["any", "every"] = "any",
) -> list[Built]:
    """Fit and test every point of a study.

    Parameters
    ----------
    stubs
        One document for each point, with key, hyperparameters and what the study adds to the key.
    training_set
        The frozen training set.
    train, test
        Its extxyz files, byte for byte.
    directory
        Where the study keeps its sums: a study that was ended goes on from there.
    processes
        Worker processes and BLAS threads.
    memory_mb
        Memory it may use, 1e6 bytes.
    train_errors
        Evaluate the training side too.
    sparse_from
        The policy for environments of config types that only some points fit, to be recorded; the keys hold what it
        gave.

    Raises
    ------
    FitError
        If the study cannot be solved, or a stored potential does not predict what the study does.
    """
    points = [GapHyperparameters.model_validate(stub.hyperparameters) for stub in stubs]
    frames = {"train": read_extxyz(train), "test": read_extxyz(test) if test is not None else []}
    data = FitInput(train, frames["train"], training_set.isolated_atom_energies)
    directory.mkdir(parents=True, exist_ok=True)
    # Points of the grid that are fitted already may be missing here, so that the key says which environments count.
    named = (stubs[0].study or {}).get("sparse_config_types")
    eligible = {frame.config_type for frame in frames["train"]} if named is None else set(named)
    options = StudyOptions(
        processes=processes,
        threads=processes,
        memory_mb=memory_mb,
        sparse_from=sparse_from,
        sparse_config_types=frozenset(eligible),
    )
    result = run_study(data, points, directory, options=options, progress=report_progress)
    potentials = load_potentials(directory, [fit.details["study_file"] for fit in result.fits])
    sides = [side for side in (("train", "test") if train_errors else ("test",)) if frames[side]]
    predicted = {
        side: potentials.predict(frames[side], processes=processes, progress=partial(report_progress, f"{side} errors"))
        for side in sides
    }
    checked = frames["test"][:2] or frames["train"][-2:]
    expected = potentials.predict(checked)
    numbers = range(0, len(stubs), SPOT_CHECK)
    for done, number in enumerate(numbers):
        report_progress("spot check", done, len(numbers))
        _spot_check(result.fits[number], checked, expected[number], stubs[number].potential_id)
    costs = _evaluation_times(points, result.fits, [*frames["train"], *frames["test"]])
    built = []
    for number, (stub, fit, point) in enumerate(zip(stubs, result.fits, points, strict=True)):
        errors = {side: parity_errors(frames[side], predicted[side][number]) for side in sides}
        files = file_bytes(fit)
        document = document_of(stub, training_set, point, fit, files, errors, costs[_size(point)])
        built.append(Built(document, files=files))
    return built


def _size(point: GapHyperparameters) -> int:
    """Sparse points of the SOAP, the only descriptor in a study."""
    assert point.soap is not None
    assert isinstance(point.soap.n_sparse, int)
    return point.soap.n_sparse


def _evaluation_times(points: list[GapHyperparameters], fits: list[FitResult], frames: list[Frame]) -> dict[int, float]:
    """CPU ms per atom for each n_sparse: potentials that share descriptors and sparse points cost the same."""
    from mlipdb.frameworks.evaluation_time import evaluation_time

    measured = {_size(point): fit for point, fit in zip(points, fits, strict=True)}
    costs: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="mlipdb-time-") as folder:
        calculators = {}
        for size, fit in sorted(measured.items()):
            own = Path(folder) / str(size)
            own.mkdir()
            calculators[size] = _loaded(fit, own)
        # In turns, so that a while in which the machine is busy does not fall on one size alone.
        for done in range(TIMING_ROUNDS):
            report_progress("evaluation time", done, TIMING_ROUNDS)
            for size, calculator in calculators.items():
                cost = evaluation_time(calculator, frames, repeats=1)
                costs[size] = min(cost, costs.get(size, cost))
    return costs


def _loaded(fit: FitResult, folder: Path) -> Calculator:
    """The calculator that users get, from files written into a folder."""
    for file, content in file_bytes(fit).items():
        (folder / file).write_bytes(content)
    return get_framework("gap").calculator(folder, fit.main_file)


def _spot_check(fit: FitResult, frames: list[Frame], expected: list[Prediction], name: str) -> None:
    """Load a potential as users will, and compare."""
    from mlipdb.frameworks.evaluate import evaluate

    with tempfile.TemporaryDirectory(prefix="mlipdb-check-") as folder:
        found = evaluate(_loaded(fit, Path(folder)), frames)
    for frame, ours, theirs in zip(frames, expected, found, strict=True):
        energy = abs(ours.energy - theirs.energy) / frame.n_atoms
        force = float(np.abs(ours.forces - theirs.forces).max())
        if not max(energy, force) <= SPOT_TOLERANCE:
            raise FitError(
                f"potential {name} as quippy loads it differs from the study by {energy:.1e} eV/atom and {force:.1e} "
                f"eV/Angstrom on {frame.configuration_id}; at most {SPOT_TOLERANCE:g} is right",
                reason="disagreement",
            )
