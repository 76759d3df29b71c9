"""Which finite displacements a crystal needs, and which a set of calculations has.

Nothing but geometry is used: the displacements may come from any program, on any of
several equivalent atoms, in any sufficient choice of directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import PhononError
from mlipdb.physics.cells import same_sites
from mlipdb.physics.crystals import Crystal, build_crystal
from mlipdb.physics.displacement_sets import DisplacementRecord, DisplacementSet, ExpectedDisplacement
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.supercells import SupercellMatch

__all__ = [
    "DisplacementRecord",
    "DisplacementSet",
    "ExpectedDisplacement",
    "analyse_displacements",
    "displacement_record",
    "expected_displacements",
]

Floats = NDArray[np.float64]

#: Two displacements are the same when they differ by less than this part of their length.
_SAME = 0.02
#: Smallest singular value of unit directions, relative to the largest, that still spans space.
_SPAN = 0.05


@dataclass(frozen=True, slots=True)
class _Observed:
    """A record carried onto the representative of its orbit (phonopy's order)."""

    record: DisplacementRecord
    representative: int
    vector: Floats
    forces: Floats


def displacement_record(
    match: SupercellMatch,
    forces: NDArray[np.float64],
    label: str = "",
    *,
    supercell_matrix: NDArray[np.int64] | None = None,
) -> DisplacementRecord:
    """Make the record of a supercell with one displaced atom from its match.

    Displacement and forces are turned into the frame and order of the reference, so
    supercells in any orientation and order can be mixed.

    Parameters
    ----------
    match
        From `match_supercell`.
    forces
        Shape (N, 3), eV/Angstrom, in the order and frame of the matched supercell.
    label
        Name of the calculation.
    supercell_matrix
        Express the record in this basis of the same superlattice; that of the match by default.

    Raises
    ------
    DataError
        The superlattices differ (reason ``different_superlattice``).
    """
    vectors, turned = match.to_reference(match.displacements), match.to_reference(forces)
    if supercell_matrix is not None:
        n_atoms = len(match.mapping) // abs(round(np.linalg.det(match.supercell_matrix)))
        order = np.argsort(same_sites(match.supercell_matrix, supercell_matrix, n_atoms))
        vectors, turned = vectors[order], turned[order]
    site = int(np.argmax(np.linalg.norm(vectors, axis=1)))
    return DisplacementRecord(site, vectors[site], turned, label)


def expected_displacements(crystal: Crystal, protocol: PhononProtocol) -> list[ExpectedDisplacement]:
    """Displacements phonopy asks for, in the order of `ideal_supercell`."""
    crystal.phonopy.generate_displacements(
        distance=protocol.displacement_distance,
        is_plusminus="auto" if protocol.plus_minus == "auto" else False,
    )
    return [
        _expected(crystal, int(entry["number"]), np.array(entry["displacement"]))
        for entry in crystal.phonopy.dataset["first_atoms"]
    ]


def _expected(crystal: Crystal, number: int, vector: Floats) -> ExpectedDisplacement:
    atom = int(np.flatnonzero(crystal.order == number)[0])
    x, y, z = (float(part) for part in vector)
    site = atom // (len(crystal.supercell) // len(crystal.unitcell))
    return ExpectedDisplacement(atom, site, crystal.supercell.symbols[atom], (x, y, z))


def analyse_displacements(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    records: Sequence[DisplacementRecord],
    *,
    protocol: PhononProtocol,
    residual_forces: NDArray[np.float64] | None = None,
) -> DisplacementSet:
    """Find out whether displaced supercells suffice for the force constants.

    They do when, for every inequivalent atom, the observed directions carried around
    by its site symmetry span space, each of them with its opposite, observed or
    equivalent by symmetry (the opposite is not asked for under ``plus_minus:
    never``).  phonopy's own choice of displacements is one such set.

    Parameters
    ----------
    unitcell
        Relaxed unit cell; symmetrised here within ``protocol.symprec``.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    records
        Observed displacements in the order of `ideal_supercell`.
    protocol
        Its ``symprec``, ``plus_minus`` and ``displacement_distance`` are used.
    residual_forces
        Forces of the undisplaced supercell, shape (N, 3), eV/Angstrom, in the same
        order; subtracted from every record.

    Returns
    -------
    DisplacementSet

    Raises
    ------
    PhononError
        A record does not fit the supercell (reason ``bad_displacement``).
    """
    crystal = build_crystal(unitcell, supercell_matrix, protocol.symprec)
    return analyse(crystal, records, protocol, residual_forces)[0]


def analyse(
    crystal: Crystal,
    records: Sequence[DisplacementRecord],
    protocol: PhononProtocol,
    residual_forces: NDArray[np.float64] | None,
) -> tuple[DisplacementSet, list[_Observed]]:
    """Do `analyse_displacements` for a crystal already set up; also give the chosen observations."""
    corrected, residual_fmax = _corrected(crystal, records, residual_forces)
    # Input order must not decide which of two duplicates is used.
    corrected.sort(key=lambda record: (record.label, record.atom, tuple(record.vector)))
    observed = [_carry(crystal, record) for record in corrected]
    kept, duplicates = _without_duplicates(crystal, observed)
    expected = expected_displacements(crystal, protocol)
    chosen: list[_Observed] = []
    unpaired: list[str] = []
    missing: list[ExpectedDisplacement] = []
    for representative in sorted(set(crystal.permutations.min(axis=0).tolist())):
        own = [entry for entry in kept if entry.representative == representative]
        needed = [entry for entry in expected if _representative(crystal, entry) == representative]
        rotations = crystal.site_rotations(representative)
        pairs = [entry for entry in own if protocol.plus_minus == "never" or _has_opposite(entry, own, rotations)]
        chosen += pairs
        unpaired += [entry.record.label for entry in own if not any(entry is other for other in pairs)]
        if not _spans(pairs, rotations):
            missing += _missing(crystal, own, pairs, needed, rotations)
    return (
        DisplacementSet(
            complete=not missing,
            expected=expected,
            missing=missing,
            records=[entry.record for entry in chosen],
            duplicates=duplicates,
            unpaired=unpaired,
            paired=all(_has_opposite(entry, chosen, crystal.site_rotations(entry.representative)) for entry in chosen),
            residual_fmax=residual_fmax,
        ),
        chosen,
    )


def _corrected(
    crystal: Crystal, records: Sequence[DisplacementRecord], residual_forces: NDArray[np.float64] | None
) -> tuple[list[DisplacementRecord], float | None]:
    shape = (len(crystal.supercell), 3)
    residual = np.zeros(shape) if residual_forces is None else np.asarray(residual_forces, dtype=float)
    if residual.shape != shape or not np.all(np.isfinite(residual)):
        raise PhononError(
            f"The residual forces must be finite and of shape {shape}, not {residual.shape}.",
            reason="bad_displacement",
        )
    for record in records:
        _check(record, shape)
    corrected = [
        DisplacementRecord(
            record.atom,
            np.array(record.vector, dtype=float),
            np.array(record.forces, dtype=float) - residual,
            record.label,
        )
        for record in records
    ]
    fmax = None if residual_forces is None else float(np.linalg.norm(residual, axis=1).max())
    return corrected, fmax


def _check(record: DisplacementRecord, shape: tuple[int, int]) -> None:
    vector, forces = np.asarray(record.vector, dtype=float), np.asarray(record.forces, dtype=float)
    if not 0 <= record.atom < shape[0] or forces.shape != shape:
        raise PhononError(
            f"Displacement {record.label!r} (atom {record.atom}, forces {forces.shape}) does not fit a "
            f"supercell of {shape[0]} atoms.",
            reason="bad_displacement",
        )
    if not (np.all(np.isfinite(vector)) and np.all(np.isfinite(forces))):
        raise PhononError(
            f"Displacement {record.label!r} has a vector or forces that are not finite numbers.",
            reason="bad_displacement",
        )
    if vector.shape != (3,) or not np.any(vector):
        raise PhononError(
            f"Displacement {record.label!r} displaces nothing; an undisplaced supercell goes into the residual forces.",
            reason="bad_displacement",
        )


def _carry(crystal: Crystal, record: DisplacementRecord) -> _Observed:
    """Apply the operation that takes the displaced atom to the representative of its orbit.

    With an operation (R, permutation) a displacement u of atom i with forces F_j is
    equivalent to R u of atom p(i) with forces F'_p(j) = R F_j.
    """
    atom = int(crystal.order[record.atom])
    forces = np.empty_like(record.forces)
    forces[crystal.order] = record.forces
    representative = crystal.representative(atom)
    if representative == atom:
        return _Observed(record, atom, record.vector, forces)
    k = crystal.operation(atom, representative)
    rotation = crystal.rotations[k]
    moved = np.empty_like(forces)
    moved[crystal.permutations[k]] = forces @ rotation.T
    return _Observed(record, representative, rotation @ record.vector, moved)


def _reaches(start: Floats, goal: Floats, rotations: Floats) -> bool:
    """Whether a site operation turns one vector into another."""
    gaps = np.linalg.norm(rotations @ start - goal, axis=1)
    return bool(gaps.min() <= _SAME * np.linalg.norm(goal))


def _unit(vector: NDArray[np.float64] | Sequence[float]) -> Floats:
    array = np.asarray(vector, dtype=float)
    result: Floats = array / np.linalg.norm(array)
    return result


def _without_duplicates(crystal: Crystal, observed: list[_Observed]) -> tuple[list[_Observed], list[str]]:
    kept: list[_Observed] = []
    duplicates: list[str] = []
    for entry in observed:
        rotations = crystal.site_rotations(entry.representative)
        known = any(
            other.representative == entry.representative and _reaches(other.vector, entry.vector, rotations)
            for other in kept
        )
        if known:
            duplicates.append(entry.record.label)
        else:
            kept.append(entry)
    return kept, duplicates


def _has_opposite(entry: _Observed, others: list[_Observed], rotations: Floats) -> bool:
    return any(
        other.representative == entry.representative and _reaches(other.vector, -entry.vector, rotations)
        for other in others
    )


def _spans(entries: list[_Observed], rotations: Floats) -> bool:
    if not entries:
        return False
    directions = np.concatenate([rotations @ _unit(entry.vector) for entry in entries])
    values = np.linalg.svd(directions, compute_uv=False)
    return bool(len(values) == 3 and values[-1] > _SPAN * values[0])


def _representative(crystal: Crystal, entry: ExpectedDisplacement) -> int:
    return crystal.representative(int(crystal.order[entry.atom]))


def _missing(
    crystal: Crystal,
    own: list[_Observed],
    pairs: list[_Observed],
    needed: list[ExpectedDisplacement],
    rotations: Floats,
) -> list[ExpectedDisplacement]:
    """Name what would complete one site: opposites where directions suffice, else what phonopy expects."""
    if _spans(own, rotations):
        return [
            _expected(crystal, entry.representative, -entry.vector)
            for entry in own
            if not any(entry is other for other in pairs)
        ]
    return [
        entry
        for entry in needed
        if not any(_reaches(_unit(other.vector), _unit(entry.vector), rotations) for other in own)
    ]
