"""A potential's phonons against reference phonons, on the same q-points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mlipdb.benchmarks.relaxation import Relaxed, checked_forces, evaluate_forces, relax, unrelaxed
from mlipdb.errors import CalculatorError
from mlipdb.physics.cells import fractional, wrapped
from mlipdb.physics.phonon_metrics import dos_error, mesh_errors, path_errors, thermal_errors
from mlipdb.physics.phonons import DisplacedCrystal, PhononResult, displaced_crystal
from mlipdb.physics.symmetry import symmetrise
from mlipdb.schemas.phonon_data import (
    BandStructure,
    DensityOfStates,
    DosError,
    FrequencyErrors,
    MeshFrequencies,
    Stability,
    StructureErrors,
    ThermalErrors,
    ThermalProperties,
)
from mlipdb.schemas.phonon_protocol import PhononProtocol

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = ["FixedCell", "PhononBenchmark", "PhononBenchmarkResult", "PhononReference", "structure_errors"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhononReference:
    """Reference phonons as a benchmark needs them.

    Attributes
    ----------
    unitcell
        Relaxed unit cell of the reference method.
    supercell_matrix
        S with rows, ``A_super = S @ A_unit``.
    primitive_matrix
        P with rows, ``A_primitive = P @ A_unit``.
    mesh, band_structure, dos, thermal, stability
        Reference data.
    displacements
        (atom, vector) of the reference's displaced supercells in the order of
        `ideal_supercell`, Angstrom; the potential takes the same.  Empty where the
        reference has none (linear response): phonopy's choice at the protocol's
        distance is taken.
    """

    unitcell: Atoms
    supercell_matrix: NDArray[np.int64]
    primitive_matrix: Floats
    mesh: MeshFrequencies
    band_structure: BandStructure
    dos: DensityOfStates
    thermal: ThermalProperties
    stability: Stability
    displacements: Sequence[tuple[int, Floats]] = ()

    @classmethod
    def from_result(cls, result: PhononResult) -> PhononReference:
        """Take what is needed from computed phonons."""
        return cls(
            unitcell=result.unitcell,
            supercell_matrix=result.supercell_matrix,
            primitive_matrix=result.primitive_matrix,
            mesh=result.mesh,
            band_structure=result.band_structure,
            dos=result.dos,
            thermal=result.thermal,
            stability=result.stability,
            displacements=[(record.atom, np.array(record.vector)) for record in result.displacement_set.records],
        )


@dataclass(frozen=True, slots=True)
class PhononBenchmarkResult:
    """What a potential's phonons are worth; failed results carry the reason instead.

    Attributes
    ----------
    status
        "complete" or "failed".
    reason, message
        Why it failed: a short stable name and one sentence.
    phonons
        The potential's phonons on the reference's q-points.
    mesh_errors, path_errors
        Frequencies on the mesh (its RMSE ranks potentials) and along the path.
    dos_error, thermal_errors, structure_errors
        As in `mlipdb.schemas.phonon_data`.  The last is also there when phonons
        failed after the relaxation.
    stability, reference_stability
        Of the potential and of the reference.
    """

    status: Literal["complete", "failed"]
    reason: str | None = None
    message: str | None = None
    phonons: PhononResult | None = None
    mesh_errors: FrequencyErrors | None = None
    path_errors: FrequencyErrors | None = None
    dos_error: DosError | None = None
    thermal_errors: ThermalErrors | None = None
    structure_errors: StructureErrors | None = None
    stability: Stability | None = None
    reference_stability: Stability | None = None


class PhononBenchmark:
    """Phonons by finite displacements, the potential under the protocol of the reference."""

    name: ClassVar[str] = "phonons"
    Protocol: ClassVar[type[PhononProtocol]] = PhononProtocol

    def run(
        self, calculator: Calculator, reference: PhononReference, protocol: PhononProtocol
    ) -> PhononBenchmarkResult:
        """Compute a potential's phonons and compare them.

        The reference's unit cell is relaxed with the potential (symmetry kept), then
        the same displacements in the same supercell give force constants, and these
        frequencies on the reference's own fractional q-points.

        Parameters
        ----------
        calculator
            ASE calculator of the potential.
        reference
            Reference phonons, computed under the same protocol.
        protocol
            How to relax and compute.

        Returns
        -------
        PhononBenchmarkResult
            ``status`` is "failed", with reason and message, where the potential fails:
            ``calculator_failed``, ``property_missing``, ``not_finite``,
            ``not_converged``, ``cell_exploded``, ``symmetry_lost``.

        Raises
        ------
        DataError
            The reference itself is not usable.
        """
        if protocol.relax == "none":
            cell = FixedCell(reference, protocol)
            return cell.result(
                lambda: evaluate_forces(cell.unitcell, calculator),
                lambda: [evaluate_forces(supercell, calculator) for supercell in cell.supercells],
            )
        start = symmetrise(reference.unitcell, protocol.symprec)

        def measure(relaxed: Relaxed) -> PhononResult:
            displaced = _displaced(relaxed.atoms, reference, protocol)
            return displaced.phonons([evaluate_forces(supercell, calculator) for supercell in displaced.supercells])

        return _result(reference, start, lambda: relax(start, calculator, protocol), measure)


class FixedCell:
    """A reference at its own cell, and the forces it asks of a potential (``relax: none``).

    The same cells serve any number of potentials, so their forces may come from one evaluation.

    Parameters
    ----------
    reference
        Reference phonons.
    protocol
        Its ``relax`` is taken for "none".

    Attributes
    ----------
    unitcell
        Symmetrised unit cell.
    supercells
        Displaced supercells, in the order of the forces.
    """

    def __init__(self, reference: PhononReference, protocol: PhononProtocol) -> None:
        self.unitcell = symmetrise(reference.unitcell, protocol.symprec)
        self._reference = reference
        self._displaced = _displaced(self.unitcell, reference, protocol)

    @property
    def supercells(self) -> Sequence[Atoms]:
        """Displaced supercells, in the order of the forces."""
        return self._displaced.supercells

    def result(
        self, unitcell_forces: Callable[[], Floats], supercell_forces: Callable[[], Sequence[Floats]]
    ) -> PhononBenchmarkResult:
        """Compare the phonons that some forces give.

        Parameters
        ----------
        unitcell_forces
            Gives the forces of `unitcell`, shape (n, 3), eV/Angstrom.
        supercell_forces
            Gives those of each of `supercells`, shape (N, 3).

        Returns
        -------
        PhononBenchmarkResult
            Failed where one of them raises `CalculatorError`, or where forces are not finite
            (reason ``not_finite``).
        """
        return _result(
            self._reference,
            self.unitcell,
            lambda: unrelaxed(self.unitcell, unitcell_forces()),
            lambda _: self._displaced.phonons([checked_forces(values) for values in supercell_forces()]),
        )

    def result_from_forces(self, forces: Sequence[Floats]) -> PhononBenchmarkResult:
        """Compare the phonons that given forces give.

        Parameters
        ----------
        forces
            Of `unitcell`, then of each of `supercells`, eV/Angstrom.
        """
        return self.result(lambda: forces[0], lambda: forces[1:])


def _displaced(unitcell: Atoms, reference: PhononReference, protocol: PhononProtocol) -> DisplacedCrystal:
    return displaced_crystal(
        unitcell,
        reference.supercell_matrix,
        protocol,
        displacements=reference.displacements or None,
        qpoints_from=reference,
    )


def _result(
    reference: PhononReference,
    start: Atoms,
    relaxation: Callable[[], Relaxed],
    measure: Callable[[Relaxed], PhononResult],
) -> PhononBenchmarkResult:
    """Relax, compute phonons, compare; a potential's failure becomes a failed result."""
    relaxed: Relaxed | None = None
    try:
        relaxed = relaxation()
        phonons = measure(relaxed)
    except CalculatorError as error:
        return PhononBenchmarkResult(
            status="failed",
            reason=error.reason,
            message=error.message,
            structure_errors=None if relaxed is None else structure_errors(start, relaxed),
            reference_stability=reference.stability,
        )
    return PhononBenchmarkResult(
        status="complete",
        phonons=phonons,
        mesh_errors=mesh_errors(reference.mesh, phonons.mesh),
        path_errors=path_errors(reference.band_structure, phonons.band_structure),
        dos_error=dos_error(reference.dos, phonons.dos),
        thermal_errors=thermal_errors(reference.thermal, phonons.thermal),
        structure_errors=structure_errors(start, relaxed),
        stability=phonons.stability,
        reference_stability=reference.stability,
    )


def structure_errors(reference: Atoms, relaxed: Relaxed) -> StructureErrors:
    """Compare a relaxed cell with the one it started from.

    Parameters
    ----------
    reference
        The reference's unit cell.
    relaxed
        The same cell relaxed by the potential, same order of atoms.
    """
    old, new = reference.cell.cellpar(), relaxed.atoms.cell.cellpar()
    volume = reference.get_volume()
    moves = wrapped(fractional(relaxed.atoms) - fractional(reference)) @ reference.cell.array
    moves = moves - moves.mean(axis=0)
    return StructureErrors(
        volume_error=(relaxed.atoms.get_volume() - volume) / volume,
        length_errors=((new[:3] - old[:3]) / old[:3]).tolist(),
        angle_errors=(new[3:] - old[3:]).tolist(),
        max_displacement=float(np.linalg.norm(moves, axis=1).max()),
        fmax_at_reference=relaxed.fmax_start,
        pressure_at_reference=relaxed.pressure_start,
        fmax_relaxed=relaxed.fmax,
        relax_steps=relaxed.steps,
    )
