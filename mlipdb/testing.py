"""Public checks that a calculator or framework keeps the physics and the contract.

For authors of frameworks: one call in a test of theirs is enough::

    from mlipdb.testing import check_framework

    def test_my_framework(tmp_path):
        check_framework(MyFramework(), {"size": "small"}, fit_input, tmp_path)

Nothing else in mlipdb imports this module.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import FrameworkError
from mlipdb.frameworks.base import FitInput, FitResult, Framework
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.units import matrix_to_voigt, voigt_to_matrix

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from pydantic import BaseModel

__all__ = ["Tolerances", "check_calculator", "check_framework"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerances:
    """Largest deviations that are let pass.

    Parameters
    ----------
    energy
        eV/atom, between equivalent structures.
    force
        eV/Angstrom, relative to the largest force where that is above 1 eV/Angstrom.
    stress
        eV/Angstrom^3.
    displacement
        Step of the finite differences of positions, Angstrom.
    strain
        Step of the finite differences of strain.
    """

    energy: float = 1e-6
    force: float = 1e-4
    stress: float = 1e-5
    displacement: float = 5e-4
    strain: float = 1e-4


@dataclass(frozen=True)
class _Results:
    energy: float
    forces: Array
    stress: Array | None


def check_calculator(
    calculator: Calculator,
    atoms: Atoms,
    *,
    tolerances: Tolerances | None = None,
    rattle: float = 0.05,
    seed: int = 0,
    pickling: bool = True,
) -> dict[str, float]:
    """Check that a calculator is a potential energy surface with the right symmetries.

    Forces are compared with finite differences of the energy, the stress with derivatives by
    strain (where the structure is periodic and the calculator has a stress); energy, forces and
    stress must follow rotation, translation and permutation of the atoms; a pickled and a
    deep-copied calculator must give the same numbers.

    Parameters
    ----------
    calculator
        Any ASE calculator.
    atoms
        A structure of elements it knows; it is copied and rattled, since forces that vanish by
        symmetry prove nothing.
    tolerances
        Largest deviations.
    rattle
        Standard deviation of the random displacement of each coordinate, Angstrom.
    seed
        Of the random displacements and directions.
    pickling
        Whether to pickle and copy the calculator too.

    Returns
    -------
    dict
        The largest deviation of each check, in the units of `Tolerances`.

    Raises
    ------
    FrameworkError
        ``reason="conformance"``: what failed, and by how much.
    """
    limits = tolerances or Tolerances()
    rng = np.random.default_rng(seed)
    structure = atoms.copy()
    structure.calc = None
    structure.set_constraint()
    structure.positions += rng.normal(scale=rattle, size=structure.positions.shape)
    reference = _evaluate(calculator, structure)
    largest = float(np.max(np.abs(reference.forces)))
    report = {"forces": _force_deviation(calculator, structure, reference, limits, rng)}
    if reference.stress is not None:
        report["stress"] = _stress_deviation(calculator, structure, reference, limits)
    scale = limits.force * max(1.0, largest)
    _require("the forces are not -dE/dx", report["forces"], scale)
    _require("the stress is not dE/dstrain / V", report.get("stress", 0.0), limits.stress)
    transformed = {
        "translation": _translated(structure, reference, rng),
        "rotation": _rotated(structure, reference, rng),
        "permutation": _permuted(structure, reference, rng),
    }
    for name, (moved, expected) in transformed.items():
        _compare(f"under {name}", _evaluate(calculator, moved), expected, limits, scale, report, name)
    if pickling:
        for name, duplicate in _duplicates(calculator).items():
            _compare(
                f"of a {name} calculator",
                _evaluate(duplicate, structure),
                reference,
                limits,
                scale,
                report,
                name,
            )
    return report


def check_framework(
    framework: Framework,
    hyperparameters: BaseModel | Mapping[str, Any],
    fit_input: FitInput,
    directory: Path,
    *,
    tolerances: Tolerances | None = None,
    timeout_s: float | None = None,
) -> dict[str, float]:
    """Check a framework from hyperparameters to copied files, by one small fit.

    Parameters
    ----------
    framework
        The framework.
    hyperparameters
        For a small fit: its ``Hyperparameters``, or what they are made from.
    fit_input
        A small training set with at least one periodic configuration.
    directory
        An existing, empty directory.
    tolerances
        Largest deviations, as for `check_calculator`.
    timeout_s
        Time limit of the fit.

    Returns
    -------
    dict
        As `check_calculator`, and ``round_trip``: the largest deviation of predictions after the
        files were copied elsewhere (eV, eV/Angstrom or eV/Angstrom^3).

    Raises
    ------
    FrameworkError
        What failed, and by how much.
    """
    if not isinstance(framework, Framework):
        raise _failure(
            f"{type(framework).__name__} lacks name, Hyperparameters, grid_aliases, summary, fit or calculator"
        )
    settings = _check_hyperparameters(framework, hyperparameters)
    fitted = directory / "fit"
    fitted.mkdir()
    result = framework.fit(fit_input, settings, fitted, timeout_s=timeout_s)
    _check_result(result, directory)
    original, copied, damaged = (_lay_out(result, directory / name) for name in ("one", "two", "three"))
    calculator = framework.calculator(original, result.main_file)
    frames = [frame for frame in fit_input.frames if not frame.is_isolated_atom and all(frame.pbc)]
    if not frames:
        raise _failure("the fit input holds no periodic configuration to check the potential with")
    smallest = min(frames, key=lambda frame: frame.n_atoms)
    report = check_calculator(calculator, smallest.to_atoms(), tolerances=tolerances)
    before = evaluate(calculator, [smallest])[0]
    after = evaluate(framework.calculator(copied, result.main_file), [smallest])[0]
    deviations = [np.max(np.abs(before.forces - after.forces)), abs(before.energy - after.energy)]
    report["round_trip"] = float(max(deviations))
    _require("copied files give other predictions", report["round_trip"], 1e-9)
    _check_missing_main_file(framework, damaged, result.main_file)
    return report


def _check_hyperparameters(framework: Framework, given: BaseModel | Mapping[str, Any]) -> BaseModel:
    model = framework.Hyperparameters
    settings = model.model_validate(dict(given)) if isinstance(given, Mapping) else given
    dumped = settings.model_dump(mode="json")
    again = model.model_validate(json.loads(json.dumps(dumped))).model_dump(mode="json")
    if json.dumps(dumped, sort_keys=True) != json.dumps(again, sort_keys=True):
        raise _failure("the hyperparameters change when they are dumped and read again, so no key can be made")
    unknown = {**dumped, "no_such_hyperparameter": 1}
    try:
        model.model_validate(unknown)
    except ValueError:
        return settings
    raise _failure("an unknown hyperparameter is accepted without a word")


def _check_result(result: FitResult, directory: Path) -> None:
    if result.main_file not in result.files:
        raise _failure(f"main_file {result.main_file!r} is not among the files {sorted(result.files)}")
    for name in result.files:
        if Path(name).name != name:
            raise _failure(f"the file name {name!r} holds a path")
    if not result.command or any(str(directory) in word for word in result.command):
        raise _failure("the command is empty or holds a path of this machine")
    json.dumps(result.details)
    json.dumps(result.versions)


def _lay_out(result: FitResult, directory: Path) -> Path:
    directory.mkdir()
    for name, content in result.files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return directory


def _check_missing_main_file(framework: Framework, directory: Path, main_file: str) -> None:
    (directory / main_file).unlink()
    try:
        framework.calculator(directory, main_file)
    except FrameworkError:
        return
    raise _failure("a calculator is made although its main file is missing")


def _evaluate(calculator: Calculator, atoms: Atoms) -> _Results:
    # A fresh copy: results must not depend on what was computed before.
    structure = atoms.copy()
    structure.calc = calculator
    energy = float(structure.get_potential_energy())
    forces = np.array(structure.get_forces(), dtype=float)
    periodic = structure.cell.rank == 3 and bool(structure.pbc.all())
    stress = None
    if periodic and "stress" in calculator.implemented_properties:
        stress = np.array(structure.get_stress(), dtype=float)
    if forces.shape != (len(atoms), 3):
        raise _failure(f"forces have shape {forces.shape}, expected {(len(atoms), 3)}")
    finite = np.isfinite(energy) and np.all(np.isfinite(forces))
    if not finite or (stress is not None and not np.all(np.isfinite(stress))):
        raise _failure("energy, forces or stress hold NaN or infinity")
    return _Results(energy, forces, stress)


def _energy(calculator: Calculator, atoms: Atoms) -> float:
    structure = atoms.copy()
    structure.calc = calculator
    return float(structure.get_potential_energy())


def _force_deviation(
    calculator: Calculator, atoms: Atoms, reference: _Results, limits: Tolerances, rng: np.random.Generator
) -> float:
    """Largest difference between -F.d and the central difference along directions d of length 1."""
    n_atoms = len(atoms)
    directions = []
    for index in rng.permutation(n_atoms)[:3]:
        single = np.zeros((n_atoms, 3))
        single[index] = rng.normal(size=3)
        directions.append(single)
    directions.extend(rng.normal(size=(2, n_atoms, 3)))
    deviation = 0.0
    for direction in directions:
        unit = direction / np.linalg.norm(direction)

        def energy(step: float, unit: Array = unit) -> float:
            moved = atoms.copy()
            moved.positions += step * unit
            return _energy(calculator, moved)

        slope = _central_difference(energy, limits.displacement)
        deviation = max(deviation, abs(slope + float(np.sum(reference.forces * unit))))
    return deviation


def _stress_deviation(calculator: Calculator, atoms: Atoms, reference: _Results, limits: Tolerances) -> float:
    """Largest difference between the Voigt stress and dE/dstrain / V."""
    deviations = []
    for component in range(6):
        unit = np.zeros(6)
        unit[component] = 1.0 if component < 3 else 0.5
        strain = voigt_to_matrix(unit)

        def energy(step: float, strain: Array = strain) -> float:
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
            return _energy(calculator, strained)

        slope = _central_difference(energy, limits.strain) / atoms.get_volume()
        expected = 0.0 if reference.stress is None else float(reference.stress[component])
        deviations.append(float(abs(slope - expected)))
    return max(deviations)


def _central_difference(function: Callable[[float], float], step: float) -> float:
    return (function(step) - function(-step)) / (2 * step)


def _translated(atoms: Atoms, reference: _Results, rng: np.random.Generator) -> tuple[Atoms, _Results]:
    moved = atoms.copy()
    moved.positions += rng.normal(scale=2.0, size=3)
    if moved.pbc.all():
        moved.wrap()
    return moved, reference


def _rotated(atoms: Atoms, reference: _Results, rng: np.random.Generator) -> tuple[Atoms, _Results]:
    # The Q of a random matrix is a random rotation once a reflection is undone.
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ rotation.T, scale_atoms=False)
    moved.positions = atoms.positions @ rotation.T
    stress = None
    if reference.stress is not None:
        stress = matrix_to_voigt(rotation @ voigt_to_matrix(reference.stress) @ rotation.T)
    return moved, _Results(reference.energy, reference.forces @ rotation.T, stress)


def _permuted(atoms: Atoms, reference: _Results, rng: np.random.Generator) -> tuple[Atoms, _Results]:
    order = rng.permutation(len(atoms))
    return atoms[order], _Results(reference.energy, reference.forces[order], reference.stress)


def _duplicates(calculator: Calculator) -> dict[str, Calculator]:
    try:
        # The bytes were made on this line; nothing foreign is unpickled.
        pickled = pickle.loads(pickle.dumps(calculator))  # noqa: S301
        copied = copy.deepcopy(calculator)
    except Exception as error:
        raise _failure(f"the calculator cannot be pickled or deep-copied: {error}") from error
    return {"pickled": pickled, "copied": copied}


def _compare(
    what: str,
    found: _Results,
    expected: _Results,
    limits: Tolerances,
    force_limit: float,
    report: dict[str, float],
    name: str,
) -> None:
    energy = abs(found.energy - expected.energy) / len(expected.forces)
    forces = float(np.max(np.abs(found.forces - expected.forces)))
    _require(f"the energy per atom changes {what}", energy, limits.energy)
    _require(f"the forces are wrong {what}", forces, force_limit)
    report[f"{name}_energy"] = energy
    report[f"{name}_forces"] = forces
    if expected.stress is not None and found.stress is not None:
        stress = float(np.max(np.abs(found.stress - expected.stress)))
        _require(f"the stress is wrong {what}", stress, limits.stress)
        report[f"{name}_stress"] = stress


def _require(what: str, deviation: float, limit: float) -> None:
    if not deviation <= limit:
        raise _failure(f"{what}: off by {deviation:.3g}, allowed {limit:.3g}")


def _failure(message: str) -> FrameworkError:
    return FrameworkError(message, reason="conformance")
