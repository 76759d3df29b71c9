"""DFT phonons from displaced supercells, with nothing but their geometry and forces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.derive import Built
from mlipdb.errors import IncompleteDisplacementSetError, PhononError
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon, ReferenceDisplacement
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.structure import AtomicStructure

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.displacements import DisplacementSet
    from mlipdb.physics.phonons import PhononResult
    from mlipdb.physics.supercells import SupercellMatch

__all__ = ["PHONOPY_FILE", "SAME_CELL", "completed", "phonon_of"]

Matrix = tuple[tuple[int, int, int], ...]
PHONOPY_FILE = "phonopy_params.yaml"
#: A supercell strained less than this against the reference is one of the reference itself.
SAME_CELL = 1e-4


def phonon_of(
    stub: Phonon,
    material: Material,
    displaced: list[Configuration],
    residual: Configuration | None,
    protocol: PhononProtocol,
) -> Built:
    """Phonons of one displacement set, or the list of displacements it still lacks.

    Parameters
    ----------
    stub
        The document with its key, parents and supercell.
    material
        Crystal the supercells are of.
    displaced
        Supercells with one displaced atom each.
    residual
        The undisplaced supercell, whose forces are subtracted; None where there is none.
    protocol
        Mesh, path and tolerances.

    Raises
    ------
    PhononError
        If the forces do not fit together.
    """
    from mlipdb.physics.displacements import analyse_displacements, displacement_record
    from mlipdb.physics.phonons import compute_phonons

    matrix = np.array(stub.supercell_matrix, dtype=np.int64)
    unitcell = _unitcell(material, displaced)
    records = []
    for configuration in displaced:
        match, forces = _match(configuration, unitcell, stub.superlattice), np.array(configuration.forces)
        label = configuration.configuration_id
        records.append(displacement_record(match, forces, label, supercell_matrix=matrix))
    residual_forces = None
    if residual is not None:
        match, forces = _match(residual, unitcell, stub.superlattice), np.array(residual.forces)
        # The record of an undisplaced cell is taken for its forces, in the order of the set.
        residual_forces = displacement_record(match, forces, supercell_matrix=matrix).forces
    found = analyse_displacements(unitcell, matrix, records, protocol=protocol, residual_forces=residual_forces)
    common = _common(stub, displaced, residual, protocol, found, unitcell)
    if not found.complete:
        common["missing"] = [str(item) for item in found.missing]
        # Nothing was used yet; what counts is how many of those expected are there.
        common["n_displacements"] = len(found.expected) - len(found.missing)
        return Built(stub.model_copy(update={**common, "state": "incomplete"}))
    try:
        result = compute_phonons(unitcell, matrix, records, protocol, residual_forces=residual_forces)
    except IncompleteDisplacementSetError as error:  # the analysis and the calculation must agree
        raise PhononError(f"phonons of {stub.material_name}: {error.message}") from error
    params = result.phonopy_params.encode()
    document = stub.model_copy(update={**common, **completed(result, params)})
    return Built(document, files={PHONOPY_FILE: params})


def completed(result: PhononResult, params: bytes) -> dict[str, Any]:
    """Fields of a document with phonons, whose phonopy_params.yaml is `params`."""
    return {
        "n_displacements": len(result.displacement_set.records),
        "displacements": [
            ReferenceDisplacement.model_validate({"atom": record.atom, "vector": record.vector.tolist()})
            for record in result.displacement_set.records
        ],
        "supercell_matrix": tuple(tuple(row) for row in result.supercell_matrix.tolist()),
        "unitcell": AtomicStructure.from_ase(result.unitcell),
        "primitive": AtomicStructure.from_ase(result.primitive),
        "primitive_matrix": result.primitive_matrix.tolist(),
        "max_frequency": result.max_frequency,
        "min_frequency": result.min_frequency,
        "mesh": result.mesh,
        "path": result.band_structure,
        "dos": result.dos,
        "thermal": result.thermal,
        "stability": result.stability,
        "phonopy_file": ArtifactRef.of(PHONOPY_FILE, params),
    }


def _common(
    stub: Phonon,
    displaced: list[Configuration],
    residual: Configuration | None,
    protocol: PhononProtocol,
    found: DisplacementSet,
    unitcell: Atoms,
) -> dict[str, Any]:
    parents = [*displaced, *([residual] if residual is not None else [])]
    return {
        "n_atoms_supercell": displaced[0].n_atoms,
        "n_displacements": len(found.records),
        "n_expected": len(found.expected),
        "missing": [],
        "residual_configuration_id": None if residual is None else residual.configuration_id,
        "task_ids": sorted({task_id for configuration in parents for task_id in configuration.task_ids}),
        "unitcell": AtomicStructure.from_ase(unitcell),
        "protocol": protocol.model_dump(mode="json"),
        "level_label": Counter(c.level_label for c in displaced).most_common(1)[0][0],
        "formula": stub.formula or displaced[0].formula,
        "chemsys": displaced[0].chemsys,
        "elements": displaced[0].elements,
    }


def _unitcell(material: Material, displaced: list[Configuration]) -> Atoms:
    """The crystal the supercells are really made of.

    The reference cell where they fit it; else (another level of theory, another volume) the cell
    that symmetry recovers from the supercells, in the frame and basis of the reference.
    """
    from mlipdb.physics.phonopy_data import deformed_cell
    from mlipdb.physics.supercells import match_supercell

    reference_cell = material.structure.to_ase()
    first = _structure(displaced[0]).to_ase()
    match = match_supercell(first, reference_cell)
    if match is None:
        raise PhononError(
            f"configuration {displaced[0].configuration_id} is no supercell of {material.material_id} any more; "
            "run `mlipdb build configurations`",
            reason="no_match",
        )
    if match.strain < SAME_CELL:
        return reference_cell
    return deformed_cell(reference_cell, match, 1e-2)


def _match(configuration: Configuration, unitcell: Atoms, superlattice: Matrix) -> SupercellMatch:
    from mlipdb.physics.supercells import match_supercell

    match = match_supercell(_structure(configuration).to_ase(), unitcell)
    if match is None or match.superlattice != superlattice:
        raise PhononError(
            f"configuration {configuration.configuration_id} does not have the supercell of its displacement set; "
            "run `mlipdb build configurations`",
            reason="no_match",
        )
    return match


def _structure(configuration: Configuration) -> AtomicStructure:
    if configuration.structure is None or configuration.forces is None:
        raise PhononError(f"configuration {configuration.configuration_id} has no structure or no forces")
    return configuration.structure
