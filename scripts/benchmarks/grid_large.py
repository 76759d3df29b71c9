"""Measure one large study: many configurations, thousands of sparse points, bounded memory.

``python scripts/benchmarks/grid_large.py [--atoms 20000] [--n-sparse 3000 6000 9000] [--json]``

The configurations are rattled and strained copper cells of 32 atoms with labels from ASE's
effective-medium potential.  Memory is the sum of the peaks of this process and of its workers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap_grid import StudyOptions, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame


def copper(n_atoms: int) -> FitInput:
    """About so many atoms, in cells of 32."""
    chance = np.random.default_rng(7)
    cell = bulk("Cu", cubic=True) * (2, 2, 2)
    frames = []
    for index in range(max(1, round(n_atoms / len(cell)))):
        atoms = cell.copy()
        strain = np.eye(3) * chance.uniform(0.96, 1.06) + chance.normal(scale=0.01, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += chance.normal(scale=chance.uniform(0.02, 0.3), size=atoms.positions.shape)
        atoms.calc = EMT()
        frames.append(
            Frame(
                configuration_id=f"copper-{index}",
                numbers=atoms.numbers,
                cell=atoms.cell.array,
                positions=atoms.positions,
                energy=atoms.get_potential_energy(),
                forces=atoms.get_forces(),
                stress=atoms.get_stress(),
                config_type="rattled",
            )
        )
    return FitInput(extxyz=write_extxyz(frames), frames=frames, isolated_atom_energies={"Cu": 3.5})


def measure(n_atoms: int, tiers: list[int], options: StudyOptions, cutoff: float) -> dict[str, Any]:
    """Run a study of one point for each tier."""
    data = copper(n_atoms)
    points = [
        GapHyperparameters.model_validate({"soap": {"n_sparse": tier, "cutoff": cutoff}, "f": 0.1}) for tier in tiers
    ]
    with tempfile.TemporaryDirectory() as folder:
        result = run_study(data, points, Path(folder), options=options)
    total = result.shared["total"]
    memory = total["peak_memory_mb"] + options.processes * total["worker_peak_memory_mb"]
    return {
        "n_atoms": sum(frame.n_atoms for frame in data.frames),
        "n_sparse": tiers,
        "cpu_s": total["cpu_time_s"],
        "wall_s": total["wall_time_s"],
        "assembly_cpu_s": result.shared["assembly"]["cpu_time_s"],
        "peak_mb": memory,
        "process_peak_mb": total["peak_memory_mb"],
        "worker_peak_mb": total["worker_peak_memory_mb"],
        "condition_numbers": [fit.details["condition_number"] for fit in result.fits],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=20000)
    parser.add_argument("--n-sparse", type=int, nargs="+", default=[3000, 6000, 9000])
    parser.add_argument("--cutoff", type=float, default=5.0, help="Angstrom")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--memory-mb", type=float, default=6000.0)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    options = StudyOptions(arguments.processes, arguments.processes, arguments.memory_mb)
    figures = measure(arguments.atoms, arguments.n_sparse, options, arguments.cutoff)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:20}{value}")


if __name__ == "__main__":
    main()
