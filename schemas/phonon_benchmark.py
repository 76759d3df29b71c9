"""One potential against the DFT phonons of one material."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import ArtifactRef, Document
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
from mlipdb.schemas.structure import AtomicStructure

__all__ = ["PhononBenchmark"]


class PhononBenchmark(Document):
    """Errors of a potential's phonons, and the phonons themselves."""

    key_field: ClassVar[str] = "benchmark_id"
    prefix: ClassVar[str] = "bm"

    benchmark_id: str
    benchmark: str = Field(description="Name in mlipdb.yaml")
    potential_id: str
    phonon_id: str
    reference_hash: str | None = Field(None, description="inputs_hash of the phonon document it was measured against")
    material_id: str
    material_name: str | None = None
    framework: str = ""
    origin: Literal["calculator", "phonopy_file"] = Field(
        "calculator", description="Forces computed here, or those of an external potential as a file had them"
    )
    task_ids: list[str] = Field(default_factory=list, description="Raw tasks with the forces of an external potential")
    same_displacements: bool | None = Field(
        None,
        description="Whether the file displaced the same atoms by the same vectors as the reference; None where the "
        "forces were computed here, which they then did, or where either has force constants only",
    )
    training_set: str | None = None
    n_sparse: int | None = None
    delta: float | None = None
    f: float | None = None
    energy_rmse: float | None = Field(None, description="Of the potential on its test side, eV/atom")
    force_rmse: float | None = Field(None, description="Of the potential on its test side, eV/Angstrom")
    reference_in_training: bool | None = Field(
        None, description="Whether any of the reference's own displaced supercells was trained on"
    )
    reference_in_training_fraction: float | None = Field(
        None, description="Share of the reference's displaced supercells that were trained on"
    )
    protocol: dict[str, Any] = Field(default_factory=dict)
    protocol_id: str = ""
    mesh: FrequencyErrors | None = Field(None, description="On the reference's mesh, weighted; this one ranks")
    path: FrequencyErrors | None = Field(None, description="On the reference's band path")
    dos: DosError | None = None
    thermal: ThermalErrors | None = None
    structure: StructureErrors | None = None
    stability: Stability | None = Field(None, description="Of the potential's phonons")
    max_frequency: float | None = Field(None, description="Of the potential, THz")
    min_frequency: float | None = Field(None, description="Of the potential, THz; negative is imaginary")
    mesh_frequencies: MeshFrequencies | None = Field(None, description="The potential's, on the reference's q-points")
    band_structure: BandStructure | None = Field(None, description="The potential's, on the reference's path")
    density_of_states: DensityOfStates | None = Field(None, description="The potential's")
    thermal_properties: ThermalProperties | None = Field(None, description="The potential's")
    relaxed_unitcell: AtomicStructure | None = None
    wall_time_s: float | None = Field(
        None, description="s; of a benchmark evaluated together with others, its own and its part of the common time"
    )
    phonopy_file: ArtifactRef | None = None

    def identity(self) -> dict[str, Any]:
        """Potential, reference, kind and protocol."""
        return {
            "potential_id": self.potential_id,
            "phonon_id": self.phonon_id,
            "protocol_id": self.protocol_id,
        }
