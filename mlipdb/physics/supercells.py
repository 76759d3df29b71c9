"""Supercells and the crystals they were cut from.

Lattice vectors are rows.  A supercell of a reference cell ``A_ref`` (3x3) has

    A_super = S @ A_ref @ F

with an integer matrix S and a linear map F = U Q: a small symmetric deformation U
in the frame of the reference, then a proper rotation Q.  phonopy's
``supercell_matrix`` is the transpose of S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.physics.cells import (
    fractional,
    hermite_normal_form,
    ideal_supercell,
    nearest_neighbour_distance,
    wrapped,
)
from mlipdb.physics.config_types import REST_TOLERANCE, classify
from mlipdb.physics.ideal import recover_ideal
from mlipdb.physics.lattices import lattice_matches
from mlipdb.physics.symmetry import point_group, protostructure_label, space_group, symmetrise

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "SupercellMatch",
    "classify",
    "ideal_supercell",
    "match_supercell",
    "protostructure_label",
    "recover_ideal",
    "space_group",
    "symmetrise",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Largest displacement in units of the nearest-neighbour distance, well above Lindemann's
#: 0.1 and below 0.5, where an atom would be as close to the next site.
SITE_FRACTION = 0.35
#: A match with displacements below this part of the nearest-neighbour distance needs no rival.
_SURE_FRACTION = 0.12


@dataclass(frozen=True, slots=True)
class SupercellMatch:
    """How a supercell arises from a reference crystal.

    Per-atom arrays follow the order and frame of the supercell that was matched.

    Attributes
    ----------
    supercell_matrix
        S, shape (3, 3), integers; ``A_super = S @ A_ref @ deformation @ rotation``.
    rotation
        Q, shape (3, 3), acts on row vectors from the right: ``r_super = r_ref @ Q``.
    deformation
        U, shape (3, 3), symmetric, in the frame of the reference.
    mapping
        Shape (N,): site of `ideal_supercell` on which each atom sits.
    ideal_positions
        Shape (N, 3), Angstrom: the sites of the deformed ideal crystal.
    displacements
        Shape (N, 3), Angstrom: atom minus site, the common translation removed.
    max_displacement
        Largest displacement, Angstrom.
    """

    supercell_matrix: Ints
    rotation: Floats
    deformation: Floats
    mapping: Ints
    ideal_positions: Floats
    displacements: Floats
    max_displacement: float

    @property
    def strain(self) -> float:
        """Largest eigenvalue of |U - 1|."""
        return float(np.abs(np.linalg.eigvalsh(self.deformation) - 1.0).max())

    @property
    def superlattice(self) -> tuple[tuple[int, ...], ...]:
        """Hermite normal form of the supercell matrix: equal for all bases of one superlattice."""
        return tuple(tuple(row) for row in hermite_normal_form(self.supercell_matrix).tolist())

    def to_reference(self, vectors: Floats) -> Floats:
        """Turn per-atom vectors into the frame of the reference and the order of `ideal_supercell`.

        Parameters
        ----------
        vectors
            Shape (N, 3), such as displacements or forces, in the supercell's frame and order.

        Returns
        -------
        ndarray
            Shape (N, 3).
        """
        result = np.empty_like(np.asarray(vectors, dtype=float))
        result[self.mapping] = np.asarray(vectors, dtype=float) @ self.rotation.T
        return result


def match_supercell(
    supercell: Atoms,
    reference: Atoms,
    *,
    max_displacement: float = 0.8,
    max_strain: float = 0.2,
) -> SupercellMatch | None:
    """Find how a supercell arises from a reference crystal, if it does.

    Handled are a uniform or general strain, a rotated frame, another basis of the
    same superlattice, a shifted origin, any order of atoms and displaced atoms.  The
    reference may be a primitive or a conventional cell, but the supercell must be an
    integer multiple of it.

    Matrices that differ by a symmetry of the crystal describe the same supercell; the one
    that needs the smallest rotation is given.

    The common translation is the median over atoms (not the mean, which would smear
    a single displaced atom over all), or none at all where that leaves as many atoms
    at rest.

    Parameters
    ----------
    supercell
        N atoms, periodic.
    reference
        Crystal the supercell may be made of; N must be a multiple of its atoms.
    max_displacement
        Largest allowed displacement, Angstrom; never more than 0.35 of the
        nearest-neighbour distance is allowed.
    max_strain
        Largest allowed |U - 1| after the common volume factor is taken out, and of
        that factor's cube root.

    Returns
    -------
    SupercellMatch or None
        None where the supercell is not one of this crystal.

    Raises
    ------
    DataError
        The reference has no symmetry to be found, as with atoms on top of each other.
    """
    multiple = _multiple(supercell, reference)
    if multiple is None:
        return None
    spacing = nearest_neighbour_distance(reference)
    best: SupercellMatch | None = None
    best_norm = np.inf
    lattices = lattice_matches(
        supercell.cell.array, reference.cell.array, multiple, max_strain, lambda: point_group(reference)
    )
    for lattice in lattices:
        scaled = spacing * float(np.cbrt(np.linalg.det(lattice.deformation)))
        limit = min(max_displacement, SITE_FRACTION * scaled)
        match = _match_sites(supercell, reference, lattice.matrix, lattice.deformation, lattice.rotation, limit)
        if match is None:
            continue
        norm = float(np.linalg.norm(match.displacements))
        if norm < 0.999 * best_norm:
            best, best_norm = match, norm
        if best is not None and best.max_displacement < _SURE_FRACTION * scaled:
            break
    return best


def _multiple(supercell: Atoms, reference: Atoms) -> int | None:
    """How many reference cells have the supercell's atoms; None when no number has."""
    if len(reference) == 0 or len(supercell) == 0 or len(supercell) % len(reference):
        return None
    if not np.all(supercell.pbc) or supercell.cell.rank < 3 or reference.cell.rank < 3:
        return None
    multiple = len(supercell) // len(reference)
    kinds, counts = np.unique(reference.numbers, return_counts=True)
    own_kinds, own_counts = np.unique(supercell.numbers, return_counts=True)
    same = np.array_equal(kinds, own_kinds) and np.array_equal(counts * multiple, own_counts)
    return multiple if same else None


def _match_sites(
    supercell: Atoms, reference: Atoms, matrix: Ints, deformation: Floats, rotation: Floats, limit: float
) -> SupercellMatch | None:
    """Try every origin for one lattice match; keep the one with the smallest displacements."""
    ideal = ideal_supercell(reference, matrix)
    sites = fractional(ideal)
    atoms = fractional(supercell)
    cell = supercell.cell.array
    allowed = supercell.numbers[:, None] == ideal.numbers[None, :]
    best: tuple[float, Ints, Floats] | None = None
    for shift in _origins(supercell, reference, ideal, atoms, sites):
        placed = _place(atoms - shift, sites, allowed, cell, limit)
        if placed is None:
            continue
        mapping, displacements = placed
        norm = float(np.linalg.norm(displacements))
        if best is None or norm < 0.999 * best[0]:
            best = (norm, mapping, displacements)
        if np.abs(displacements).max() < REST_TOLERANCE:
            break
    if best is None:
        return None
    _, mapping, displacements = best
    return SupercellMatch(
        supercell_matrix=matrix,
        rotation=rotation,
        deformation=deformation,
        mapping=mapping,
        ideal_positions=supercell.positions - displacements,
        displacements=displacements,
        max_displacement=float(np.linalg.norm(displacements, axis=1).max()),
    )


def _origins(supercell: Atoms, reference: Atoms, ideal: Atoms, atoms: Floats, sites: Floats) -> list[Floats]:
    """Candidate origin shifts (fractional): none, then one atom of the rarest kind onto each of its sites."""
    kinds, counts = np.unique(reference.numbers, return_counts=True)
    rarest = kinds[np.argmin(counts)]
    copies = len(ideal) // len(reference)
    # Sites that differ by a lattice translation give the same crystal: one copy of each basis atom.
    basis = np.flatnonzero(reference.numbers == rarest) * copies
    first = int(np.flatnonzero(supercell.numbers == rarest)[0])
    return [np.zeros(3), *(atoms[first] - sites[site] for site in basis)]


def _place(
    atoms: Floats, sites: Floats, allowed: NDArray[np.bool_], cell: Floats, limit: float
) -> tuple[Ints, Floats] | None:
    """Put every atom on its nearest site; None unless each site gets one atom within ``limit``."""
    # The atom that fixed the origin may itself be displaced, so the first round is generous.
    shift = np.zeros(3)
    mapping = np.zeros(len(atoms), dtype=np.int64)
    for allowance in (2.0, 1.0):
        gaps = wrapped((atoms - shift)[:, None, :] - sites[None, :, :]) @ cell
        squares = np.where(allowed, np.einsum("ijk,ijk->ij", gaps, gaps), np.inf)
        mapping = np.argmin(squares, axis=1)
        if np.sqrt(squares[np.arange(len(atoms)), mapping].max()) > allowance * limit:
            return None
        if len(np.unique(mapping)) < len(atoms):
            return None
        moves = gaps[np.arange(len(atoms)), mapping]
        shift = shift + np.linalg.solve(cell.T, np.median(moves, axis=0))
    raw = wrapped(atoms - sites[mapping]) @ cell
    displacements = raw - np.median(raw, axis=0)
    if _at_rest(raw) >= _at_rest(displacements) and _at_rest(raw) > 0:
        displacements = raw
    if np.linalg.norm(displacements, axis=1).max() > limit:
        return None
    return mapping, displacements


def _at_rest(displacements: Floats) -> int:
    return int((np.linalg.norm(displacements, axis=1) < REST_TOLERANCE).sum())
