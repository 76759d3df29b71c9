"""A DFT reference from the shipped silicon calculations."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mlipdb.benchmarks.phonons import PhononReference
from mlipdb.physics.displacements import displacement_record
from mlipdb.physics.phonons import compute_phonons
from mlipdb.physics.supercells import match_supercell, symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol(mesh_length=30.0, path_density=40.0)


def _atoms(raw: dict[str, Any]) -> Atoms:
    sites = raw["structure"]["sites"]
    return Atoms(
        ["Si"] * len(sites),
        positions=[site["xyz"] for site in sites],
        cell=raw["structure"]["lattice"]["matrix"],
        pbc=True,
    )


@pytest.fixture(scope="session")
def dft_references() -> dict[str, PhononReference]:
    with (
        (files("mlipdb.data") / "si_dft" / "tasks.jsonl.gz").open("rb") as stream,
        gzip.open(stream, "rt") as lines,
    ):
        tasks = {raw["task_id"]: raw for raw in map(json.loads, lines)}
    references = {}
    for name in ("diamond", "lonsdaleite"):
        cell = symmetrise(_atoms(tasks[f"relax-{name}"]))
        records = []
        for task_id in (f"phonon-{name}-01", f"phonon-{name}-02"):
            if task_id in tasks:
                match = match_supercell(_atoms(tasks[task_id]), cell)
                assert match is not None
                records.append(displacement_record(match, np.array(tasks[task_id]["forces"]), task_id))
        references[name] = PhononReference.from_result(compute_phonons(cell, match.supercell_matrix, records, PROTOCOL))
    return references
