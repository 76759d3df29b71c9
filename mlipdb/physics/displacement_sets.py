"""Finite displacements: those observed, those a crystal needs, and a set of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["DisplacementRecord", "DisplacementSet", "ExpectedDisplacement"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DisplacementRecord:
    """One supercell with one displaced atom and its forces.

    Attributes
    ----------
    atom
        Index in the order of `ideal_supercell`.
    vector
        Displacement, Cartesian, shape (3,), Angstrom, in the frame of the unit cell.
    forces
        Shape (N, 3), eV/Angstrom, in the order of `ideal_supercell` and the frame of the unit cell.
    label
        Name of the calculation, such as a task id.
    """

    atom: int
    vector: Floats
    forces: Floats
    label: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedDisplacement:
    """A displacement that a crystal needs.

    Attributes
    ----------
    atom
        Index in the order of `ideal_supercell`.
    site
        Index of the atom in the unit cell.
    symbol
        Chemical symbol.
    vector
        Cartesian, Angstrom.
    """

    atom: int
    site: int
    symbol: str
    vector: tuple[float, float, float]

    @property
    def distance(self) -> float:
        """Length of the displacement, Angstrom."""
        return float(np.linalg.norm(self.vector))

    @property
    def direction(self) -> tuple[float, float, float]:
        """Cartesian unit vector."""
        x, y, z = np.asarray(self.vector) / self.distance
        return float(x), float(y), float(z)

    def __str__(self) -> str:
        # Adding 0.0 turns -0.0 into 0.0.
        direction = " ".join(f"{round(part, 3) + 0.0:.3f}" for part in self.direction)
        return (
            f"{self.symbol} atom {self.site} of the unit cell (atom {self.atom} of the supercell) "
            f"along [{direction}] by {self.distance:.4f} A"
        )


@dataclass(frozen=True, slots=True)
class DisplacementSet:
    """What a set of displaced supercells holds.

    Attributes
    ----------
    complete
        The chosen records give all force constants.
    expected
        Displacements phonopy would ask for.
    missing
        Displacements that would complete the set; empty when complete.
    records
        Chosen records, residual forces subtracted.
    duplicates
        Labels of records that equal an earlier one by symmetry; not used.
    unpaired
        Labels of records without an opposite displacement where one is needed; not used.
    paired
        Every chosen displacement has its opposite, observed or equivalent by symmetry.
    residual_fmax
        Largest residual force that was subtracted, eV/Angstrom; None when none were given.
    """

    complete: bool
    expected: list[ExpectedDisplacement]
    missing: list[ExpectedDisplacement]
    records: list[DisplacementRecord]
    duplicates: list[str] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    paired: bool = True
    residual_fmax: float | None = None
