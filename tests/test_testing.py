"""The conformance checks let a good potential pass and name what is wrong with a bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from pydantic import BaseModel, ConfigDict

from mlipdb.errors import CalculatorError, FrameworkError
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.testing import check_calculator, check_framework


class Copper(MorsePotential):  # type: ignore[misc]
    """A pair potential; unlike some of ASE's calculators it can be pickled after use."""

    def __init__(self) -> None:
        super().__init__(epsilon=0.35, r0=2.6, rho0=4.0, rcut1=1.5, rcut2=1.9)


def test_a_good_calculator_passes() -> None:
    report = check_calculator(Copper(), bulk("Cu", cubic=True))
    assert report["forces"] < 1e-5
    assert report["stress"] < 1e-6
    assert {"translation_energy", "rotation_stress", "permutation_forces", "pickled_energy"} <= set(report)


class Flawed(Copper):
    """A calculator with one flaw, by name."""

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw = flaw

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        results, positions = self.results, self.atoms.positions
        if self.flaw == "forces":
            results["forces"] = 1.01 * results["forces"]
        elif self.flaw == "stress":
            results["stress"] = -results["stress"]
        elif self.flaw == "nan":
            results["forces"][0, 0] = np.nan
        elif self.flaw == "shape":
            results["forces"] = results["forces"][:-1]
        elif self.flaw == "translation":
            results["energy"] += 0.01 * np.sum(np.sin(positions))
            results["forces"] -= 0.01 * np.cos(positions)
        elif self.flaw == "rotation":
            # A spring along x between neighbours in the list: not the same after a rotation.
            results["energy"] += 0.1 * self.atoms.cell.volume / (1 + self.atoms.cell[0, 0] ** 2)
        elif self.flaw == "permutation":
            # A term of the first two atoms alone, periodic in their separation.
            inverse = np.linalg.inv(self.atoms.cell.array)
            phase = 2 * np.pi * (positions[1] - positions[0]) @ inverse
            gradient = -0.05 * 2 * np.pi * inverse @ np.sin(phase)
            results["energy"] += 0.05 * np.sum(np.cos(phase))
            results["forces"][1] -= gradient
            results["forces"][0] += gradient

    def __getstate__(self) -> dict[str, Any]:
        if self.flaw == "pickling":
            raise TypeError("holds a handle")
        return dict(self.__dict__)


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("forces", "forces are not -dE/dx: off by"),
        ("stress", "stress is not dE/dstrain"),
        ("nan", "NaN"),
        ("shape", "forces have shape"),
        ("translation", "under translation"),
        ("rotation", "under rotation"),
        ("permutation", "under permutation"),
        ("pickling", "cannot be pickled"),
    ],
)
def test_each_flaw_is_named(flaw: str, message: str) -> None:
    atoms = bulk("Cu", cubic=True)
    calculator = Flawed(flaw)
    if flaw not in {"stress", "forces"}:
        # These flaws break the stress too; without one only the flaw itself is left to find.
        calculator.implemented_properties = ["energy", "free_energy", "forces"]
    with pytest.raises(FrameworkError, match=message) as caught:
        check_calculator(calculator, atoms)
    assert caught.value.reason == "conformance"


class ScaledHyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid")
    scale: float = 1.0


class LooseHyperparameters(BaseModel):
    scale: float = 1.0


class Scaled(Copper):
    """The pair potential times a number that is read from a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self.scale = float(json.loads(path.read_text())["scale"])
        except OSError as error:
            raise CalculatorError(f"{path.name} cannot be read") from error

    def calculate(self, *arguments: Any, **keywords: Any) -> None:
        super().calculate(*arguments, **keywords)
        self.results = {name: self.scale * value for name, value in self.results.items()}


class ToyFramework:
    """The smallest framework: "fits" by writing its hyperparameters down."""

    name = "toy"
    Hyperparameters: type[BaseModel] = ScaledHyperparameters

    def __init__(self, flaw: str = "") -> None:
        self.flaw = flaw
        if flaw == "loose":
            self.Hyperparameters = LooseHyperparameters

    grid_aliases: ClassVar[dict[str, str]] = {}

    def summary(self, hyperparameters: Any) -> dict[str, float | int | None]:
        """It has none of what tables show."""
        return {}

    def fit(
        self, data: FitInput, hyperparameters: Any, directory: Path, *, timeout_s: float | None = None
    ) -> FitResult:
        content = hyperparameters.model_dump_json().encode()
        name = "model.json" if self.flaw != "path" else "sub/model.json"
        word = str(directory) if self.flaw == "machine path" else "toy"
        return FitResult(
            files={name: content},
            main_file="other.json" if self.flaw == "main file" else name,
            command=[word],
            wall_time_s=0.0,
            cpu_time_s=None,
            peak_memory_mb=None,
            log_tail="",
        )

    def calculator(self, directory: Path, main_file: str, *, trust: bool = False) -> Copper:
        if self.flaw == "careless" and not (directory / main_file).exists():
            return Copper()
        calculator = Scaled(directory / main_file)
        if self.flaw == "directory" and directory.name == "two":
            calculator.scale *= 2.0
        return calculator


@pytest.fixture
def copper() -> FitInput:
    atoms = bulk("Cu", cubic=True)
    frame = Frame(
        configuration_id="copper",
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=0.0,
        forces=np.zeros((4, 3)),
        config_type="bulk",
    )
    return FitInput(extxyz=write_extxyz([frame]), frames=[frame], isolated_atom_energies={"Cu": 0.0})


def test_a_good_framework_passes(copper: FitInput, tmp_path: Path) -> None:
    assert check_framework(ToyFramework(), {"scale": 2}, copper, tmp_path)["round_trip"] == 0.0


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("loose", "unknown hyperparameter is accepted"),
        ("path", "holds a path"),
        ("machine path", "path of this machine"),
        ("main file", "not among the files"),
        ("directory", "copied files give other predictions"),
        ("careless", "main file is missing"),
    ],
)
def test_each_flaw_of_a_framework_is_named(copper: FitInput, tmp_path: Path, flaw: str, message: str) -> None:
    with pytest.raises(FrameworkError, match=message):
        check_framework(ToyFramework(flaw), {}, copper, tmp_path)


def test_what_is_no_framework_is_named(copper: FitInput, tmp_path: Path) -> None:
    with pytest.raises(FrameworkError, match="dict lacks name"):
        check_framework({}, {}, copper, tmp_path)  # type: ignore[arg-type]
