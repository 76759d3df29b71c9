"""A reference crystal structure and the names other databases know it by."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import Document, Model
from mlipdb.schemas.structure import AtomicStructure

__all__ = ["Material", "MaterialSource"]


class MaterialSource(Model):
    """One task that a material was read from."""

    task_id: str
    inputs_hash: str = Field(description="Of the raw task and the builder's version")


class Material(Document):
    """One crystal; the key is readable, such as ``Si-A_cF8_227_a``."""

    key_field: ClassVar[str] = "material_id"
    prefix: ClassVar[str] = "mat"

    material_id: str = Field(description="Reduced formula and protostructure, readable")
    names: list[str] = Field(default_factory=list, description="What people call it, such as diamond")
    foreign_ids: list[str] = Field(default_factory=list, description="Ids elsewhere, such as mp-149, as written")
    formula: str = Field(description="Reduced formula")
    chemsys: str = Field(description="Elements joined by hyphens, sorted")
    elements: list[str]
    n_sites: int = Field(ge=1, description="Sites of `structure`")
    space_group_symbol: str
    space_group_number: int = Field(ge=1, le=230)
    structure: AtomicStructure = Field(description="Primitive cell, relaxed and symmetrised")
    structure_from: Literal["reference", "displaced"] = Field(
        "reference", description="A calculation of the crystal itself, or its displaced supercells"
    )
    reference_task_id: str | None = Field(None, description="Task the structure was taken from")
    reference_stress: float | None = Field(
        None, description="Largest stress component of that task, eV/Angstrom^3: the smallest one is the reference"
    )
    volume_per_atom: float = Field(gt=0, description="Angstrom^3")
    energy_per_atom: float | None = Field(None, description="eV, at `level_id`")
    level_id: str | None = Field(None, description="Level of theory of the reference structure")
    task_ids: list[str] = Field(default_factory=list, description="Tasks the structure came from")
    sources: list[MaterialSource] = Field(
        default_factory=list, description="Of task_ids those that are calculations of the crystal itself"
    )
