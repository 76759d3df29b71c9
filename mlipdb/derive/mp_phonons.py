"""DFT phonons of the Materials Project as a phonon document."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from mlipdb.derive import Built
from mlipdb.derive.phonons import PHONOPY_FILE, SAME_CELL, completed
from mlipdb.errors import PhononError
from mlipdb.ingest.mp_phonon import phonopy_data
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_data import BandSegment, BandStructure, DensityOfStates
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.structure import AtomicStructure, formula_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["band_structure_of", "phonon_of_materials_project"]

Raw = Mapping[str, Any]
MISSING = (
    "force constants with their supercell: the Materials Project offers none for this calculation, so that there is "
    "no mesh to hold a potential against"
)


def phonon_of_materials_project(
    stub: Phonon, material: Material, task_id: str, raw: Raw, protocol: PhononProtocol
) -> Built:
    """Phonons from the force constants that are offered; else their bands and density of states alone.

    The second kind is incomplete: it shows the bands as published, but no potential can be held
    against it.

    Parameters
    ----------
    stub
        The document with its key, parents and supercell.
    material
        The crystal.
    task_id, raw
        The raw task.
    protocol
        Mesh, path and tolerances.

    Raises
    ------
    PhononError
        If the data do not fit together.
    """
    from mlipdb.ingest.flat import read_structure
    from mlipdb.physics.force_constants import phonons_from_force_constants
    from mlipdb.physics.phonopy_data import deformed_cell, force_constants_on

    formula, chemsys, elements = formula_of(read_structure(task_id, raw.get("structure")).numbers.tolist())
    common: dict[str, Any] = {
        "formula": formula,
        "chemsys": chemsys,
        "elements": elements,
        "protocol": protocol.model_dump(mode="json"),
        "born_charges": bool(raw.get("born")),
    }
    data = phonopy_data(task_id, raw)
    if data is None:
        return Built(stub.model_copy(update={**common, **_published(task_id, raw), "state": "incomplete"}))
    reference = material.structure.to_ase()
    match = data.match(reference)
    if match is None or match.superlattice != stub.superlattice:
        raise PhononError(
            f"task {task_id} is no supercell of {material.material_id} any more; run `mlipdb build materials`",
            reason="no_match",
        )
    same = match.strain < SAME_CELL and match.max_displacement < 1e-3
    unitcell = reference if same else deformed_cell(reference, match, 1e-3)
    result = phonons_from_force_constants(unitcell, match.supercell_matrix, force_constants_on(data, match), protocol)
    params = result.phonopy_params.encode()
    common |= {"n_atoms_supercell": len(data.supercell), "unitcell": AtomicStructure.from_ase(unitcell), "missing": []}
    return Built(stub.model_copy(update={**common, **completed(result, params)}), files={PHONOPY_FILE: params})


def _published(task_id: str, raw: Raw) -> dict[str, Any]:
    """Bands and density of states as the service gives them."""
    try:
        bands, dos = raw.get("band_structure"), raw.get("density_of_states")
        path = None if bands is None else band_structure_of(bands)
        density = None if dos is None else DensityOfStates(frequencies=dos["frequencies"], total=dos["densities"])
    except (KeyError, TypeError, ValueError, IndexError, ValidationError) as error:
        raise PhononError(
            f"task {task_id}: its bands or density of states cannot be read ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); those of emmet's PhononBS and PhononDOS are expected",
            reason="bad_bands",
        ) from None
    values = [] if path is None else [value for part in path.segments for row in part.frequencies for value in row]
    return {
        "missing": [MISSING],
        "path": path,
        "dos": density,
        "max_frequency": max(values, default=None),
        "min_frequency": min(values, default=None),
    }


def band_structure_of(bands: Raw) -> BandStructure:
    """Bands of emmet's PhononBS: frequencies (band, q) in THz at fractional q-points, with labels of some.

    A piece of the path ends at each labelled point; between two labelled points that follow each other
    the path jumps.
    """
    qpoints = np.array(bands["qpoints"], dtype=float).reshape(-1, 3)
    frequencies = np.sort(np.array(bands["frequencies"], dtype=float).T, axis=1)
    lattice = bands["reciprocal_lattice"]
    reciprocal = np.array(lattice["matrix"] if isinstance(lattice, Mapping) else lattice, dtype=float) / (2 * np.pi)
    if len(frequencies) != len(qpoints) or reciprocal.shape != (3, 3):
        raise ValueError(f"{len(frequencies)} rows of frequencies for {len(qpoints)} q-points")
    labels = _labels(qpoints, bands.get("labels_dict") or {})
    marks = sorted({0, len(qpoints) - 1, *labels})
    segments, distance = [], 0.0
    for first, last in pairwise(marks):
        if last == first + 1 and first in labels and last in labels:
            continue
        part = qpoints[first : last + 1]
        steps = np.linalg.norm(np.diff(part, axis=0) @ reciprocal, axis=1)
        distances = distance + np.concatenate([[0.0], np.cumsum(steps)])
        distance = float(distances[-1])
        segments.append(
            BandSegment(
                start=labels.get(first, ""),
                end=labels.get(last, ""),
                qpoints=part.tolist(),
                distances=distances.tolist(),
                frequencies=frequencies[first : last + 1].tolist(),
            )
        )
    return BandStructure(scheme=str(bands.get("path_convention") or "materials_project"), segments=segments)


def _labels(qpoints: NDArray[np.float64], named: Raw) -> dict[int, str]:
    """Index -> label of the labelled points, Gamma as GAMMA."""
    found: dict[int, str] = {}
    for label, point in sorted(named.items()):
        clean = "GAMMA" if label.strip("\\$") in {"Gamma", "Γ", "GAMMA", "G"} else label
        for index in np.flatnonzero(np.abs(qpoints - np.array(point, dtype=float)).max(axis=1) < 1e-6):
            found.setdefault(int(index), clean)
    return found
