"""Crystal symmetry on ASE objects: operations, symmetrised cells, primitive cells, labels.

Cells have lattice vectors in rows.  An operation (W, t) acts on fractional
coordinates as x -> W x + t.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import DataError
from mlipdb.physics.cells import fractional, wrapped

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "SpaceGroup",
    "SymmetricPositions",
    "count_operations",
    "point_group",
    "primitive_cell",
    "protostructure_label",
    "space_group",
    "symmetric_positions",
    "symmetrise",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Changes below this (Angstrom) are rounding, and leave a cell as it is, bit for bit.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SpaceGroup:
    """A space group by number and international symbol."""

    number: int
    symbol: str


@dataclass(frozen=True, slots=True)
class SymmetricPositions:
    """Positions averaged over a space group.

    Attributes
    ----------
    fractions
        Shape (N, 3), fractional, next to the positions they came from.
    n_operations
        Operations of the space group in this cell.
    n_translations
        Pure translations among them: how many primitive cells the cell holds.
    """

    fractions: Floats
    n_operations: int
    n_translations: int


def spglib_cell(atoms: Atoms) -> tuple[Floats, Floats, Ints]:
    """Cell, fractional positions and atomic numbers, as spglib takes them."""
    return (
        np.array(atoms.cell.array, dtype=float),
        fractional(atoms),
        np.array(atoms.numbers, dtype=np.int64),
    )


def _ask_spglib(function: Any, atoms: Atoms, **options: Any) -> Any:
    # Older releases answer None when no symmetry is found, newer ones raise.
    import spglib

    try:
        answer = function(spglib_cell(atoms), **options)
    except getattr(spglib, "SpglibError", ()):
        answer = None
    return answer


def _operations(atoms: Atoms, symprec: float) -> tuple[Ints, Floats]:
    """Rotations (n, 3, 3) and translations (n, 3) of the space group in this cell."""
    import spglib

    found = _ask_spglib(spglib.get_symmetry, atoms, symprec=symprec)
    if found is None:
        raise DataError(
            f"The symmetry search failed for {atoms.get_chemical_formula()} at a tolerance of {symprec:g} A; "
            "a periodic cell with separate atoms is needed.",
            reason="no_symmetry",
        )
    return np.array(found["rotations"], dtype=np.int64), np.array(found["translations"], dtype=float)


def count_operations(atoms: Atoms, symprec: float = 1e-3) -> int:
    """Count the space-group operations in this cell, pure translations included.

    Raises
    ------
    DataError
        No symmetry can be found (reason ``no_symmetry``), as with atoms on top of each other.
    """
    return len(_operations(atoms, symprec)[0])


def symmetric_positions(atoms: Atoms, symprec: float, *, reducer: Any = np.mean) -> SymmetricPositions:
    """Average positions over the space group, or take the median of the images.

    The pure translations come first, then one operation for each rotation, which
    together give what all operations would, at a fraction of the cost.  spglib takes
    each translation part from single pairs of atoms; here it is the mean (median)
    over all atoms, and with the mean the operations of a noisy cell form a group to
    rounding.

    Parameters
    ----------
    atoms
        Periodic cell of N atoms.
    symprec
        Tolerance, Angstrom.
    reducer
        ``np.mean`` or ``np.median``.

    Returns
    -------
    SymmetricPositions

    Raises
    ------
    DataError
        No symmetry can be found, or its operations do not permute the atoms (reason ``no_symmetry``).
    """
    rotations, translations = _operations(atoms, symprec)
    pure = np.all(rotations == np.eye(3, dtype=np.int64), axis=(1, 2))
    _, first = np.unique(rotations, axis=0, return_index=True)
    fractions = fractional(atoms)
    for subset in (np.flatnonzero(pure), first):
        fractions = fractions + _mean_move(
            fractions, atoms.cell.array, rotations[subset], translations[subset], reducer
        )
    return SymmetricPositions(fractions, len(rotations), int(pure.sum()))


def _mean_move(fractions: Floats, cell: Floats, rotations: Ints, translations: Floats, reducer: Any) -> Floats:
    """Fractional moves of all atoms to the mean (median) of their images, shape (N, 3)."""
    moves = np.empty((len(rotations), *fractions.shape))
    everyone = np.arange(len(fractions))
    # Two atoms of different species never share a site, so the position decides.
    for k, (rotation, translation) in enumerate(zip(rotations, translations, strict=True)):
        images = fractions @ rotation.T + translation
        gaps = wrapped(images[:, None, :] - fractions[None, :, :])
        cartesian = gaps @ cell
        targets = np.argmin(np.einsum("ijk,ijk->ij", cartesian, cartesian), axis=1)
        if len(np.unique(targets)) < len(fractions):
            raise DataError("The symmetry operations found do not permute the atoms.", reason="no_symmetry")
        own = gaps[everyone, targets]
        moves[k, targets] = own - reducer(own, axis=0)
    # Reduced as lengths: a median of fractional components would depend on the cell's shape.
    result: Floats = np.linalg.solve(cell.T, reducer(moves @ cell, axis=0).T).T
    return result


def point_group(atoms: Atoms, symprec: float = 1e-3) -> Ints:
    """Rotations of a crystal's space group, each once, shape (n, 3, 3), acting on fractional columns.

    Raises
    ------
    DataError
        No symmetry can be found (reason ``no_symmetry``).
    """
    result: Ints = np.unique(_operations(atoms, symprec)[0], axis=0)
    return result


def symmetrise(atoms: Atoms, symprec: float = 1e-3) -> Atoms:
    """Average cell and positions over the space group, in the same setting and orientation.

    The metric tensor is averaged over the point group, G = <W^T G W>; the new cell
    has this metric and no rotation against the old one.  Positions are averaged
    over the operations, x_g(i) = <W x_i + t>.  Applied twice it changes nothing: a
    cell that is symmetric within rounding (1e-9 Angstrom) comes back bit for bit.

    Parameters
    ----------
    atoms
        Periodic cell.
    symprec
        Tolerance within which symmetry is recognised, Angstrom.

    Returns
    -------
    Atoms
        A new object with the same order of atoms and no calculator.
    """
    rotations = point_group(atoms, symprec)
    lattice = np.array(atoms.cell.array, dtype=float).T  # columns
    metric = lattice.T @ lattice
    mean_metric = np.einsum("nji,jk,nkl->il", rotations, metric, rotations) / len(rotations)
    inverse = np.linalg.inv(lattice)
    values, vectors = np.linalg.eigh(inverse.T @ mean_metric @ inverse)
    stretch = (vectors * np.sqrt(values)) @ vectors.T
    cell = (stretch @ lattice).T

    symmetric = symmetric_positions(atoms, symprec).fractions
    result = atoms.copy()
    result.calc = None
    if np.abs(cell - atoms.cell.array).max() > _ROUNDING:
        result.set_cell(cell, scale_atoms=True)
    if np.abs((symmetric - fractional(atoms)) @ cell).max() > _ROUNDING:
        result.positions = symmetric @ result.cell.array
    return result


def primitive_cell(atoms: Atoms, symprec: float = 1e-3) -> Atoms:
    """Primitive cell in the orientation of the given cell, positions not idealised.

    Returns
    -------
    Atoms
        With the primitive lattice of the standardised setting; periodic, no calculator.

    Raises
    ------
    DataError
        No symmetry can be found (reason ``no_symmetry``).
    """
    import spglib
    from ase import Atoms

    found = _ask_spglib(spglib.standardize_cell, atoms, to_primitive=True, no_idealize=True, symprec=symprec)
    if found is None:
        raise DataError(
            f"No primitive cell can be found for {atoms.get_chemical_formula()} at a tolerance of {symprec:g} A.",
            reason="no_symmetry",
        )
    cell, positions, numbers = found
    return Atoms(numbers=numbers, cell=cell, scaled_positions=positions, pbc=True)


def space_group(atoms: Atoms, symprec: float = 1e-3) -> SpaceGroup:
    """Space group of a cell, such as 227, Fd-3m.

    Raises
    ------
    DataError
        No symmetry can be found (reason ``no_symmetry``).
    """
    import spglib

    dataset = _ask_spglib(spglib.get_symmetry_dataset, atoms, symprec=symprec)
    if dataset is None:
        raise DataError(
            f"No space group can be found for {atoms.get_chemical_formula()} at a tolerance of {symprec:g} A.",
            reason="no_symmetry",
        )
    return SpaceGroup(int(dataset.number), str(dataset.international))


def protostructure_label(atoms: Atoms, symprec: float = 1e-3) -> str:
    """Readable label of a crystal structure type, such as ``A_cF8_227_a`` for diamond.

    Anonymous formula, Pearson symbol, space group and occupied Wyckoff letters, in
    the manner of AFLOW (Mehl et al., Comput. Mater. Sci. 136, S1, 2017), the letters
    chosen independent of the setting; made by pymatgen.

    Raises
    ------
    DataError
        The structure cannot be labelled (reason ``no_symmetry``).
    """
    from pymatgen.analysis.prototypes import get_protostructure_label
    from pymatgen.core import Lattice, Structure

    structure = Structure(
        Lattice(atoms.cell.array), atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True
    )
    try:
        with warnings.catch_warnings():
            # pymatgen calls a function of its own that it has deprecated.
            warnings.filterwarnings("ignore", message="gcd is deprecated", category=FutureWarning)
            label = get_protostructure_label(
                structure, method="spglib", raise_errors=True, init_symprec=symprec, fallback_symprec=None
            )
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"No structure label can be made for {atoms.get_chemical_formula()}: {error}.",
            reason="no_symmetry",
        ) from error
    return str(label).split(":", maxsplit=1)[0]
