"""The kind of a configuration, told from its geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlipdb.physics.cells import fractional, nearest_neighbour_distance, wrapped
from mlipdb.physics.ideal import recover_ideal
from mlipdb.physics.symmetry import point_group
from mlipdb.schemas.configuration import ConfigType

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.supercells import SupercellMatch

__all__ = ["ISOLATED_DISTANCE", "REST_TOLERANCE", "STRAIN_TOLERANCE", "classify"]

#: An atom is on its site when it is within this of it (Angstrom).  Relaxed cells are
#: noisy at 1e-5, phonon displacements start at about 5e-3.
REST_TOLERANCE = 1e-3
#: Largest |U - 1| of a cell that counts as undeformed.
STRAIN_TOLERANCE = 2e-3
#: Smallest distance (Angstrom) between the images of an isolated atom.
ISOLATED_DISTANCE = 7.0


def classify(
    atoms: Atoms,
    match: SupercellMatch | None,
    *,
    rest_tolerance: float = REST_TOLERANCE,
    strain_tolerance: float = STRAIN_TOLERANCE,
    isolated_distance: float = ISOLATED_DISTANCE,
) -> ConfigType:
    """Name the kind of a configuration from its geometry.

    - ``isolated_atom``: one atom, not periodic or its images at least 7 A away;
    - ``single_displacement``: exactly one atom off its site, at any strain;
    - ``bulk``: every atom on its site, |U - 1| at most 2e-3;
    - ``strained``: every atom on its site of a deformed crystal;
    - ``rattled``: more than one atom off its site;
    - ``other``: no known crystal.

    Without a match the ideal crystal is sought by symmetry (`recover_ideal`), and the
    answer is ``single_displacement``, ``bulk`` (more than translations as symmetry)
    or ``other``.  Geometry cannot tell ``molecular_dynamics`` from ``rattled``: that
    name comes from metadata alone.

    Parameters
    ----------
    atoms
        The configuration.
    match
        Its match against the reference crystal it is closest to.
    rest_tolerance
        Distance within which an atom is on its site, Angstrom.
    strain_tolerance
        Largest |U - 1| of an undeformed cell.
    isolated_distance
        Smallest image distance of an isolated atom, Angstrom.
    """
    if len(atoms) == 1 and _is_isolated(atoms, isolated_distance):
        return "isolated_atom"
    if match is None:
        return _classify_alone(atoms, rest_tolerance)
    moved = int((np.linalg.norm(match.displacements, axis=1) > rest_tolerance).sum())
    if moved == 1:
        return "single_displacement"
    if moved > 1:
        return "rattled"
    return "bulk" if match.strain <= strain_tolerance else "strained"


def _is_isolated(atoms: Atoms, distance: float) -> bool:
    if not np.any(atoms.pbc):
        return True
    return bool(atoms.cell.rank == 3 and nearest_neighbour_distance(atoms) >= distance)


def _classify_alone(atoms: Atoms, rest_tolerance: float) -> ConfigType:
    if not np.all(atoms.pbc) or atoms.cell.rank < 3:
        return "other"
    recovered = recover_ideal(atoms)
    if recovered is None:
        return "other"
    ideal, _ = recovered
    moves = wrapped(fractional(atoms) - fractional(ideal)) @ atoms.cell.array
    if int((np.linalg.norm(moves, axis=1) > rest_tolerance).sum()) == 1:
        return "single_displacement"
    return "bulk" if len(point_group(ideal)) > 1 else "other"
