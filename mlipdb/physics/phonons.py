"""Phonons by finite displacements: force constants, mesh, bands, DOS, thermal properties."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlipdb.errors import IncompleteDisplacementSetError, PhononError
from mlipdb.physics.band_paths import band_path
from mlipdb.physics.crystals import Crystal, build_crystal, to_ase
from mlipdb.physics.displacements import (
    DisplacementRecord,
    DisplacementSet,
    analyse,
    expected_displacements,
)
from mlipdb.physics.phonon_metrics import stability
from mlipdb.physics.phonopy_params import phonopy_from_params
from mlipdb.physics.thermal import thermal_properties
from mlipdb.schemas.phonon_data import (
    BandSegment,
    BandStructure,
    DensityOfStates,
    MeshFrequencies,
    Stability,
    ThermalProperties,
)
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "DisplacedCrystal",
    "PhononResult",
    "QPointSource",
    "compute_phonons",
    "displaced_crystal",
    "frequencies_at",
    "phonons_from_forces",
    "phonopy_from_params",
    "result_of",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class QPointSource(Protocol):
    """What fixes the q-points of a calculation: a `PhononResult` or a benchmark's reference."""

    @property
    def primitive_matrix(self) -> Floats:
        """P with rows, ``A_primitive = P @ A_unit``."""

    @property
    def mesh(self) -> MeshFrequencies:
        """Mesh with its q-points and weights."""

    @property
    def band_structure(self) -> BandStructure:
        """Band path with its q-points."""


@dataclass(frozen=True, slots=True)
class PhononResult:
    """Phonons of one crystal.

    Attributes
    ----------
    unitcell
        Symmetrised unit cell.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    primitive
        Primitive cell, n_p atoms, in the orientation of the unit cell.
    primitive_matrix
        P with rows, ``A_primitive = P @ A_unit``.
    displacement_set
        The displacements that were used.
    force_constants
        Compact, shape (n_p, N, 3, 3), eV/Angstrom^2, in phonopy's order of atoms.
    mesh, band_structure, dos, thermal, stability
        As in `mlipdb.schemas.phonon_data`.
    max_frequency, min_frequency
        Extremes over mesh and path, THz; the minimum includes the acoustic modes at Gamma.
    phonopy
        The `phonopy.Phonopy` object behind it.
    """

    unitcell: Atoms
    supercell_matrix: Ints
    primitive: Atoms
    primitive_matrix: Floats
    displacement_set: DisplacementSet
    force_constants: Floats
    mesh: MeshFrequencies
    band_structure: BandStructure
    dos: DensityOfStates
    thermal: ThermalProperties
    stability: Stability
    max_frequency: float
    min_frequency: float
    phonopy: Any

    @property
    def phonopy_params(self) -> str:
        """Text of a ``phonopy_params.yaml`` with displacements, forces and force constants."""
        settings = {"force_sets": True, "displacements": True, "force_constants": True}
        return str(self.phonopy.to_phonopy_yaml(settings=settings))


def compute_phonons(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    records: Sequence[DisplacementRecord],
    protocol: PhononProtocol,
    *,
    residual_forces: NDArray[np.float64] | None = None,
    qpoints_from: QPointSource | None = None,
) -> PhononResult:
    """Compute phonons from the forces of displaced supercells.

    Force constants are those of Parlinski, Li and Kawazoe (PRL 78, 4063, 1997) as
    phonopy fits them: Phi u = -F for every displacement and its images under the site
    symmetry, solved by the pseudo-inverse.  The mean force of each supercell is
    subtracted first.

    Parameters
    ----------
    unitcell
        Relaxed unit cell; symmetrised within ``protocol.symprec``.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    records
        Displacements with forces, in the order of `ideal_supercell`.
    protocol
        All other choices.
    residual_forces
        Forces of the undisplaced supercell, shape (N, 3), eV/Angstrom.
    qpoints_from
        Take primitive cell, mesh and path from another result, for the same
        fractional q-points.

    Returns
    -------
    PhononResult

    Raises
    ------
    IncompleteDisplacementSetError
        Displacements are missing; the message names them.
    PhononError
        A record or matrix does not fit the crystal.
    DataError
        No symmetry can be found.
    """
    primitive_matrix = None if qpoints_from is None else qpoints_from.primitive_matrix
    crystal = build_crystal(unitcell, supercell_matrix, protocol.symprec, primitive_matrix)
    return _phonons(crystal, records, protocol, residual_forces, qpoints_from)


def phonons_from_forces(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    forces: Callable[[Atoms], NDArray[np.float64]],
    protocol: PhononProtocol,
    *,
    displacements: Sequence[tuple[int, NDArray[np.float64]]] | None = None,
    qpoints_from: QPointSource | None = None,
) -> PhononResult:
    """Compute phonons with a function that gives forces, such as a potential.

    Each needed displacement is computed once.  The undisplaced supercell is computed
    too where opposites are not (``plus_minus: never``); otherwise its forces cancel.

    Parameters
    ----------
    unitcell, supercell_matrix, protocol, qpoints_from
        As in `compute_phonons`.
    forces
        Takes a supercell of N atoms, gives its forces, shape (N, 3), eV/Angstrom.
    displacements
        (atom, vector) in the order of `ideal_supercell`; those phonopy asks for by default.

    Raises
    ------
    PhononError
        Forces are not finite (reason ``bad_displacement``) or displacements do not fit.
    """
    displaced = displaced_crystal(
        unitcell, supercell_matrix, protocol, displacements=displacements, qpoints_from=qpoints_from
    )
    return displaced.phonons([forces(supercell) for supercell in displaced.supercells])


@dataclass(frozen=True, slots=True)
class DisplacedCrystal:
    """A crystal and the supercells whose forces give its phonons.

    Attributes
    ----------
    crystal
        Set up for finite displacements.
    displacements
        (atom, vector) in the order of `ideal_supercell`, Angstrom.
    supercells
        One for each displacement, N atoms; last the undisplaced one where its forces are
        needed (``plus_minus: never``), which otherwise cancel.
    """

    crystal: Crystal
    displacements: Sequence[tuple[int, Floats]]
    supercells: Sequence[Atoms]
    protocol: PhononProtocol
    qpoints_from: QPointSource | None

    def phonons(self, forces: Sequence[Floats]) -> PhononResult:
        """Phonons from the forces of `supercells`; may be called for one set of forces after another.

        Parameters
        ----------
        forces
            Of each supercell, shape (N, 3), eV/Angstrom.

        Raises
        ------
        PhononError
            Forces are not finite (reason ``bad_displacement``) or displacements do not fit.
        """
        arrays = [np.array(values) for values in forces]
        if len(arrays) != len(self.supercells):
            raise PhononError(f"{len(arrays)} sets of forces were given for {len(self.supercells)} supercells")
        count = len(self.displacements)
        records = [
            DisplacementRecord(atom, np.array(vector), values, f"{number:05d}")
            for number, ((atom, vector), values) in enumerate(
                zip(self.displacements, arrays[:count], strict=True), start=1
            )
        ]
        residual = arrays[count] if len(arrays) > count else None
        # What phonopy computes it binds to its own object; cells and symmetry, which take longest, are only read.
        crystal = replace(self.crystal, phonopy=copy(self.crystal.phonopy))
        return _phonons(crystal, records, self.protocol, residual, self.qpoints_from)


def displaced_crystal(
    unitcell: Atoms,
    supercell_matrix: NDArray[np.int64],
    protocol: PhononProtocol,
    *,
    displacements: Sequence[tuple[int, NDArray[np.float64]]] | None = None,
    qpoints_from: QPointSource | None = None,
) -> DisplacedCrystal:
    """Find the supercells whose forces phonons need.

    Parameters
    ----------
    unitcell, supercell_matrix, protocol, displacements, qpoints_from
        As in `phonons_from_forces`.
    """
    primitive_matrix = None if qpoints_from is None else qpoints_from.primitive_matrix
    crystal = build_crystal(unitcell, supercell_matrix, protocol.symprec, primitive_matrix)
    if displacements is None:
        needed = expected_displacements(crystal, protocol)
        displacements = [(entry.atom, np.array(entry.vector)) for entry in needed]
    supercells = []
    for atom, vector in displacements:
        supercell = crystal.supercell.copy()
        supercell.positions[atom] += vector
        supercells.append(supercell)
    if protocol.plus_minus == "never":
        supercells.append(crystal.supercell.copy())
    return DisplacedCrystal(crystal, list(displacements), supercells, protocol, qpoints_from)


def _phonons(
    crystal: Crystal,
    records: Sequence[DisplacementRecord],
    protocol: PhononProtocol,
    residual_forces: NDArray[np.float64] | None,
    qpoints_from: QPointSource | None,
) -> PhononResult:
    displacement_set = _force_constants(crystal, records, protocol, residual_forces)
    return result_of(crystal, displacement_set, protocol, qpoints_from)


def result_of(
    crystal: Crystal,
    displacement_set: DisplacementSet,
    protocol: PhononProtocol,
    qpoints_from: QPointSource | None,
) -> PhononResult:
    """Everything that follows from the force constants that a crystal's phonopy object holds."""
    phonopy = crystal.phonopy
    primitive = to_ase(phonopy.primitive)
    mesh = _mesh(phonopy, protocol, qpoints_from)
    bands = _bands(phonopy, primitive, protocol, qpoints_from)
    values = [mesh.frequencies, *(segment.frequencies for segment in bands.segments)]
    return PhononResult(
        unitcell=crystal.unitcell,
        supercell_matrix=crystal.supercell_matrix,
        primitive=primitive,
        primitive_matrix=crystal.primitive_matrix,
        displacement_set=displacement_set,
        force_constants=np.array(phonopy.force_constants),
        mesh=mesh,
        band_structure=bands,
        dos=_dos(phonopy, protocol),
        thermal=thermal_properties(
            mesh.frequencies,
            mesh.weights,
            protocol.temperatures,
            n_atoms=len(primitive),
            cutoff=protocol.thermal_cutoff,
        ),
        stability=stability(mesh, bands, threshold=protocol.imaginary_threshold),
        max_frequency=max(float(np.max(value)) for value in values),
        min_frequency=min(float(np.min(value)) for value in values),
        phonopy=phonopy,
    )


def _force_constants(
    crystal: Crystal,
    records: Sequence[DisplacementRecord],
    protocol: PhononProtocol,
    residual_forces: NDArray[np.float64] | None,
) -> DisplacementSet:
    """Give the phonopy object its displacements, forces and force constants."""
    found, chosen = analyse(crystal, records, protocol, residual_forces)
    if not found.complete:
        named = "; ".join(str(entry) for entry in found.missing)
        raise IncompleteDisplacementSetError(
            f"{len(found.missing)} displacements of {crystal.unitcell.get_chemical_formula()} are missing: {named}."
        )
    phonopy = crystal.phonopy
    phonopy.dataset = {
        "natom": len(crystal.supercell),
        "first_atoms": [
            {
                "number": entry.representative,
                "displacement": entry.vector,
                "forces": entry.forces - entry.forces.mean(axis=0),
            }
            for entry in chosen
        ],
    }
    phonopy.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    if protocol.symmetrise_force_constants:
        phonopy.symmetrize_force_constants(show_drift=False)
    return found


def frequencies_at(phonopy: Any, qpoints: ArrayLike) -> Floats:
    """Frequencies at q-points.

    Parameters
    ----------
    phonopy
        Phonopy object with force constants (`PhononResult.phonopy` or `phonopy_from_params`).
    qpoints
        Shape (nq, 3), fractional in the reciprocal basis of the primitive cell.

    Returns
    -------
    ndarray
        Shape (nq, nb), THz, ascending, imaginary ones negative.
    """
    phonopy.run_qpoints(np.asarray(qpoints, dtype=float).reshape(-1, 3))
    return np.sort(np.array(phonopy.qpoints.frequencies, dtype=float), axis=1)


def _mesh(phonopy: Any, protocol: PhononProtocol, source: QPointSource | None) -> MeshFrequencies:
    """Run phonopy's mesh; its frequencies also serve the density of states."""
    mesh = protocol.mesh_length if source is None else source.mesh.mesh
    phonopy.run_mesh(mesh, is_gamma_center=True)
    found = phonopy.mesh
    qpoints, weights = np.array(found.qpoints, dtype=float), np.array(found.weights)
    frequencies = np.sort(np.array(found.frequencies, dtype=float), axis=1)
    if source is not None:
        theirs = np.array(source.mesh.qpoints)
        if theirs.shape != qpoints.shape or np.abs(theirs - qpoints).max() > 1e-9:
            frequencies = frequencies_at(phonopy, theirs)
        qpoints, weights = theirs, np.array(source.mesh.weights)
    return MeshFrequencies(
        mesh=[int(number) for number in phonopy.mesh.mesh_numbers],
        qpoints=qpoints.tolist(),
        weights=[int(weight) for weight in weights],
        frequencies=frequencies.tolist(),
    )


def _bands(phonopy: Any, primitive: Atoms, protocol: PhononProtocol, source: QPointSource | None) -> BandStructure:
    """Frequencies on the path, all q-points in one call."""
    if source is None:
        path = [
            (segment.start, segment.end, segment.qpoints.tolist(), segment.distances.tolist())
            for segment in band_path(primitive, protocol.path_density)
        ]
    else:
        path = [
            (segment.start, segment.end, segment.qpoints, segment.distances)
            for segment in source.band_structure.segments
        ]
    scheme = protocol.path_scheme if source is None else source.band_structure.scheme
    if not path:
        return BandStructure(scheme=scheme, segments=[])
    frequencies = frequencies_at(phonopy, np.concatenate([qpoints for _, _, qpoints, _ in path]))
    ends = np.cumsum([len(qpoints) for _, _, qpoints, _ in path])
    segments = [
        BandSegment(start=start, end=end, qpoints=qpoints, distances=distances, frequencies=part.tolist())
        for (start, end, qpoints, distances), part in zip(path, np.split(frequencies, ends[:-1]), strict=True)
    ]
    return BandStructure(scheme=scheme, segments=segments)


def _dos(phonopy: Any, protocol: PhononProtocol) -> DensityOfStates:
    """Density of states on multiples of the step, so that two of them share grid points."""
    frequencies = np.array(phonopy.mesh.frequencies)
    pitch = protocol.dos_pitch
    first, last = _dos_steps(float(frequencies.min()), float(frequencies.max()), protocol)
    phonopy.run_total_dos(
        sigma=protocol.dos_sigma if protocol.dos_method == "gaussian" else None,
        freq_min=first * pitch,
        freq_max=last * pitch,
        freq_pitch=pitch,
        use_tetrahedron_method=protocol.dos_method == "tetrahedron",
    )
    total = np.array(phonopy.total_dos.dos, dtype=float)
    grid = (first + np.arange(len(total))) * pitch
    return DensityOfStates(frequencies=grid.tolist(), total=total.tolist())


def _dos_steps(lowest: float, highest: float, protocol: PhononProtocol) -> tuple[int, int]:
    """First and last point of the frequency grid, in steps."""
    pitch = protocol.dos_pitch
    margin = 5 * protocol.dos_sigma if protocol.dos_method == "gaussian" else 2 * pitch
    # Rounded first: the acoustic modes at Gamma, zero but for rounding, must not move the whole grid by a step.
    return math.floor(round((lowest - margin) / pitch, 3)), math.ceil(round((highest + margin) / pitch, 3))
