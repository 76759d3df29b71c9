"""What can be measured of a label to tell whether it should be believed, and the reasons that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlipdb.physics.cells import nearest_neighbour_distance
from mlipdb.schemas.quality import QUALITY_REASONS, QualityLimits, QualityProblem

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["MEASURES", "measured_problems", "measures_of", "sorted_problems", "stated_problems"]

#: Distances between atoms are looked for up to this, Angstrom; no recipe may ask for more.
SEARCH_DISTANCE: Final = 1.5
#: Fields of a configuration that `measured_problems` reads.
MEASURES: Final = ("energy", "max_force", "force_drift", "min_distance", "box_distance", "stress_error")
#: What an energy may be that the forces are not the derivative of.
ENERGY_KINDS: Final = {
    "extrapolated": "extrapolated to no smearing",
    "internal": "without the entropy of the smearing",
    "unknown": "of a kind that is not told (VASP's with PSTRESS may be the enthalpy)",
}


def measures_of(atoms: Atoms, energy: float, forces: NDArray[np.float64], *, isolated: bool) -> dict[str, Any]:
    """Values that limits are held against.

    Parameters
    ----------
    atoms
        Structure.
    energy
        eV.
    forces
        Shape (N, 3), eV/Angstrom.
    isolated
        Whether it is meant as an isolated atom.

    Returns
    -------
    dict
        ``energy`` (eV), ``max_force`` and ``force_drift`` (the norm of the sum of all forces over the
        number of atoms, eV/Angstrom), ``min_distance`` (Angstrom; None where no two atoms are within
        1.5 Angstrom), ``box_distance`` (distance of an isolated atom from its nearest image; None for
        anything else, and without periodic cell).
    """
    from ase.neighborlist import neighbor_list

    distances = neighbor_list("d", atoms, SEARCH_DISTANCE)
    box = nearest_neighbour_distance(atoms) if isolated and len(atoms) == 1 and bool(np.all(atoms.pbc)) else None
    return {
        "energy": energy,
        "max_force": float(np.linalg.norm(forces, axis=1).max()),
        "force_drift": float(np.linalg.norm(forces.sum(axis=0))) / len(atoms),
        "min_distance": float(distances.min()) if len(distances) else None,
        "box_distance": box,
    }


def stated_problems(*, converged: bool, energy_kind: str) -> list[QualityProblem]:
    """Reasons that only the calculation's producer can tell."""
    problems = []
    if not converged:
        text = "its self-consistency did not converge; finish the calculation and add it again"
        problems.append(QualityProblem(reason="unconverged", message=text, value=None, limit=None))
    if energy_kind != "free":
        text = f"its energy is {ENERGY_KINDS.get(energy_kind, energy_kind)}; forces belong to the free energy"
        problems.append(QualityProblem(reason="energy_kind", message=text, value=None, limit=None))
    return problems


def measured_problems(measures: Mapping[str, Any], limits: QualityLimits) -> list[QualityProblem]:
    """Reasons that follow from measured values.

    Parameters
    ----------
    measures
        Of `MEASURES`, those that are known; a configuration's document will do.
    limits
        How far they may go.
    """
    problems = []
    if measures.get("energy") == 0.0:
        text = "its energy is exactly 0.0, which programs write where they have none"
        problems.append(QualityProblem(reason="zero_energy", message=text, value=0.0, limit=None))
    rules: tuple[tuple[Any, str, float, bool, str], ...] = (
        ("force_too_large", "max_force", limits.max_force, True, "its largest force is {:.4g} eV/Angstrom"),
        ("force_drift", "force_drift", limits.max_drift, True, "its forces sum up to {:.3g} eV/Angstrom an atom"),
        ("atoms_too_close", "min_distance", limits.min_distance, False, "two atoms are {:.3f} Angstrom apart"),
        ("small_box", "box_distance", limits.min_box, False, "an isolated atom {:.3f} Angstrom from its image"),
        (
            "stress_inconsistent", "stress_error", limits.max_stress_error, True,
            "its stress is {:.3g} GPa off the derivative of the energy",
        ),
    )  # fmt: skip
    for reason, name, limit, largest, words in rules:
        value = measures.get(name)
        if value is None or (value <= limit if largest else value >= limit):
            continue
        text = f"{words.format(value)}; at {'most' if largest else 'least'} {limit:g} is expected"
        problems.append(QualityProblem(reason=reason, message=text, value=value, limit=limit))
    return problems


def sorted_problems(problems: Iterable[QualityProblem]) -> list[QualityProblem]:
    """Each reason once, in their order."""
    first: dict[str, QualityProblem] = {}
    for problem in problems:
        first.setdefault(problem.reason, problem)
    return [first[reason] for reason in QUALITY_REASONS if reason in first]
