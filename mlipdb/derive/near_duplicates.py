"""Structures that are the same to within a thousandth of an Angstrom but whose labels are not.

One calculation that arrives by several ways is one configuration.  Two documents that hold the same
structure at the same level of theory are two calculations, or one that was read wrongly; which of them
is right nobody can tell from the numbers, so both are kept and told of.

Candidates are found without comparing each with each: a structure becomes a few numbers that change
little where it changes little, and a k-d tree gives the pairs whose numbers are close.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.physics.cells import wrapped

__all__ = ["FIELDS", "Labelled", "NearDuplicate", "near_duplicates"]

Raw = dict[str, Any]
Floats = NDArray[np.float64]
#: Fields of configurations that are looked at first; structures and forces of candidates follow.
FIELDS = ("configuration_id", "level_id", "structure")
#: Distance of two sites, or of two cell vectors' components, that are the same, Angstrom.
SAME_SITE = 1e-3
#: Differences that a shift of the sites by `SAME_SITE` does not explain: eV/atom and eV/Angstrom.
ENERGY_TOLERANCE, FORCE_TOLERANCE = 1e-3, 0.1
#: Projections of a structure, and standard deviations of their change that are still close.
N_PROJECTIONS, N_SIGMA = 10, 5.0


@dataclass(frozen=True)
class NearDuplicate:
    """Two configurations with one structure and different labels.

    Attributes
    ----------
    configuration_ids
        Both keys, in order.
    level_label
        Their level of theory.
    distance
        Largest distance between equal sites, Angstrom.
    energy_difference
        |Difference| of the energies, eV/atom.
    force_difference
        Largest |difference| of a force component, eV/Angstrom.
    """

    configuration_ids: tuple[str, str]
    level_label: str
    distance: float
    energy_difference: float
    force_difference: float

    def as_dict(self) -> Raw:
        """Plain values for `--json`."""
        return asdict(self)

    def sentence(self) -> str:
        """What a person reads."""
        return (
            f"configurations {self.configuration_ids[0]} and {self.configuration_ids[1]} hold the same structure "
            f"(within {self.distance:.1g} Angstrom) at {self.level_label}, but their energies differ by "
            f"{1000 * self.energy_difference:.3g} meV/atom and their forces by up to {self.force_difference:.3g} "
            "eV/Angstrom; one of them may be wrong"
        )


class Labelled:
    """A candidate: what is compared of its document, and nothing else."""

    fields = ("configuration_id", "level_label", "structure", "energy", "forces")

    def __init__(self, document: Raw) -> None:
        self.key: str = document["configuration_id"]
        self.level_label: str = document["level_label"]
        self.cell = _cell(document["structure"])
        self.fractions = np.array(document["structure"]["positions"]) @ np.linalg.inv(self.cell)
        self.energy: float = document["energy"]
        self.forces = np.array(document["forces"])


def near_duplicates(
    configurations: Iterable[Raw], load: Callable[[list[str]], dict[str, Labelled]]
) -> Iterator[NearDuplicate]:
    """Pairs of configurations with one structure, atom by atom, and labels that differ.

    Parameters
    ----------
    configurations
        Documents with `FIELDS`; each is forgotten once it has been looked at.
    load
        Gives the few candidates by key.
    """
    buckets: dict[tuple[Any, ...], list[tuple[str, Floats]]] = {}
    for doc in configurations:
        structure = doc["structure"]
        numbers = np.array(structure["numbers"], dtype=np.int16)
        key = (doc["level_id"], tuple(structure.get("pbc") or ()), numbers.tobytes())
        buckets.setdefault(key, []).append((doc["configuration_id"], _features(structure)))
    for _, members in sorted(buckets.items()):
        pairs = _close_pairs(members) if len(members) > 1 else []
        if pairs:
            candidates = load(sorted({key for pair in pairs for key in pair}))
            for one, other in pairs:
                if one in candidates and other in candidates:
                    found = _compared(candidates[one], candidates[other])
                    if found is not None:
                        yield found


def _cell(structure: Raw) -> Floats:
    """Cell vectors; a large cube for molecules, whose positions are then compared as they are."""
    cell = np.array(structure["cell"], dtype=float)
    return cell if abs(float(np.linalg.det(cell))) > 1e-6 else 1000.0 * np.eye(3)


def _features(structure: Raw) -> Floats:
    """Numbers that differ by less than 1 between structures that are the same.

    Components of the cell, and fixed random projections of cos and sin of 2 pi times the fractional
    coordinates, which do not jump where an atom crosses a face of the cell.  If each site moves by at most
    d, the norm of the change is at most 2 pi sqrt(N) d |A^-1|, and that of its projection on a random unit
    vector about 1 / sqrt(6 N) of that.
    """
    cell = _cell(structure)
    inverse = np.linalg.inv(cell)
    angles = 2 * np.pi * (np.array(structure["positions"]) @ inverse).ravel()
    vector = np.concatenate([np.cos(angles), np.sin(angles)])
    sigma = 2 * np.pi * SAME_SITE * float(np.linalg.norm(inverse, 2)) / math.sqrt(6)
    projected = _directions(len(vector)) @ vector / (N_SIGMA * sigma)
    return np.concatenate([cell.ravel() / SAME_SITE, projected])


_DIRECTIONS: dict[int, Floats] = {}


def _directions(size: int) -> Floats:
    """Random unit vectors, the same on any machine."""
    if size not in _DIRECTIONS:
        _DIRECTIONS.clear()
        rows = np.random.Generator(np.random.PCG64(0)).standard_normal((N_PROJECTIONS, size))
        _DIRECTIONS[size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return _DIRECTIONS[size]


def _close_pairs(members: list[tuple[str, Floats]]) -> list[tuple[str, str]]:
    from scipy.spatial import cKDTree

    members.sort(key=lambda member: member[0])
    tree = cKDTree(np.array([features for _, features in members]))
    pairs = tree.query_pairs(1.0, p=np.inf, output_type="ndarray")
    return sorted((members[min(i, j)][0], members[max(i, j)][0]) for i, j in pairs.tolist())


def _compared(one: Labelled, other: Labelled) -> NearDuplicate | None:
    """What differs between two configurations; None if their structures do or their labels do not."""
    if np.abs(one.cell - other.cell).max() > SAME_SITE:
        return None
    distance = float(np.linalg.norm(wrapped(one.fractions - other.fractions) @ one.cell, axis=1).max())
    if distance > SAME_SITE:
        return None
    energy = abs(one.energy - other.energy) / len(one.forces)
    force = float(np.abs(one.forces - other.forces).max())
    if energy <= ENERGY_TOLERANCE and force <= FORCE_TOLERANCE:
        return None
    return NearDuplicate((one.key, other.key), one.level_label, distance, energy, force)
