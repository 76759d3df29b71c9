"""A frozen training set: which configurations, with which weights, split how."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import ArtifactRef, Document, Model

__all__ = ["SplitStatistics", "TrainingSet", "TrainingSetMember"]


class TrainingSetMember(Model):
    """One configuration in a training set."""

    configuration_id: str
    config_type: str
    split: Literal["train", "test"]
    energy_sigma: float = Field(gt=0, description="eV/atom")
    virial_sigma: float | None = Field(None, description="eV/atom; None where there is no stress")
    force_sigma_min: float = Field(gt=0, description="Smallest per-atom force sigma, eV/Angstrom")
    force_sigma_max: float = Field(gt=0, description="Largest per-atom force sigma, eV/Angstrom")


class SplitStatistics(Model):
    """Counts and ranges of one side of the split."""

    n_configurations: int
    n_atoms: int
    by_config_type: dict[str, int] = Field(description="Configurations per config_type")
    by_material: dict[str, int] = Field(default_factory=dict, description="Configurations per material_id")
    energy_per_atom_min: float | None = Field(None, description="eV, relative to isolated atoms")
    energy_per_atom_max: float | None = Field(None, description="eV, relative to isolated atoms")
    max_force: float | None = Field(None, description="eV/Angstrom")


class TrainingSet(Document):
    """A selection that never changes: a changed recipe or new data give a new document beside it."""

    key_field: ClassVar[str] = "training_set_id"
    prefix: ClassVar[str] = "ts"

    training_set_id: str
    name: str = Field(description="Name of the recipe in mlipdb.yaml")
    recipe: dict[str, Any] = Field(default_factory=dict, description="The recipe as it was")
    current: bool = Field(True, description="Whether it is what the recipe gives today")
    chemsys: str = ""
    elements: list[str] = Field(default_factory=list)
    level_id: str | None = None
    level_label: str | None = None
    hamiltonian_id: str | None = None
    material_ids: list[str] = Field(default_factory=list)
    configuration_ids: list[str] = Field(default_factory=list, description="Sorted; parents")
    members: list[TrainingSetMember] = Field(default_factory=list)
    isolated_atom_energies: dict[str, float] = Field(default_factory=dict, description="eV per element")
    warnings: list[str] = Field(
        default_factory=list, description="What to know before trusting it, such as isolated atoms of another cutoff"
    )
    left_out: dict[str, int] = Field(
        default_factory=dict,
        description="Configurations that the recipe selects but for their quality, by reason; one may have several",
    )
    train: SplitStatistics | None = None
    test: SplitStatistics | None = None
    train_file: ArtifactRef | None = Field(None, description="extxyz with REF_ keys and sigmas: the exact input")
    test_file: ArtifactRef | None = None

    def identity(self) -> dict[str, Any]:
        """Members with split and sigmas, atom energies and files: two recipes with one result share a key."""
        return {
            "members": [member.model_dump() for member in self.members],
            "isolated_atom_energies": self.isolated_atom_energies,
            "train": None if self.train_file is None else self.train_file.sha256,
            "test": None if self.test_file is None else self.test_file.sha256,
            "name": self.name,
        }
