"""Synthetic documents of a hyperparameter study; they stand for no potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Raw = dict[str, Any]


def make_study(
    sizes: Sequence[int] = (100, 200, 400),
    deltas: Sequence[float] = (0.5, 1.0),
    fs: Sequence[float] = (0.05, 0.1),
    training_sets: Sequence[str] = ("full", "rattled"),
    materials: Sequence[str] = ("diamond", "bc8", "st12"),
) -> tuple[list[Raw], list[Raw]]:
    """Potentials and benchmarks of a whole grid: more sparse points are slower and better, the first values best."""
    potentials: list[Raw] = []
    benchmarks: list[Raw] = []
    for a, training_set in enumerate(training_sets):
        for b, f in enumerate(fs):
            for delta in deltas:
                for size in sizes:
                    key = f"pot-{len(potentials):020x}"
                    error = 0.2 * (1 + a) * (1 + 0.3 * b) * (1 + 0.1 * deltas.index(delta)) * (100 / size) ** 0.5
                    potentials.append(
                        {
                            "potential_id": key,
                            "state": "complete",
                            "framework": "gap",
                            "engine": "grid",
                            "fit_name": "gap",
                            "training_set": training_set,
                            "training_set_id": f"ts-{training_set}",
                            "hyperparameters": {"soap": {"n_sparse": size, "delta": delta, "zeta": 4}, "f": f},
                            "n_sparse": size,
                            "delta": delta,
                            "f": f,
                            "errors": {"test": {"overall": {"force_rmse": 0.3 * error, "energy_rmse": 0.01 * error}}},
                            "evaluation_time_ms": 0.01 * size,
                        }
                    )
                    for index, material in enumerate(materials):
                        value = error * (1 + 0.5 * index)
                        benchmarks.append(
                            {
                                "benchmark_id": f"bm-{len(benchmarks):020x}",
                                "benchmark": "phonons",
                                "protocol_id": "protocol-1",
                                "potential_id": key,
                                "phonon_id": f"ph-{material}",
                                "material_id": f"mat-{material}",
                                "material_name": material,
                                "state": "complete",
                                "training_set": training_set,
                                "n_sparse": size,
                                "delta": delta,
                                "f": f,
                                "force_rmse": 0.3 * error,
                                "mesh": {"rmse": value},
                                "path": {"rmse": 1.1 * value},
                            }
                        )
    return potentials, benchmarks
