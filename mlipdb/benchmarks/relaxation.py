"""Relax a unit cell with a potential, its symmetry kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import CalculatorError, DataError
from mlipdb.physics.symmetry import count_operations, symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = ["Relaxed", "checked_forces", "evaluate_forces", "relax", "unrelaxed"]

#: A relaxation that leaves these volume ratios has exploded or collapsed.
_VOLUME_BOUNDS: Final = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A relaxed unit cell.

    Attributes
    ----------
    atoms
        Symmetrised, same order and setting as the start, no calculator.
    steps
        Relaxation steps; zero when the start was already below ``fmax``.
    fmax_start, fmax
        Largest force on an atom before and after, eV/Angstrom.
    pressure_start
        Pressure before, eV/Angstrom^3; None where the cell is not relaxed.
    """

    atoms: Atoms
    steps: int
    fmax_start: float
    fmax: float
    pressure_start: float | None


def evaluate_forces(atoms: Atoms, calculator: Calculator) -> NDArray[np.float64]:
    """Compute the forces of a potential and check them.

    Parameters
    ----------
    atoms
        N atoms; not changed.
    calculator
        ASE calculator.

    Returns
    -------
    ndarray
        Shape (N, 3), eV/Angstrom.

    Raises
    ------
    CalculatorError
        The calculator fails (reason ``calculator_failed``) or its forces are not
        finite numbers (reason ``not_finite``).
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    return checked_forces(_ask(atoms.get_forces))


def checked_forces(values: Any) -> NDArray[np.float64]:
    """Forces as an array.

    Raises
    ------
    CalculatorError
        They are not finite numbers (reason ``not_finite``).
    """
    return _checked(values, "forces")


def unrelaxed(start: Atoms, forces: NDArray[np.float64]) -> Relaxed:
    """What a relaxation that moves nothing gives.

    Parameters
    ----------
    start
        Symmetrised unit cell, N atoms.
    forces
        Its forces, shape (N, 3), eV/Angstrom.

    Raises
    ------
    CalculatorError
        The forces are not finite (reason ``not_finite``).
    """
    fmax = _norm(checked_forces(forces))
    return Relaxed(start.copy(), 0, fmax, fmax, None)


def relax(start: Atoms, calculator: Calculator, protocol: PhononProtocol) -> Relaxed:
    """Relax a cell under a protocol, keeping its space group.

    ASE's `FixSymmetry` symmetrises forces and stress, and `FrechetCellFilter` moves
    the cell; the minimiser is BFGS.  A start that is already below ``fmax`` is not
    touched.

    Parameters
    ----------
    start
        Symmetrised unit cell.
    calculator
        ASE calculator; it needs a stress when the cell relaxes.
    protocol
        Its ``relax``, ``fmax``, ``max_relax_steps`` and ``symprec`` are used.

    Returns
    -------
    Relaxed

    Raises
    ------
    CalculatorError
        The calculator fails, gives numbers that are not finite (``not_finite``), the
        cell explodes (``cell_exploded``), the relaxation does not converge
        (``not_converged``) or symmetry is lost (``symmetry_lost``).
    """
    if protocol.relax == "external":
        raise DataError(
            "The protocol relax: external marks cells from files; a calculator cannot follow it.",
            reason="external_protocol",
        )
    forces = evaluate_forces(start, calculator)
    if protocol.relax == "none":
        return unrelaxed(start, forces)
    fmax_start = _norm(forces)
    pressure = None
    if protocol.relax == "cell":
        atoms = start.copy()
        atoms.calc = calculator
        stress = _checked(_ask(atoms.get_stress), "stress")
        pressure = -float(stress[:3].mean())
    atoms, steps = _minimise(start, calculator, protocol)
    if steps == 0:
        return Relaxed(start.copy(), 0, fmax_start, fmax_start, pressure)
    if protocol.relax == "positions":
        # FixSymmetry rounds the cell.
        atoms.set_cell(start.cell, scale_atoms=True)
    relaxed = _resymmetrise(start, atoms, protocol.symprec)
    return Relaxed(relaxed, steps, fmax_start, _norm(evaluate_forces(relaxed, calculator)), pressure)


def _minimise(start: Atoms, calculator: Calculator, protocol: PhononProtocol) -> tuple[Atoms, int]:
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    atoms = start.copy()
    atoms.calc = calculator
    moved = FrechetCellFilter(atoms) if protocol.relax == "cell" else atoms
    # The forces of a symmetric cell are symmetric: no constraint is needed to see that it is relaxed.
    if _norm(_checked(_ask(moved.get_forces), "forces")) < protocol.fmax:
        return atoms, 0
    atoms.set_constraint(FixSymmetry(atoms, symprec=protocol.symprec))
    moved = FrechetCellFilter(atoms) if protocol.relax == "cell" else atoms
    optimiser = BFGS(moved, logfile=None)
    # A tenth tighter than asked for: symmetrising afterwards must not lift a relaxed cell above fmax again.
    steps = optimiser.irun(fmax=0.9 * protocol.fmax, steps=protocol.max_relax_steps)
    while (converged := _ask(lambda: next(steps, None))) is not None:
        _check_state(atoms, start)
        if converged:
            atoms.set_constraint(None)
            return atoms, int(optimiser.nsteps)
    raise CalculatorError(
        f"The relaxation of {start.get_chemical_formula()} did not reach {protocol.fmax:g} eV/A in "
        f"{protocol.max_relax_steps} steps (largest force {_norm(moved.get_forces()):.3g} eV/A).",
        reason="not_converged",
    )


def _check_state(atoms: Atoms, start: Atoms) -> None:
    _checked(atoms.calc.results.get("forces", 0.0), "forces")
    if not (np.all(np.isfinite(atoms.positions)) and np.all(np.isfinite(atoms.cell.array))):
        raise CalculatorError(
            f"The relaxation of {start.get_chemical_formula()} gave positions that are not finite numbers.",
            reason="not_finite",
        )
    ratio = atoms.get_volume() / start.get_volume()
    if not _VOLUME_BOUNDS[0] < ratio < _VOLUME_BOUNDS[1]:
        raise CalculatorError(
            f"The relaxation of {start.get_chemical_formula()} changed the volume by a factor of "
            f"{ratio:.3g}; a crystal that holds stays between {_VOLUME_BOUNDS[0]} and {_VOLUME_BOUNDS[1]}.",
            reason="cell_exploded",
        )


def _resymmetrise(start: Atoms, atoms: Atoms, symprec: float) -> Atoms:
    try:
        before = count_operations(start, symprec)
        after = count_operations(atoms, symprec)
        relaxed = symmetrise(atoms, symprec)
    except DataError as error:
        raise CalculatorError(
            f"The relaxed {start.get_chemical_formula()} is no crystal any more: {error.message}",
            reason="symmetry_lost",
        ) from error
    if after < before:
        raise CalculatorError(
            f"The relaxation of {start.get_chemical_formula()} left {after} of {before} symmetry operations.",
            reason="symmetry_lost",
        )
    return relaxed


def _ask(question: Callable[[], Any]) -> Any:
    """Let a calculator's own failures become a CalculatorError; everything else is a bug and passes."""
    from ase.calculators.calculator import CalculatorError as AseCalculatorError
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return question()
    except PropertyNotImplementedError as error:
        raise CalculatorError(
            f"The potential lacks a property that the protocol needs: {error}.", reason="property_missing"
        ) from error
    except (AseCalculatorError, RuntimeError, ArithmeticError, ValueError, LookupError) as error:
        # NotImplementedError (an element ASE's EMT does not know, say) is a RuntimeError, LinAlgError a ValueError.
        raise CalculatorError(
            f"The potential failed: {type(error).__name__}: {error}", reason="calculator_failed"
        ) from error


def _checked(values: Any, what: str) -> NDArray[np.float64]:
    array = np.array(values, dtype=float)
    if not np.all(np.isfinite(array)):
        raise CalculatorError(f"The potential gives {what} that are not finite numbers.", reason="not_finite")
    return array


def _norm(forces: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(forces, axis=1).max())
