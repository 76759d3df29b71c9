"""A potential from a training set and hyperparameters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mlipdb.derive import Built
from mlipdb.frameworks import get_framework
from mlipdb.frameworks.base import FitInput, FitResult, Framework
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.evaluation_time import evaluation_time
from mlipdb.physics.extxyz import read_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import parity_errors
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.potential import FitRecord, Potential
from mlipdb.schemas.training_set import TrainingSet

__all__ = ["document_of", "file_bytes", "potential_key", "potential_of"]

Raw = dict[str, Any]


def potential_key(
    framework: str, training_set_id: str, hyperparameters: Raw, engine: str | None = None, study: Raw | None = None
) -> str:
    """Key of a fitted potential."""
    stub = Potential(
        potential_id="",
        framework=framework,
        training_set_id=training_set_id,
        hyperparameters=hyperparameters,
        engine=engine,
        study=study,
    )
    return make_key("pot", stub.identity())


def potential_of(
    stub: Potential,
    training_set: TrainingSet,
    train: bytes,
    test: bytes | None,
    *,
    timeout: float | None = None,
    train_errors: bool = True,
) -> Built:
    """Fit, load and test one potential.

    Parameters
    ----------
    stub
        The document with its key, framework and hyperparameters.
    training_set
        The frozen training set.
    train, test
        Its extxyz files, byte for byte.
    timeout
        Seconds the fit may take.
    train_errors
        Evaluate the training side too, which takes longer than the test side.

    Raises
    ------
    FitError
        If no usable potential comes out.
    """
    framework = get_framework(stub.framework)
    hyperparameters = framework.Hyperparameters.model_validate(stub.hyperparameters)
    frames = {"train": read_extxyz(train), "test": read_extxyz(test) if test is not None else []}
    data = FitInput(train, frames["train"], training_set.isolated_atom_energies)
    with tempfile.TemporaryDirectory(prefix="mlipdb-fit-") as folder:
        directory = Path(folder)
        result = framework.fit(data, hyperparameters, directory, timeout_s=timeout)
        files = file_bytes(result)
        sides = ["train", "test"] if train_errors else ["test"]
        errors, evaluation_ms = _tested(framework, files, result.main_file, frames, sides)
    document = document_of(stub, training_set, hyperparameters, result, files, errors, evaluation_ms)
    return Built(document, files=files)


def file_bytes(result: FitResult) -> dict[str, bytes]:
    """The files of a fit by the names they must keep."""
    return {
        name: content if isinstance(content, bytes) else Path(content).read_bytes()
        for name, content in result.files.items()
    }


def document_of(
    stub: Potential,
    training_set: TrainingSet,
    hyperparameters: Any,
    result: FitResult,
    files: dict[str, bytes],
    errors: Raw,
    evaluation_ms: float,
) -> Potential:
    """The whole document of a potential that was fitted, tested and timed (CPU ms per atom)."""
    framework = get_framework(stub.framework)
    return stub.model_copy(
        update={
            **_summary(framework, hyperparameters, training_set),
            "files": [ArtifactRef.of(name, content) for name, content in sorted(files.items())],
            "main_file": result.main_file,
            "errors": errors,
            "evaluation_time_ms": evaluation_ms,
            "fit": _record(result),
            "chemsys": training_set.chemsys,
            "elements": training_set.elements,
            "level_id": training_set.level_id,
            "level_label": training_set.level_label,
            "isolated_atom_energies": training_set.isolated_atom_energies,
        }
    )


def _tested(
    framework: Framework, files: dict[str, bytes], main_file: str, frames: dict[str, list[Frame]], sides: list[str]
) -> tuple[Raw, float]:
    """Errors of each side, and the evaluation time, ms per atom."""
    with tempfile.TemporaryDirectory(prefix="mlipdb-test-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # The fit has loaded its own files in a child process just now.
        calculator = framework.calculator(Path(folder), main_file, trust=True)
        # Both sides offer configurations, so that the split does not decide which one is measured.
        evaluation_ms = evaluation_time(calculator, [*frames["train"], *frames["test"]])
        errors = {
            side: parity_errors(frames[side], evaluate(calculator, frames[side])) for side in sides if frames[side]
        }
    return errors, evaluation_ms


def _summary(framework: Framework, hyperparameters: Any, training_set: TrainingSet) -> Raw:
    """The hyperparameters that tables show: n_sparse, delta and f."""
    summary: Raw = dict(framework.summary(hyperparameters))
    regularisation = training_set.recipe.get("force_regularisation") or {}
    if summary.get("f") is None and getattr(hyperparameters, "own_sigmas", "keep") == "keep":
        summary["f"] = regularisation.get("f")
    return {name: summary.get(name) for name in ("n_sparse", "delta", "f")}


def _record(result: FitResult) -> FitRecord:
    return FitRecord(
        command=result.command,
        wall_time_s=result.wall_time_s,
        cpu_time_s=result.cpu_time_s,
        peak_memory_mb=result.peak_memory_mb,
        versions=result.versions,
        details=result.details,
        log_tail=result.log_tail,
    )
