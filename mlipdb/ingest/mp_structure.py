"""Crystals of the Materials Project: a relaxed structure with its id, and no energy or forces to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.ingest.calculation import Calculation, require_crystal
from mlipdb.schemas.level_of_theory import LevelOfTheory

__all__ = ["NAME", "interpret", "recognises", "task_id_of"]

NAME = "materials_project_structure"
#: Functionals by the Materials Project's words for kinds of calculation.
FUNCTIONALS = {"GGA": "PBE", "GGA+U": "PBE", "GGA_U": "PBE", "r2SCAN": "r2SCAN", "R2SCAN": "r2SCAN", "SCAN": "SCAN"}
UNKNOWN = "not stated"


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task is a structure that `mlipdb.ingest.materials_project` asked for."""
    about = raw.get("materials_project")
    return isinstance(about, Mapping) and about.get("kind") == "structure"


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """``mp-149-structure``."""
    material_id = raw["materials_project"].get("material_id")
    return f"{material_id}-structure" if isinstance(material_id, str) and material_id else None


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Read the crystal; its energy and forces are none.

    Raises
    ------
    ConfigurationError
        If the structure cannot be read, or is disordered.
    """
    from mlipdb.ingest.flat import read_structure

    atoms = read_structure(task_id, raw.get("structure"))
    require_crystal(task_id, atoms)
    return Calculation(
        task_id=task_id,
        atoms=atoms,
        energy=None,
        forces=None,
        stress=None,
        level=LevelOfTheory(code="VASP", functional=_functional(raw)).with_keys(),
        config_type="bulk",
        foreign_ids=[str(raw["materials_project"]["material_id"])],
    )


def _functional(raw: Mapping[str, Any]) -> str:
    """Functional of the calculation that the structure was taken from, if that is told."""
    origins, run_types = raw.get("origins"), raw.get("run_types")
    if not isinstance(origins, list) or not isinstance(run_types, Mapping):
        return UNKNOWN
    for origin in origins:
        if isinstance(origin, Mapping) and origin.get("name") == "structure":
            return FUNCTIONALS.get(str(run_types.get(str(origin.get("task_id")))), UNKNOWN)
    return UNKNOWN
