from __future__ import annotations

import copy
import pickle
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlipdb.errors import CalculatorError
from mlipdb.frameworks import gap_calculator
from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_calculator import GapCalculator


@pytest.fixture
def files(small_fit: tuple[Path, FitResult], tmp_path: Path) -> Path:
    """A copy of the small potential that a test may damage."""
    directory = tmp_path / "files"
    directory.mkdir()
    for path in small_fit[1].files.values():
        assert isinstance(path, Path)
        shutil.copy(path, directory)
    return directory


def silicon() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_everything_in_one_call(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calculator = GAP().calculator(files, "gap.xml")
    calls: list[Any] = []
    original = calculator._potential.calculate
    monkeypatch.setattr(calculator._potential, "calculate", lambda *a, **k: (calls.append(1), original(*a, **k)))
    atoms = silicon()
    atoms.calc = calculator
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert len(calls) == 1
    atoms.positions[0] += 0.1
    atoms.get_forces()
    assert len(calls) == 2


def test_unknown_element_is_an_error(files: Path) -> None:
    atoms = silicon()
    atoms.numbers[0] = 32
    atoms.calc = GAP().calculator(files, "gap.xml")
    with pytest.raises(CalculatorError, match=r"knows only Si.*holds Ge") as caught:
        atoms.get_forces()
    assert caught.value.reason == "unknown_element"
    assert atoms.calc.results == {}


@pytest.mark.parametrize("cell", [None, [20, 20, 0]])
def test_structure_without_a_cell(files: Path, cell: Any) -> None:
    calculator = GAP().calculator(files, "gap.xml")
    dimer = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.4]], cell=cell)
    boxed = Atoms("Si2", positions=dimer.positions, cell=[60, 61, 62], pbc=True)
    dimer.calc = boxed.calc = calculator
    forces = dimer.get_forces()
    assert "stress" not in calculator.results
    np.testing.assert_allclose(forces, boxed.get_forces(), atol=1e-10)
    assert abs(forces[0, 2]) > 1e-3


def test_pickled_and_copied(files: Path) -> None:
    atoms = silicon()
    atoms.calc = GAP().calculator(files, "gap.xml")
    energy = atoms.get_potential_energy()
    for duplicate in (pickle.loads(pickle.dumps(atoms)), copy.deepcopy(atoms)):
        assert duplicate.get_potential_energy() == energy
        duplicate.positions[0] += 0.1
        assert duplicate.get_potential_energy() != energy
    (files / "gap.xml").write_text((files / "gap.xml").read_text().replace("-102.", "-103."))
    with pytest.raises(CalculatorError, match="has changed") as caught:
        copy.deepcopy(atoms.calc)
    assert caught.value.reason == "changed_file"


def _energy(atoms: Atoms) -> float:
    return float(atoms.get_potential_energy())


def test_crosses_a_process_pool(files: Path) -> None:
    atoms = silicon()
    atoms.calc = GAP().calculator(files, "gap.xml")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_energy, atoms).result() == pytest.approx(_energy(atoms), abs=1e-10)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero bytes": (lambda path: path.write_bytes(b""), "bad_xml"),
    "garbage": (lambda path: path.write_bytes(bytes(range(256)) * 9), "bad_xml"),
    "truncated": (_truncate, "bad_xml"),
    "another format": (lambda path: path.write_text("<potential/>"), "bad_xml"),
    "unknown descriptor": (
        lambda path: path.write_text(path.read_text().replace("<descriptor>soap", "<descriptor>soup")),
        "load_failed",
    ),
    "no GAP_params": (
        lambda path: path.write_text(path.read_text().replace("GAP_params", "GAP_parameters")),
        "load_failed",
    ),
    "NaN weights": (
        lambda path: path.write_text(re.sub(r'alpha="[^"]*"', 'alpha="NaN"', path.read_text())),
        "not_finite",
    ),
    "huge weights": (
        lambda path: path.write_text(re.sub(r'alpha="[^"]*"', 'alpha="1.7E+308"', path.read_text())),
        "not_finite",
    ),
    "missing": (lambda path: path.unlink(), "missing_file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_do_not_end_this_process(files: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(files / "gap.xml")
    with pytest.raises(CalculatorError) as caught:
        GAP().calculator(files, "gap.xml")
    assert caught.value.reason == reason, caught.value.message


def test_wrong_side_file(files: Path) -> None:
    side = next(files.glob("*.sparseX.*"))
    side.write_bytes(side.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(CalculatorError) as caught:
        GAP().calculator(files, "gap.xml", trust=True)
    assert caught.value.reason == "bad_side_file"


def test_files_are_tried_in_a_child_once(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    original = gap_calculator.run_program
    monkeypatch.setattr(gap_calculator, "_PROBED", set())
    monkeypatch.setattr(gap_calculator, "run_program", lambda *a, **k: (started.append(a), original(*a, **k))[1])
    GAP().calculator(files, "gap.xml", trust=True)
    assert started == []
    GAP().calculator(files, "gap.xml")
    GAP().calculator(files, "gap.xml")
    assert len(started) == 1


def test_nan_results_raise(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calculator = GapCalculator(files, "gap.xml")
    atoms = silicon()
    atoms.positions[1] = np.nan
    atoms.calc = calculator
    with pytest.raises(CalculatorError) as caught:
        atoms.get_forces()
    assert caught.value.reason == "not_finite"
