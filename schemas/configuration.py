"""One labelled atomic configuration: structure, energy, forces, stress."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import Document, Model
from mlipdb.schemas.keys import rounded
from mlipdb.schemas.quality import QualityProblem
from mlipdb.schemas.structure import AtomicStructure

__all__ = ["CONFIG_TYPES", "ConfigType", "Configuration", "ConfigurationSource", "Displacement"]

ConfigType = Literal[
    "isolated_atom", "bulk", "strained", "single_displacement", "rattled", "molecular_dynamics", "other"
]
CONFIG_TYPES: tuple[ConfigType, ...] = (
    "isolated_atom",
    "bulk",
    "strained",
    "single_displacement",
    "rattled",
    "molecular_dynamics",
    "other",
)


class Displacement(Model):
    """The one displaced atom of a supercell."""

    atom: int = Field(ge=0, description="Index in the configuration, from 0")
    vector: tuple[float, float, float] = Field(description="Cartesian, Angstrom")
    distance: float = Field(gt=0, description="Angstrom")


class ConfigurationSource(Model):
    """One task that a configuration was read from."""

    task_id: str
    content_hash: str | None = Field(None, description="Of the raw task, when it was read")
    inputs_hash: str = Field(description="Of the raw task and the builder's version")
    quality: list[QualityProblem] = Field(
        default_factory=list, description="What the task itself says against it, such as `unconverged`"
    )
    config_type: ConfigType | None = Field(None, description="Kind by this task")
    config_type_from: Literal["metadata", "geometry"] | None = None
    displacement: Displacement | None = Field(None, description="Where that kind is single_displacement")
    box_distance: float | None = Field(None, description="Where that kind is isolated_atom, Angstrom")


class Configuration(Document):
    """What potentials are trained on and phonons are made from."""

    key_field: ClassVar[str] = "configuration_id"
    prefix: ClassVar[str] = "cfg"

    configuration_id: str
    task_ids: list[str] = Field(min_length=1, description="Tasks that hold this same calculation")
    sources: list[ConfigurationSource] = Field(default_factory=list, description="One for each of task_ids")
    formula: str = ""
    chemsys: str = ""
    elements: list[str] = Field(default_factory=list)
    n_atoms: int = Field(0, ge=0)
    structure: AtomicStructure | None = None
    energy: float | None = Field(None, description="Force-consistent free energy of the cell, eV")
    energy_per_atom: float | None = Field(None, description="eV")
    forces: list[tuple[float, float, float]] | None = Field(None, description="Shape (N, 3), eV/Angstrom")
    stress: tuple[float, float, float, float, float, float] | None = Field(
        None, description="Voigt xx yy zz yz xz xy, eV/Angstrom^3, tension positive"
    )
    max_force: float | None = Field(None, description="Largest force norm, eV/Angstrom")
    force_drift: float | None = Field(None, description="|Sum of all forces| over the atoms, eV/Angstrom")
    min_distance: float | None = Field(
        None, description="Shortest distance between two atoms, Angstrom, where it is below 1.5"
    )
    box_distance: float | None = Field(None, description="Of an isolated atom from its nearest image, Angstrom")
    stress_error: float | None = Field(
        None, description="|dE/dV - trace(stress)/3| in a volume scan, GPa; none where there is no scan to tell"
    )
    quality: list[QualityProblem] = Field(
        default_factory=list,
        description="Reasons that training sets and phonons leave it out for; no part of the key",
    )
    config_type: ConfigType | None = Field(
        None, description="Kind; of several tasks, that of the first by name that states one, else of the first"
    )
    config_type_from: Literal["metadata", "geometry"] | None = None
    level_id: str | None = None
    hamiltonian_id: str | None = None
    level_label: str | None = None
    material_id: str | None = Field(None, description="Crystal it is a supercell of, where one matches")
    material_name: str | None = None
    matching_hash: str | None = Field(
        None, description="Hash of the material it matched, or of all of its chemical system where none did"
    )
    supercell_matrix: tuple[tuple[int, int, int], ...] | None = Field(
        None, description="Rows; supercell vectors = matrix @ vectors of the material's reference cell"
    )
    superlattice: tuple[tuple[int, int, int], ...] | None = Field(
        None, description="Hermite normal form of `supercell_matrix`: equal for all bases of one supercell"
    )
    volume_ratio: float | None = Field(None, description="Volume over that of the ideal supercell")
    displacement: Displacement | None = Field(None, description="For config_type single_displacement")

    def identity(self) -> dict[str, Any]:
        """Content the key is a hash of: geometry to 1e-5 Angstrom, labels to 1e-5 of their unit.

        The rounding lets one calculation that arrives as a directory and as a document be one
        configuration; real calculations differ by far more.
        """
        if self.structure is None:
            raise ValueError("a failed configuration has no content to hash")
        return {
            "numbers": self.structure.numbers,
            "cell": rounded(self.structure.cell, 5),
            "positions": rounded(self.structure.positions, 5),
            "energy": rounded(self.energy, 5),
            "forces": rounded(self.forces, 5),
            "stress": None if self.stress is None else rounded(self.stress, 5),
            "level_id": self.level_id,
        }
