"""Which files of external potentials are held against which DFT phonons."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlipdb.benchmarks.external import MAX_STRAIN
from mlipdb.builders.items import WorkItem
from mlipdb.builders.phonopy_sets import phonopy_tasks
from mlipdb.ingest.phonopy_file import EXTERNAL, supercell_of
from mlipdb.physics.cells import hermite_normal_form
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.structure import AtomicStructure, formula_of

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.builders.phonon_benchmarks import PhononBenchmarksBuilder

__all__ = ["external_items", "missing_tasks"]

Raw = dict[str, Any]
log = logging.getLogger("mlipdb")


def external_items(
    builder: PhononBenchmarksBuilder, name: str, potentials: list[Raw], references: list[Raw], protocol: PhononProtocol
) -> Iterator[WorkItem]:
    """One item for each external potential and DFT phonon document of the same crystal and supercell.

    Parameters
    ----------
    builder
        It makes the items and judges levels of theory.
    name
        Of the benchmark.
    potentials
        External potentials that it takes.
    references
        DFT phonons that it takes.
    protocol
        As the settings have it; the relaxed cell is the file's own.
    """
    known = {item["potential_id"]: item for item in potentials}
    if not known:
        return
    outside = protocol.model_copy(update={"relax": "external"})
    planned: dict[str, str] = {}
    for task in phonopy_tasks(builder.database, EXTERNAL):
        told = (task.get("raw") or {}).get("potential") or {}
        potential = known.get(told.get("potential_id", ""))
        if potential is None:
            continue
        fitting = _fitting(builder, task, told, potential, references)
        if not fitting:
            log.warning(
                "benchmark %s: no DFT phonons of the crystal and supercell of task %s (potential %s)",
                name,
                task["task_id"],
                told.get("name"),
            )
        for phonon in fitting:
            item = builder.item_of(name, potential, phonon, outside, task)
            assert item.key is not None
            if item.key in planned:
                log.warning(
                    "task %s holds the same benchmark as task %s (potential %s on %s); remove one of them",
                    task["task_id"],
                    planned[item.key],
                    told.get("name"),
                    phonon["material_name"],
                )
            else:
                planned[item.key] = task["task_id"]
                yield item


def _fitting(
    builder: PhononBenchmarksBuilder, task: Raw, told: Raw, potential: Raw, references: list[Raw]
) -> list[Raw]:
    """The references that a file can be held against: those it names, of its crystal and its supercell."""
    supercell = supercell_of(task["raw"], task["task_id"])
    chemsys = formula_of(supercell.numbers.tolist())[1]
    return [
        phonon
        for phonon in references
        if "-".join(phonon["elements"]) == chemsys
        and told.get("phonon") in (None, phonon["phonon_id"])
        and told.get("material") in (None, phonon["material_id"], phonon.get("material_name"))
        and builder.comparable(potential, phonon)
        and _is_same(builder, task, supercell, phonon)
    ]


def _is_same(builder: PhononBenchmarksBuilder, task: Raw, supercell: Atoms, phonon: Raw) -> bool:
    """Whether the supercell is that of the reference, strained by no more than a potential may relax it."""
    from mlipdb.physics.supercells import match_supercell

    cache: dict[tuple[str, str, str], bool] = builder.__dict__.setdefault("_same_supercells", {})
    key = (task["task_id"], phonon["phonon_id"], phonon["inputs_hash"])
    if key not in cache:
        fields = {"unitcell": 1, "supercell_matrix": 1, "n_atoms_supercell": 1}
        found = builder.database.collection("phonons").find_one({"phonon_id": phonon["phonon_id"]}, fields) or {}
        match = None
        if found.get("unitcell") and found.get("n_atoms_supercell") == len(supercell):
            reference = AtomicStructure.model_validate(found["unitcell"]).to_ase()
            match = match_supercell(supercell, reference, max_strain=MAX_STRAIN)
        cache[key] = match is not None and [list(row) for row in match.superlattice] == (
            hermite_normal_form(found["supercell_matrix"]).tolist()
        )
    return cache[key]


def missing_tasks(builder: PhononBenchmarksBuilder, documents: list[Raw]) -> set[str]:
    """Ids of benchmarks whose raw forces are there no more."""
    wanted = sorted({task_id for doc in documents for task_id in doc.get("task_ids") or []})
    found = builder.database.collection("tasks").find({"task_id": {"$in": wanted}, "state": "complete"}, {"task_id": 1})
    present = {doc["task_id"] for doc in found}
    return {doc["benchmark_id"] for doc in documents if set(doc.get("task_ids") or []) - present}
