"""DFT phonons from a phonopy calculation, as if its supercells were configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlipdb.derive import Built
from mlipdb.derive.phonons import PHONOPY_FILE, SAME_CELL, completed
from mlipdb.errors import PhononError
from mlipdb.ingest.phonopy_file import phonopy_data
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.structure import AtomicStructure, formula_of

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.displacements import DisplacementRecord
    from mlipdb.physics.phonons import PhononResult
    from mlipdb.physics.phonopy_data import PhonopyData
    from mlipdb.physics.supercells import SupercellMatch

__all__ = ["phonon_of_file"]

#: A supercell whose atoms are off the reference's sites by less than this (Angstrom) is one of the reference itself.
SAME_SITES = 1e-3


def phonon_of_file(
    stub: Phonon, material: Material, task_id: str, raw: Mapping[str, Any], protocol: PhononProtocol
) -> Built:
    """Phonons of the displacement set, or from the force constants, of a phonopy file.

    Parameters
    ----------
    stub
        The document with its key, parents and supercell.
    material
        Crystal the supercell is of.
    task_id, raw
        The raw task.
    protocol
        Mesh, path and tolerances.

    Raises
    ------
    PhononError
        If its forces do not fit together.
    """
    from mlipdb.physics.displacements import analyse_displacements
    from mlipdb.physics.force_constants import phonons_from_force_constants
    from mlipdb.physics.phonons import compute_phonons
    from mlipdb.physics.phonopy_data import force_constants_on, records_on

    data = phonopy_data(raw)
    reference = material.structure.to_ase()
    match = data.match(reference)
    if match is None or match.superlattice != stub.superlattice:
        raise PhononError(
            f"task {task_id} is no supercell of {material.material_id} any more; run `mlipdb build materials`",
            reason="no_match",
        )
    unitcell = _unitcell(reference, match)
    matrix = match.supercell_matrix
    common = _common(stub, data, unitcell, task_id, protocol)
    if data.forces is None:
        return _complete(
            stub, common, phonons_from_force_constants(unitcell, matrix, force_constants_on(data, match), protocol)
        )
    records: list[DisplacementRecord] = records_on(data, match, task_id)
    found = analyse_displacements(unitcell, matrix, records, protocol=protocol)
    common["n_expected"] = len(found.expected)
    if not found.complete:
        common["missing"] = [str(item) for item in found.missing]
        common["n_displacements"] = len(found.expected) - len(found.missing)
        return Built(stub.model_copy(update={**common, "state": "incomplete"}))
    return _complete(stub, common, compute_phonons(unitcell, matrix, records, protocol))


def _complete(stub: Phonon, common: dict[str, Any], result: PhononResult) -> Built:
    params = result.phonopy_params.encode()
    return Built(stub.model_copy(update={**common, **completed(result, params)}), files={PHONOPY_FILE: params})


def _unitcell(reference: Atoms, match: SupercellMatch) -> Atoms:
    """The reference's cell where the supercell is really made of it, else the one it is made of."""
    from mlipdb.physics.phonopy_data import deformed_cell

    if match.strain < SAME_CELL and match.max_displacement < SAME_SITES:
        return reference
    return deformed_cell(reference, match, SAME_SITES)


def _common(stub: Phonon, data: PhonopyData, unitcell: Atoms, task_id: str, protocol: PhononProtocol) -> dict[str, Any]:
    formula, chemsys, elements = formula_of(unitcell.numbers.tolist())
    return {
        "origin": "phonopy_file",
        "method": "finite_displacements" if data.forces is not None else "force_constants",
        "born_charges": data.born_charges,
        "configuration_ids": [],
        "residual_configuration_id": None,
        "task_ids": [task_id],
        "n_atoms_supercell": len(data.supercell),
        "n_displacements": len(data.displacements),
        "n_expected": 0,
        "missing": [],
        "unitcell": AtomicStructure.from_ase(unitcell),
        "protocol": protocol.model_dump(mode="json"),
        "formula": formula,
        "chemsys": chemsys,
        "elements": elements,
        "displacement_distance": None if data.distance is None else round(data.distance, 4),
        "level_label": stub.level_label,
    }
