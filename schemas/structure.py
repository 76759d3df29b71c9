"""An atomic structure as stored in documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from mlipdb.schemas.common import Model

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["AtomicStructure", "formula_of"]

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


class AtomicStructure(Model):
    """Cell, atomic numbers and Cartesian positions."""

    cell: Matrix = Field(description="Cell vectors as rows, Angstrom")
    numbers: list[int] = Field(min_length=1, description="Atomic numbers, shape (N,)")
    positions: list[Vector] = Field(description="Cartesian positions, shape (N, 3), Angstrom")
    pbc: tuple[bool, bool, bool] = (True, True, True)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.numbers) != len(self.positions):
            raise ValueError(
                f"{len(self.numbers)} atomic numbers but {len(self.positions)} positions; both must be (N, ...)"
            )
        return self

    @classmethod
    def from_ase(cls, atoms: Atoms) -> Self:
        """Take cell, numbers, positions and periodicity of an ASE Atoms object."""
        return cls.model_validate(
            {
                "cell": atoms.cell.array.tolist(),
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "pbc": [bool(flag) for flag in atoms.pbc],
            }
        )

    def to_ase(self) -> Atoms:
        """Return an ASE Atoms object."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)

    def to_pymatgen(self) -> Any:
        """Return a pymatgen Structure."""
        from pymatgen.core import Structure

        return Structure(self.cell, self.numbers, self.positions, coords_are_cartesian=True)


def formula_of(numbers: list[int]) -> tuple[str, str, list[str]]:
    """Reduced formula, chemical system and sorted elements of a list of atomic numbers.

    Counts sites, so an isolated chlorine atom is ``Cl``, not ``Cl2``.

    Examples
    --------
    >>> formula_of([3, 17, 3, 17])
    ('LiCl', 'Cl-Li', ['Cl', 'Li'])
    >>> formula_of([14] * 8)
    ('Si', 'Si', ['Si'])
    """
    from functools import reduce
    from math import gcd

    from ase.data import chemical_symbols
    from ase.formula import Formula

    symbols = [chemical_symbols[number] for number in numbers]
    counts = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    divisor = reduce(gcd, counts.values())
    reduced = Formula.from_dict({symbol: n // divisor for symbol, n in counts.items()}).format("metal")
    elements = sorted(counts)
    return reduced, "-".join(elements), elements
