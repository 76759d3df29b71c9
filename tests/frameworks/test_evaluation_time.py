"""Cost of an evaluation; no test asserts a time of the machine's clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipdb.errors import DataError
from mlipdb.frameworks import evaluation_time as module
from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.evaluation_time import evaluation_time
from mlipdb.frameworks.gap import GAP
from mlipdb.physics.frames import Frame


class Watched(EMT):  # type: ignore[misc]
    """Notes what it is asked, and moves a clock by given steps."""

    def __init__(self, clock: list[float], steps: list[float]) -> None:
        super().__init__()
        self.clock, self.steps = clock, list(steps)
        self.calls: list[tuple[Any, list[str]]] = []

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls.append((atoms.copy(), list(properties)))
        self.clock[0] += self.steps.pop(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still but for the calculator."""
    now = [5.0]
    monkeypatch.setattr(module.time, "process_time", lambda: now[0])
    return now


def copper(n_cells: int, name: str = "a", *, number: int = 29, pbc: bool = True) -> Frame:
    """A row of body-centred cells of copper, two atoms each."""
    cell = np.array([[0, 0, 0], [1.3, 1.3, 1.9]])
    return Frame(
        configuration_id=name,
        numbers=np.full(2 * n_cells, number),
        cell=np.diag([2.6 * n_cells, 2.6, 3.6]),
        positions=np.vstack([cell + np.array([2.6 * index, 0, 0]) for index in range(n_cells)]),
        energy=0.0,
        forces=np.zeros((2 * n_cells, 3)),
        config_type="bulk",
        pbc=(pbc, pbc, pbc),
    )


def test_the_smallest_call_after_the_first_counts(clock: list[float]) -> None:
    calculator = Watched(clock, [0.2, 0.06, 0.04, 0.05])
    assert evaluation_time(calculator, [copper(2)]) == pytest.approx(10.0)  # 40 ms for 4 atoms
    assert calculator.steps == []
    assert all(wanted == ["energy", "forces", "stress"] for _, wanted in calculator.calls)


def test_a_long_call_is_repeated_once(clock: list[float]) -> None:
    calculator = Watched(clock, [60.0, 50.0])
    assert evaluation_time(calculator, [copper(1)], repeats=5) == pytest.approx(25000.0)


def test_no_call_sees_the_positions_of_another(clock: list[float]) -> None:
    calculator = Watched(clock, [0.01] * 4)
    frame = copper(2)
    evaluation_time(calculator, [frame])
    seen = [atoms.positions for atoms, _ in calculator.calls]
    assert all(not np.allclose(one, two, atol=1e-5) for index, one in enumerate(seen) for two in seen[:index])
    assert all(np.abs(positions - frame.positions).max() < 0.01 for positions in seen)


@pytest.mark.parametrize(
    ("frames", "taken"),
    [
        ([copper(2), copper(32), copper(33), copper(8)], 64),
        ([copper(40), copper(33)], 66),
        ([copper(20, pbc=False), copper(3)], 6),
    ],
)
def test_the_configuration_that_is_measured(frames: list[Frame], taken: int, clock: list[float]) -> None:
    for given in (frames, frames[::-1]):
        calculator = Watched(clock, [0.01] * 4)
        evaluation_time(calculator, given)
        assert {len(atoms) for atoms, _ in calculator.calls} == {taken}


def test_stress_only_where_there_is_a_cell(clock: list[float]) -> None:
    calculator = Watched(clock, [0.01] * 4)
    evaluation_time(calculator, [copper(2, pbc=False)])
    assert calculator.calls[0][1] == ["energy", "forces"]


def test_of_a_gap_as_users_load_it(small_fit: tuple[Path, FitResult], small_frames: list[Frame]) -> None:
    directory, result = small_fit
    calculator = GAP().calculator(directory, result.main_file, trust=True)
    found = evaluation_time(calculator, small_frames)
    assert np.isfinite(found)
    assert found > 0
    assert len(calculator.atoms) == max(frame.n_atoms for frame in small_frames)


def test_isolated_atoms_have_no_evaluation_time(small_frames: list[Frame]) -> None:
    atoms = [frame for frame in small_frames if frame.is_isolated_atom]
    with pytest.raises(DataError, match="none of the 1 configurations has more than an isolated atom"):
        evaluation_time(EMT(), atoms)
