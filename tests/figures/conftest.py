"""Documents to draw: DFT phonons of the shipped silicon, and benchmarks made from them.

The benchmarks are synthetic: their frequencies are those of DFT, scaled and shifted, and their errors are
what the metrics give for that. They stand for no potential.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mlipdb.physics.cells import hermite_normal_form
from mlipdb.physics.displacements import displacement_record
from mlipdb.physics.phonon_metrics import mesh_errors, path_errors
from mlipdb.physics.phonons import compute_phonons
from mlipdb.physics.supercells import classify, match_supercell
from mlipdb.physics.symmetry import symmetrise
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_data import BandStructure, DensityOfStates, MeshFrequencies
from mlipdb.schemas.phonon_protocol import PhononProtocol

Raw = dict[str, Any]
COARSE = PhononProtocol(mesh_length=20.0, path_density=40.0)
MATERIALS = ("diamond", "lonsdaleite", "bc8", "clathrate-II", "st12")


def _atoms(raw: Raw) -> Atoms:
    sites = raw["structure"]["sites"]
    return Atoms(
        ["Si"] * len(sites),
        positions=[site["xyz"] for site in sites],
        cell=raw["structure"]["lattice"]["matrix"],
        pbc=True,
    )


@pytest.fixture(scope="session")
def phonons() -> dict[str, Raw]:
    """Phonon documents of the five allotropes, as the database gives them."""
    path = files("mlipdb.data") / "si_dft" / "tasks.jsonl.gz"
    with path.open("rb") as stream, gzip.open(stream, "rt") as lines:
        tasks = [json.loads(line) for line in lines]
    return {name: _phonon(name, tasks) for name in MATERIALS}


def _phonon(name: str, tasks: list[Raw]) -> Raw:
    mine = [task for task in tasks if task["allotrope"] == name]
    cell = symmetrise(next(_atoms(task) for task in mine if task["calc_type"] == "relax"))
    records, residual = [], None
    for task in (task for task in mine if task["calc_type"] == "phonon_displacement"):
        atoms, forces = _atoms(task), np.array(task["forces"])
        match = match_supercell(atoms, cell)
        assert match is not None
        if classify(atoms, match) == "bulk":
            residual = match.to_reference(forces)
        else:
            records.append(displacement_record(match, forces, task["task_id"]))
    result = compute_phonons(cell, match.supercell_matrix, records, COARSE, residual_forces=residual)
    return Phonon(
        phonon_id=f"ph-{name}",
        material_id=f"mat-{name}",
        material_name=name,
        level_id="lot-pbe",
        supercell_matrix=result.supercell_matrix.tolist(),
        superlattice=hermite_normal_form(result.supercell_matrix).tolist(),
        mesh=result.mesh,
        path=result.band_structure,
        dos=result.dos,
    ).to_bson()


def make_benchmark(phonon: Raw, *, scale: float = 0.97, shift: float = 0.0, **fields: Any) -> Raw:
    """A synthetic benchmark: every frequency times ``scale`` plus ``shift`` (THz)."""

    def moved(rows: list[list[float]]) -> list[list[float]]:
        return (np.array(rows) * scale + shift).tolist()

    mesh = MeshFrequencies.model_validate(phonon["mesh"])
    path = BandStructure.model_validate(phonon["path"])
    dos = DensityOfStates.model_validate(phonon["dos"])
    bands = path.model_copy(
        update={"segments": [s.model_copy(update={"frequencies": moved(s.frequencies)}) for s in path.segments]}
    )
    other_mesh = mesh.model_copy(update={"frequencies": moved(mesh.frequencies)})
    values: Raw = {
        "benchmark_id": "bm-1",
        "benchmark": "phonons",
        "potential_id": "pot-1",
        "phonon_id": phonon["phonon_id"],
        "material_id": phonon["material_id"],
        "material_name": phonon["material_name"],
        "framework": "gap",
        "training_set": "full",
        "n_sparse": 1000,
        "delta": 2.0,
        "force_rmse": 0.08,
        "reference_in_training": True,
        "mesh": mesh_errors(mesh, other_mesh),
        "path": path_errors(path, bands),
        "band_structure": bands,
        "density_of_states": DensityOfStates(
            frequencies=(np.array(dos.frequencies) * scale + shift).tolist(),
            total=(np.array(dos.total) / scale).tolist(),
        ),
    }
    return PhononBenchmark.model_validate({**values, **fields}).to_bson()


def make_grid(phonons: dict[str, Raw], materials: tuple[str, ...] = MATERIALS) -> list[Raw]:
    """Two training sets, two deltas and three numbers of sparse points on some materials."""
    found = []
    for index, material in enumerate(materials):
        for name, spread in (("full", 1.0), ("displacements only", 1.8)):
            for delta, extra in ((1.0, 1.3), (3.0, 1.0)):
                for n_sparse in (500, 1000, 4000):
                    error = 0.02 * spread * extra * (1 + 0.3 * index) * (1000 / n_sparse) ** 0.4
                    found.append(
                        make_benchmark(
                            phonons[material],
                            scale=1 - error,
                            benchmark_id=f"bm-{len(found)}",
                            potential_id=f"pot-{name}-{delta}-{n_sparse}",
                            training_set=name,
                            delta=delta,
                            n_sparse=n_sparse,
                            force_rmse=0.05 + 1.5 * error,
                            reference_in_training=name == "full" or index < 2,
                        )
                    )
    return found


@pytest.fixture(scope="session")
def benchmark_of() -> Callable[..., Raw]:
    """`make_benchmark`."""
    return make_benchmark


@pytest.fixture(scope="session")
def grid(phonons: dict[str, Raw]) -> list[Raw]:
    """Benchmarks of twelve potentials on five materials."""
    return make_grid(phonons)
