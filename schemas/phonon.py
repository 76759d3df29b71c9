"""DFT phonons of one material at one level of theory."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import ArtifactRef, Document, Model
from mlipdb.schemas.phonon_data import BandStructure, DensityOfStates, MeshFrequencies, Stability, ThermalProperties
from mlipdb.schemas.structure import AtomicStructure

__all__ = ["Phonon", "ReferenceDisplacement", "phonon_identity"]


class ReferenceDisplacement(Model):
    """One displacement of the set, as benchmarks repeat it."""

    atom: int = Field(ge=0, description="Index in the order of `mlipdb.physics.supercells.ideal_supercell`")
    vector: tuple[float, float, float] = Field(description="Cartesian, Angstrom, in the frame of `unitcell`")


class Phonon(Document):
    """Phonons from the forces of a displacement set, or from force constants that came from elsewhere."""

    key_field: ClassVar[str] = "phonon_id"
    prefix: ClassVar[str] = "ph"

    phonon_id: str
    material_id: str
    material_name: str | None = None
    formula: str = ""
    chemsys: str = ""
    elements: list[str] = Field(default_factory=list)
    level_id: str
    level_label: str | None = None
    origin: Literal["tasks", "phonopy_file", "materials_project"] = Field(
        "tasks", description="What it was made from: displaced supercells among the configurations, a file, a service"
    )
    method: Literal["finite_displacements", "force_constants", "dfpt", "phonopy", "pheasy"] = Field(
        "finite_displacements",
        description="How the force constants were got: from forces by this project; as a file had them; or by the "
        "method that their producer names",
    )
    born_charges: bool | None = Field(
        None, description="Whether Born charges and a dielectric tensor came along; not applied (`protocol.nac`)"
    )
    supercell_matrix: tuple[tuple[int, int, int], ...] = Field(
        description="Rows; supercell vectors = matrix @ vectors of `unitcell`"
    )
    superlattice: tuple[tuple[int, int, int], ...] = Field(
        description="Hermite normal form of `supercell_matrix`: equal for all bases of one supercell"
    )
    displacement_distance: float | None = Field(None, gt=0, description="Angstrom")
    volume_ratio: float = Field(1.0, description="Volume over the material's reference, to half a percent")
    n_atoms_supercell: int = 0
    n_displacements: int = Field(0, description="Displaced supercells used")
    n_expected: int = Field(0, description="Displaced supercells the symmetry asks for")
    displacements: list[ReferenceDisplacement] = Field(default_factory=list, description="Those used")
    missing: list[str] = Field(default_factory=list, description="Displacements still to be calculated, in words")
    configuration_ids: list[str] = Field(default_factory=list, description="Displaced supercells; parents")
    residual_configuration_id: str | None = Field(
        None, description="Undisplaced supercell whose forces were subtracted"
    )
    task_ids: list[str] = Field(default_factory=list, description="DFT tasks behind them")
    unitcell: AtomicStructure | None = None
    primitive: AtomicStructure | None = None
    primitive_matrix: list[list[float]] | None = Field(None, description="phonopy's convention, columns")
    protocol: dict[str, Any] = Field(default_factory=dict)
    max_frequency: float | None = Field(None, description="THz, over mesh and path")
    min_frequency: float | None = Field(None, description="THz, over mesh and path; negative is imaginary")
    mesh: MeshFrequencies | None = None
    path: BandStructure | None = None
    dos: DensityOfStates | None = None
    thermal: ThermalProperties | None = None
    stability: Stability | None = None
    phonopy_file: ArtifactRef | None = Field(
        None, description="phonopy_params.yaml with displacements, forces and force constants"
    )

    def identity(self) -> dict[str, Any]:
        """Material, level and displacement set; of a service also its own id."""
        identity = phonon_identity(
            self.material_id, self.level_id, self.superlattice, self.displacement_distance, self.volume_ratio
        )
        # A service has several of one crystal, by several methods, at what it calls no different level.
        return identity | ({"task_ids": self.task_ids} if self.origin == "materials_project" else {})


def phonon_identity(
    material_id: str,
    level_id: str,
    superlattice: Any,
    displacement_distance: float | None,
    volume_ratio: float,
) -> dict[str, Any]:
    """What a phonon document's key is made of."""
    return {
        "material_id": material_id,
        "level_id": level_id,
        "superlattice": [list(row) for row in superlattice],
        "displacement_distance": None if displacement_distance is None else round(displacement_distance, 4),
        "volume_ratio": volume_ratio,
    }
