"""What one evaluation of a potential costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from mlipdb.errors import DataError
from mlipdb.physics.frames import Frame

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = ["evaluation_time"]

#: Atoms a measured configuration has at most, where there is one: enough that the cost of a call itself vanishes.
MOST_ATOMS: Final = 64
#: A first call that took longer than this, CPU s, is followed by one more only.
LONG_CALL_S: Final = 0.25
#: Standard deviation of the changes of positions between two calls, Angstrom: no cache answers, no neighbour is lost.
SHIFT: Final = 1e-3


def evaluation_time(calculator: Calculator, frames: Sequence[Frame], *, repeats: int = 3) -> float:
    """Measure the CPU time of one evaluation of energy, forces and stress.

    The time is that of this process, all threads together; a calculator that computes in another
    process or on a GPU spends next to none of it. The smallest of a few calls after a first one
    counts, since a busy machine slows a call down (by up to a half on two cores that others use).
    It depends on the number of neighbours in the configuration, so times compare where that is the same.

    Parameters
    ----------
    calculator
        Any ASE calculator, loaded as users do; its stress is asked for where it has one.
    frames
        What may be evaluated. The largest periodic configuration of up to 64 atoms is taken, the one
        with the largest volume among equals, else the smallest there is; isolated atoms, which have
        no neighbours, do not count.
    repeats
        Calls that are measured; one only where the first call took more than 0.25 s.

    Returns
    -------
    float
        CPU time per atom, ms.

    Raises
    ------
    DataError
        If there is no configuration with neighbours.
    CalculatorError
        If the calculator fails.
    """
    frame = _representative(frames)
    atoms = frame.to_atoms()
    wanted = ["energy", "forces"]
    if "stress" in calculator.implemented_properties and all(frame.pbc):
        wanted.append("stress")
    positions = atoms.positions.copy()
    rng = np.random.default_rng(0)

    def call() -> float:
        atoms.positions = positions + rng.normal(0.0, SHIFT, positions.shape)
        return _timed(calculator, atoms, wanted)

    first = call()  # loads pages and tables that later calls find
    calls = [call() for _ in range(1 if first > LONG_CALL_S else max(1, repeats))]
    return 1000.0 * min(calls) / frame.n_atoms


def _representative(frames: Sequence[Frame]) -> Frame:
    """The configuration to measure; the same one whatever the order of the frames."""
    usable = [frame for frame in frames if not frame.is_isolated_atom]
    if not usable:
        raise DataError(
            f"none of the {len(frames)} configurations has more than an isolated atom; "
            "the evaluation time needs one where atoms have neighbours",
            reason="no_configuration",
        )
    return min(usable, key=_rank)


def _rank(frame: Frame) -> tuple[bool, bool, int, float, str]:
    too_large = frame.n_atoms > MOST_ATOMS
    size = frame.n_atoms if too_large else -frame.n_atoms
    # By a property of the crystal first, so that different training sets tend to the same one.
    return not all(frame.pbc), too_large, size, -round(frame.volume, 6), frame.configuration_id


def _timed(calculator: Calculator, atoms: Atoms, wanted: list[str]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    calculator.calculate(atoms, wanted, ["positions", "numbers", "cell", "pbc"])
    return time.process_time() - started
