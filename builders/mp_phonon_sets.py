"""Phonons that came from the Materials Project, and the crystals they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlipdb.builders.calculations import raw_task
from mlipdb.builders.phonopy_sets import PhonopySet
from mlipdb.derive.matching import match_material
from mlipdb.errors import ArtifactError, ConfigurationError
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.mp_phonon import NAME, interpret, phonopy_data
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.structure import formula_of
from mlipdb.stores import Database

__all__ = ["materials_project_sets"]

Raw = dict[str, Any]


def materials_project_sets(database: Database) -> Iterator[PhonopySet]:
    """The phonon documents that tasks of the Materials Project give, by task."""
    query = {"state": "complete", "source.format": NAME}
    stubs = list(database.collection("tasks").find(query, {"task_id": 1, "content_hash": 1}).sort("task_id", 1))
    for task in stubs:
        yield _set_of(database, task["task_id"], task["content_hash"])


def _set_of(database: Database, task_id: str, digest: str) -> PhonopySet:
    calculation: Calculation | None = None
    method = None
    try:
        raw, _ = raw_task(database, task_id)
        method = raw["materials_project"].get("method")
        calculation = interpret(task_id, raw)
        data = phonopy_data(task_id, raw)
    except (ConfigurationError, ArtifactError) as error:
        return _failed(task_id, digest, method, calculation, error.reason, error.message)
    atoms = calculation.atoms if data is None else data.supercell
    fields = {"material_id": 1, "names": 1, "chemsys": 1, "structure": 1, "_id": 0}
    chemsys = formula_of(atoms.numbers.tolist())[1]
    found = database.collection("materials").find({"state": "complete", "chemsys": chemsys}, fields)
    material, match = match_material(atoms, calculation.material_names, list(found.sort("material_id", 1)))
    if material is None or match is None:
        message = f"task {task_id}: no material fits its structure; it may have no symmetry that can be found"
        return _failed(task_id, digest, method, calculation, "no_material", message)
    stub = {
        **_common(task_id, method, calculation),
        "material_id": material["material_id"],
        "material_name": (material.get("names") or [material["material_id"]])[0],
        "supercell_matrix": match.supercell_matrix.tolist(),
        "superlattice": [list(row) for row in match.superlattice],
        "volume_ratio": round(float(np.linalg.det(match.deformation)) * 200) / 200,
    }
    key = make_key("ph", Phonon.model_validate({"phonon_id": "", **stub}).identity())
    return PhonopySet(task_id, digest, key, stub, calculation.level, material["structure"])


def _common(task_id: str, method: Any, calculation: Calculation | None) -> Raw:
    known = method if method in {"dfpt", "phonopy", "pheasy"} else "force_constants"
    level = None if calculation is None else calculation.level
    return {
        "origin": "materials_project",
        "method": known,
        "task_ids": [task_id],
        "level_id": "" if level is None else level.level_id,
        "level_label": None if level is None else level.label,
    }


def _failed(
    task_id: str, digest: str, method: Any, calculation: Calculation | None, reason: str, message: str
) -> PhonopySet:
    matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    stub = {
        **_common(task_id, method, calculation),
        "material_id": "",
        "supercell_matrix": matrix,
        "superlattice": matrix,
    }
    key = make_key("ph", {"task_id": task_id, "failed": reason})
    level = None if calculation is None else calculation.level
    return PhonopySet(task_id, digest, key, stub, level, reason=reason, problem=message)
