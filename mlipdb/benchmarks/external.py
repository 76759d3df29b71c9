"""Forces that somebody else's potential gave, against reference phonons on the same q-points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlipdb.benchmarks.phonons import PhononBenchmarkResult, PhononReference, structure_errors
from mlipdb.benchmarks.relaxation import Relaxed
from mlipdb.errors import PhononError
from mlipdb.physics.cells import hermite_normal_form
from mlipdb.physics.force_constants import phonons_from_force_constants
from mlipdb.physics.phonon_metrics import dos_error, mesh_errors, path_errors, thermal_errors
from mlipdb.physics.phonons import compute_phonons
from mlipdb.physics.phonopy_data import PhonopyData, deformed_cell, force_constants_on, records_on
from mlipdb.physics.symmetry import symmetrise
from mlipdb.schemas.phonon_data import StructureErrors
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.displacements import DisplacementRecord

__all__ = ["MAX_STRAIN", "external_result", "same_displacements"]

#: A potential that relaxes a crystal further than this strain has another crystal.
MAX_STRAIN = 0.1
#: Two displacements are the same when they differ by less than this part of their length.
SAME = 0.02


def external_result(
    data: PhonopyData, reference: PhononReference, protocol: PhononProtocol, label: str
) -> tuple[PhononBenchmarkResult, bool | None]:
    """Compare what a phonopy file of a potential holds with reference phonons.

    The file's cell is what the potential relaxed to, and its displacements are taken as they are.

    Parameters
    ----------
    data
        Displacements with forces, or force constants.
    reference
        Reference phonons.
    protocol
        How phonons follow from forces; its ``relax`` is ``external``.
    label
        Name of the file in messages.

    Returns
    -------
    tuple
        The result, and whether the displacements are those of the reference (None: not to be told).

    Raises
    ------
    PhononError
        The file is of another crystal or supercell (reason ``no_match``).
    IncompleteDisplacementSetError
        Its displacements do not suffice.
    """
    start = symmetrise(reference.unitcell, protocol.symprec)
    match = data.match(start, max_strain=MAX_STRAIN)
    if match is None or not np.array_equal(match.superlattice, hermite_normal_form(reference.supercell_matrix)):
        raise PhononError(f"{label} has another crystal or supercell than the reference.", reason="no_match")
    cell = deformed_cell(start, match, protocol.symprec)
    same: bool | None = None
    if data.forces is None:
        phonons = phonons_from_force_constants(
            cell, match.supercell_matrix, force_constants_on(data, match), protocol, qpoints_from=reference
        )
    else:
        records = records_on(data, match, label)
        phonons = compute_phonons(cell, match.supercell_matrix, records, protocol, qpoints_from=reference)
        if np.array_equal(match.supercell_matrix, reference.supercell_matrix):
            same = same_displacements(records, reference)
    result = PhononBenchmarkResult(
        status="complete",
        phonons=phonons,
        mesh_errors=mesh_errors(reference.mesh, phonons.mesh),
        path_errors=path_errors(reference.band_structure, phonons.band_structure),
        dos_error=dos_error(reference.dos, phonons.dos),
        thermal_errors=thermal_errors(reference.thermal, phonons.thermal),
        structure_errors=_moved(start, cell),
        stability=phonons.stability,
        reference_stability=reference.stability,
    )
    return result, same


def _moved(start: Atoms, cell: Atoms) -> StructureErrors:
    """Structure errors without forces at rest and steps, which no file tells."""
    unknown = {"fmax_at_reference": None, "fmax_relaxed": None, "relax_steps": None}
    return structure_errors(start, Relaxed(cell, 0, 0.0, 0.0, None)).model_copy(update=unknown)


def same_displacements(records: list[DisplacementRecord], reference: PhononReference) -> bool | None:
    """Whether records displace the same atoms by the same vectors as the reference; None where it has none.

    Parameters
    ----------
    records
        In the frame and order of the reference.
    reference
        Reference phonons.
    """
    theirs = [(atom, np.asarray(vector)) for atom, vector in reference.displacements]
    if not theirs:
        return None
    ours = [(record.atom, record.vector) for record in records]
    return len(ours) == len(theirs) and all(
        any(atom == other and np.linalg.norm(vector - their) < SAME * np.linalg.norm(their) for other, their in theirs)
        for atom, vector in ours
    )
