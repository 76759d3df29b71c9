"""Displacement sets and force constants that came as phonopy files, and the crystals they are of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.artifacts import Artifacts
from mlipdb.derive.matching import match_material
from mlipdb.errors import ArtifactError, ConfigurationError
from mlipdb.ingest.phonopy_file import interpret, supercell_of
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.phonon import phonon_identity
from mlipdb.schemas.structure import formula_of
from mlipdb.stores import Database

if TYPE_CHECKING:
    from mlipdb.physics.supercells import SupercellMatch

__all__ = ["PhonopySet", "phonopy_sets", "phonopy_tasks"]

Raw = dict[str, Any]


@dataclass(frozen=True)
class PhonopySet:
    """One phonopy file of DFT as an item of work.

    Attributes
    ----------
    task_id, content_hash
        Of its raw task.
    key
        Of the phonon document it gives; of the failed one that says why it gives none.
    stub
        Skeleton of the document.
    level
        Level of theory; None where it cannot be read.
    structure
        The crystal's cell that it was matched with.
    reason, problem
        Why it gives no phonons.
    """

    task_id: str
    content_hash: str
    key: str
    stub: Raw
    level: LevelOfTheory | None
    structure: Raw | None = None
    reason: str | None = None
    problem: str | None = None


def phonopy_tasks(database: Database, source_format: str) -> Iterator[Raw]:
    """Complete tasks of a format, by id, with their content but for the texts of the files."""
    query = {"state": "complete", "source.format": source_format}
    fields = {"task_id": 1, "content_hash": 1, "raw_artifact": 1, "raw": 1, "_id": 0}
    for task in database.collection("tasks").find(query, {**fields}).sort("task_id", 1):
        if "raw" not in task:
            try:
                task["raw"] = json.loads(Artifacts(database).get(ArtifactRef.model_validate(task["raw_artifact"])))
            except ArtifactError as error:
                task["problem"] = error.message
        (task.get("raw") or {}).pop("files", None)
        yield task


def phonopy_sets(database: Database) -> Iterator[PhonopySet]:
    """The phonon documents that phonopy files of DFT give, by task."""
    from mlipdb.ingest.phonopy_file import NAME

    materials: list[Raw] | None = None
    taken: dict[str, str] = {}
    for task in phonopy_tasks(database, NAME):
        if materials is None:
            fields = {"material_id": 1, "names": 1, "chemsys": 1, "structure": 1, "_id": 0}
            found = database.collection("materials").find({"state": "complete"}, fields)
            materials = list(found.sort("material_id", 1))
        item = _set_of(task, materials)
        if item.problem is None and item.key in taken:
            item = _failed(
                task,
                "duplicate_set",
                f"task {item.task_id}: holds the same crystal, level of theory, supercell and displacements as "
                f"{taken[item.key]}; remove one of them",
                item.level,
            )
        if item.problem is None:
            taken[item.key] = item.task_id
        yield item


def _set_of(task: Raw, materials: list[Raw]) -> PhonopySet:
    task_id = task["task_id"]
    if "problem" in task:
        return _failed(task, "artifact", task["problem"])
    raw = task["raw"]
    try:
        calculation = interpret(task_id, raw)
    except ConfigurationError as error:
        return _failed(task, error.reason, error.message)
    supercell = supercell_of(raw, task_id)
    chemsys = formula_of(supercell.numbers.tolist())[1]
    candidates = [item for item in materials if item["chemsys"] == chemsys]
    material, match = match_material(supercell, calculation.material_names, candidates)
    if material is None or match is None:
        message = f"task {task_id}: no material fits its unit cell; it may have no symmetry that can be found"
        return _failed(task, "no_material", message, calculation.level)
    stub = _stub(task, material, match, calculation.level)
    identity = phonon_identity(
        stub["material_id"],
        stub["level_id"],
        stub["superlattice"],
        stub["displacement_distance"],
        stub["volume_ratio"],
    )
    key = make_key("ph", identity)
    return PhonopySet(task_id, task["content_hash"], key, stub, calculation.level, material["structure"])


def _stub(task: Raw, material: Raw, match: SupercellMatch, level: LevelOfTheory) -> Raw:
    distance = task["raw"].get("displacement_distance")
    ratio = float(np.linalg.det(match.deformation))
    names = material.get("names") or [material["material_id"]]
    return {
        "material_id": material["material_id"],
        "material_name": names[0],
        "level_id": level.level_id,
        "level_label": level.label,
        "supercell_matrix": match.supercell_matrix.tolist(),
        "superlattice": [list(row) for row in match.superlattice],
        "displacement_distance": None if distance is None else round(distance, 4),
        "volume_ratio": round(ratio * 200) / 200,
        "origin": "phonopy_file",
        "task_ids": [task["task_id"]],
    }


def _failed(task: Raw, reason: str, message: str, level: LevelOfTheory | None = None) -> PhonopySet:
    matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    stub = {
        "material_id": "",
        "level_id": "" if level is None else level.level_id,
        "supercell_matrix": (task.get("raw") or {}).get("supercell_matrix", matrix),
        "superlattice": matrix,
        "origin": "phonopy_file",
        "task_ids": [task["task_id"]],
    }
    key = make_key("ph", {"task_id": task["task_id"], "failed": reason})
    return PhonopySet(task["task_id"], task["content_hash"], key, stub, level, reason=reason, problem=message)
