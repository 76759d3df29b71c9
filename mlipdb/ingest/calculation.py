"""What a raw task says, whoever wrote it, and the checks that every label must pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlipdb.errors import ConfigurationError
from mlipdb.schemas.configuration import ConfigType
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.quality import QualityLimits

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["MAX_FORCE", "Calculation", "EnergyKind", "require_crystal", "require_good", "require_usable"]

#: What an energy is: `free` (what the forces are the derivative of), `extrapolated` to no smearing,
#: `internal` (without the smearing's entropy), or none of these for sure.
EnergyKind = Literal["free", "extrapolated", "internal", "unknown"]

#: Largest force norm that is taken for a label without being asked, eV/Angstrom.
MAX_FORCE = QualityLimits().max_force
#: Largest force component that is kept at all, eV/Angstrom.
MAX_COMPONENT = 1e6
#: Largest |energy| of an atom believed, eV: with all its electrons uranium has below 8e5.
MAX_ENERGY = 1e6
#: Volume per atom believed, Angstrom^3; a single atom may stand in a larger box.
MIN_VOLUME, MAX_VOLUME, MAX_BOX = 1.0, 1e4, 1e6
#: Distance between parallel faces of a cell believed, Angstrom: beyond it a neighbour search does not end.
MIN_HEIGHT, MAX_HEIGHT = 0.5, 1e4


@dataclass
class Calculation:
    """One finished DFT calculation in the units of mlipdb.

    Attributes
    ----------
    task_id
        Where it came from.
    atoms
        Structure (ASE, no calculator).
    energy
        Force-consistent free energy of the cell, eV; None where the task has none.
    forces
        Shape (N, 3), eV/Angstrom, or None.
    stress
        Voigt, shape (6,), eV/Angstrom^3, tension positive, or None.
    level
        Level of theory with its keys.
    converged
        False where the producer says that the self-consistency was not reached.
    energy_kind
        What `energy` is where it is not what the forces belong to.
    config_type
        The producer's word on the kind, where there is one.
    material_names, foreign_ids
        What the producer calls the crystal.
    """

    task_id: str
    atoms: Atoms
    energy: float | None
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    level: LevelOfTheory
    converged: bool = True
    energy_kind: EnergyKind = "free"
    config_type: ConfigType | None = None
    material_names: list[str] = field(default_factory=list)
    foreign_ids: list[str] = field(default_factory=list)


def require_good(calculation: Calculation) -> None:
    """Raise unless a calculation can be a training label that no quality gate holds back.

    Raises
    ------
    ConfigurationError
        As `require_usable`, and with the reasons of `mlipdb.schemas.quality`.
    """
    from mlipdb.physics.quality import measured_problems, measures_of, stated_problems

    require_usable(calculation)
    assert calculation.energy is not None
    assert calculation.forces is not None
    isolated = calculation.config_type == "isolated_atom"
    measures = measures_of(calculation.atoms, calculation.energy, calculation.forces, isolated=isolated)
    stated = stated_problems(converged=calculation.converged, energy_kind=calculation.energy_kind)
    for problem in [*stated, *measured_problems(measures, QualityLimits())]:
        raise ConfigurationError(f"task {calculation.task_id}: {problem.message}", reason=problem.reason)


def require_usable(calculation: Calculation) -> None:
    """Raise unless a calculation has what a training label needs; whether it is a good one is another question.

    Raises
    ------
    ConfigurationError
        With a reason: ``no_energy``, ``no_forces``, ``wrong_shape``, ``not_finite``, ``bad_element``,
        ``bad_cell``, ``bad_energy``, ``bad_forces`` or ``not_isolated``.
    """
    name, n_atoms = f"task {calculation.task_id}", len(calculation.atoms)
    if calculation.energy is None:
        raise ConfigurationError(f"{name}: has no energy; a total energy in eV is needed", reason="no_energy")
    if calculation.forces is None:
        raise ConfigurationError(f"{name}: has no forces; an (N, 3) array in eV/Angstrom is needed", reason="no_forces")
    if calculation.forces.shape != (n_atoms, 3):
        raise ConfigurationError(
            f"{name}: its forces have shape {calculation.forces.shape}; {(n_atoms, 3)} is needed for its "
            f"{n_atoms} atoms",
            reason="wrong_shape",
        )
    _require_finite(calculation, name)
    require_crystal(calculation.task_id, calculation.atoms)
    if abs(calculation.energy) > MAX_ENERGY * n_atoms:
        raise ConfigurationError(
            f"{name}: its energy is {calculation.energy / n_atoms:.3g} eV per atom; at most {MAX_ENERGY:g} is believed",
            reason="bad_energy",
        )
    largest = float(np.abs(calculation.forces).max())
    if largest > MAX_COMPONENT:
        raise ConfigurationError(
            f"{name}: has a force of {largest:.3g} eV/Angstrom; at most {MAX_COMPONENT:g} is believed",
            reason="bad_forces",
        )
    _require_isolated(calculation, name)


def require_crystal(task_id: str, atoms: Atoms) -> None:
    """Raise unless elements and cell can be those of a crystal or of a single atom in a box.

    Raises
    ------
    ConfigurationError
        With a reason: ``bad_element``, ``not_finite`` or ``bad_cell``.
    """
    name, cell = f"task {task_id}", atoms.cell.array
    if not np.all(atoms.numbers > 0):
        raise ConfigurationError(
            f"{name}: its structure has an atom of no element (X); every site must hold an element",
            reason="bad_element",
        )
    if not np.all(np.isfinite(cell)):
        raise ConfigurationError(
            f"{name}: NaN or infinity in its cell; only finite numbers can be trained on", reason="not_finite"
        )
    if not np.any(atoms.pbc):
        return
    # Numbers near the limits of floats, and cells without volume, must end in a comparison that fails.
    with np.errstate(all="ignore"):
        volume = abs(float(np.dot(cell[0], np.cross(cell[1], cell[2]))))
        areas = [float(np.linalg.norm(np.cross(cell[i - 2], cell[i - 1]))) for i in range(3)]
        heights = volume / np.array(areas)
    largest = MAX_BOX if len(atoms) == 1 else MAX_VOLUME
    if not MIN_VOLUME <= volume / len(atoms) <= largest:
        raise ConfigurationError(
            f"{name}: its cell has a volume of {volume / len(atoms):.3g} Angstrom^3 per atom; that is no crystal, "
            f"{MIN_VOLUME:g} to {largest:g} is expected",
            reason="bad_cell",
        )
    if not np.all((heights >= MIN_HEIGHT) & (heights <= MAX_HEIGHT)):
        raise ConfigurationError(
            f"{name}: the faces of its cell are {heights.min():.3g} to {heights.max():.3g} Angstrom apart; "
            f"{MIN_HEIGHT:g} to {MAX_HEIGHT:g} is expected",
            reason="bad_cell",
        )


def _require_isolated(calculation: Calculation, name: str) -> None:
    if calculation.config_type == "isolated_atom" and len(calculation.atoms) != 1:
        raise ConfigurationError(
            f"{name}: is called an isolated atom but has {len(calculation.atoms)} atoms in a cell of "
            f"{calculation.atoms.cell.volume:.4g} Angstrom^3; one atom in a large box is needed",
            reason="not_isolated",
        )


def _require_finite(calculation: Calculation, name: str) -> None:
    parts = {
        "energy": calculation.energy,
        "forces": calculation.forces,
        "stress": calculation.stress,
        "positions": calculation.atoms.positions,
        "cell": calculation.atoms.cell.array,
    }
    for part, value in parts.items():
        if value is not None and not np.all(np.isfinite(np.asarray(value, dtype=float))):
            raise ConfigurationError(
                f"{name}: NaN or infinity in its {part}; only finite numbers can be trained on",
                reason="not_finite",
            )
