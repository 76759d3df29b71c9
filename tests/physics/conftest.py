"""The shipped silicon calculations, as ASE objects."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mlipdb.physics.displacements import DisplacementRecord, displacement_record
from mlipdb.physics.phonons import PhononResult, compute_phonons
from mlipdb.physics.supercells import classify, match_supercell, symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol


@dataclass(frozen=True)
class SiliconTask:
    task_id: str
    calc_type: str
    allotrope: str | None
    atoms: Atoms
    forces: np.ndarray
    raw: dict[str, Any]


def _task(raw: dict[str, Any]) -> SiliconTask:
    sites = raw["structure"]["sites"]
    atoms = Atoms(
        [site["species"][0]["element"] for site in sites],
        positions=[site["xyz"] for site in sites],
        cell=raw["structure"]["lattice"]["matrix"],
        pbc=True,
    )
    return SiliconTask(raw["task_id"], raw["calc_type"], raw["allotrope"], atoms, np.array(raw["forces"]), raw)


@pytest.fixture(scope="session")
def silicon_tasks() -> dict[str, SiliconTask]:
    path = files("mlipdb.data") / "si_dft" / "tasks.jsonl.gz"
    with path.open("rb") as stream, gzip.open(stream, "rt") as lines:
        return {raw["task_id"]: _task(raw) for raw in map(json.loads, lines)}


@pytest.fixture(scope="session")
def silicon_cells(silicon_tasks: dict[str, SiliconTask]) -> dict[str, Atoms]:
    """Relaxed unit cell of every allotrope."""
    return {task.allotrope: task.atoms for task in silicon_tasks.values() if task.calc_type == "relax"}


@dataclass(frozen=True)
class DisplacedSilicon:
    """The displaced supercells of one allotrope, known from geometry alone."""

    cell: Atoms
    supercell_matrix: np.ndarray
    records: list[DisplacementRecord]
    residual_forces: np.ndarray | None


@pytest.fixture(scope="session")
def displaced_silicon(
    silicon_tasks: dict[str, SiliconTask], silicon_cells: dict[str, Atoms]
) -> dict[str, DisplacedSilicon]:
    found: dict[str, DisplacedSilicon] = {}
    for allotrope, relaxed in silicon_cells.items():
        cell = symmetrise(relaxed)
        records, residual, matrix = [], None, None
        for task in silicon_tasks.values():
            if task.allotrope != allotrope or task.calc_type != "phonon_displacement":
                continue
            match = match_supercell(task.atoms, cell)
            assert match is not None
            matrix = match.supercell_matrix
            if classify(task.atoms, match) == "bulk":
                residual = match.to_reference(task.forces)
            else:
                records.append(displacement_record(match, task.forces, task.task_id))
        if matrix is not None:
            found[allotrope] = DisplacedSilicon(cell, matrix, records, residual)
    return found


@pytest.fixture(scope="session")
def silicon_phonons(displaced_silicon: dict[str, DisplacedSilicon]) -> dict[str, PhononResult]:
    """DFT phonons of the allotropes whose displacements are complete."""
    protocol = PhononProtocol()
    return {
        name: compute_phonons(
            data.cell, data.supercell_matrix, data.records, protocol, residual_forces=data.residual_forces
        )
        for name, data in displaced_silicon.items()
        if name != "4h"
    }
