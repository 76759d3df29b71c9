"""Measure a hyperparameter study beside separate runs of gap_fit, on the shipped silicon data.

``python scripts/benchmarks/grid_fit.py [--gap-fit 250 1000] [--json]``

The study has 24 points: n_sparse 250, 500, 750 and 1000, three delta, two f.  `gap_fit` is run for
the values of n_sparse given, once each, since delta and f do not change its cost; the others are
interpolated linearly in n_sparse (held constant beyond the ends) and marked so.  Every program runs
in a process of its own, one after the other; CPU seconds and peak memory are what the system counts
for it, start of Python and imports included.  The study runs in one process with one thread, so
that nothing it uses goes uncounted, and once more with two processes for its wall time.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import mlipdb
from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_grid import StudyOptions, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.frameworks.process import run_program
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame

TIERS = (250, 500, 750, 1000)
DELTAS = (0.5, 1.0, 2.0)
FACTORS = (0.03, 0.1)
CONFIG_TYPES = {"isolated_atom": "isolated_atom", "rattled": "rattled", "relax": "bulk"}


def silicon() -> FitInput:
    """All shipped configurations."""
    frames = []
    with gzip.open(Path(mlipdb.__file__).parent / "data" / "si_dft" / "tasks.jsonl.gz", "rt") as lines:
        for task in map(json.loads, lines):
            sites = task["structure"]["sites"]
            frames.append(
                Frame(
                    configuration_id=task["task_id"],
                    numbers=np.full(len(sites), 14),
                    cell=task["structure"]["lattice"]["matrix"],
                    positions=np.array([site["xyz"] for site in sites]),
                    energy=task["energy"],
                    forces=task["forces"],
                    stress=task["stress"],
                    config_type=CONFIG_TYPES.get(task["calc_type"], "single_displacement"),
                )
            )
    (atom,) = (frame for frame in frames if frame.is_isolated_atom)
    return FitInput(extxyz=write_extxyz(frames), frames=frames, isolated_atom_energies={"Si": atom.energy})


def point(n_sparse: int, delta: float, f: float) -> GapHyperparameters:
    """One grid point; everything else as mlipdb's defaults have it."""
    return GapHyperparameters.model_validate({"soap": {"n_sparse": n_sparse, "delta": delta}, "f": f})


def points(which: str) -> list[GapHyperparameters]:
    """All 24 points, or the single largest."""
    if which == "single":
        return [point(TIERS[-1], 1.0, 0.1)]
    return [point(*values) for values in itertools.product(TIERS, DELTAS, FACTORS)]


def child(which: str, processes: int, directory: Path) -> None:
    """What runs in a process of its own."""
    result = run_study(
        silicon(), points(which), directory, options=StudyOptions(processes=processes, threads=processes)
    )
    print(json.dumps({"total": result.shared["total"], "fits": len(result.fits)}))


def measure_study(which: str, processes: int) -> dict[str, float]:
    """Seconds and memory of a study; CPU and memory of the whole process where it is one."""
    with tempfile.TemporaryDirectory() as folder:
        script = str(Path(__file__).resolve())
        command = [sys.executable, script, "--child", which, "--processes", str(processes), "--directory", folder]
        run = run_program(command, Path(folder))
        if run.returncode:
            raise SystemExit(run.log_tail())
        size = sum(path.stat().st_size for path in Path(folder).glob("gap.*"))
    total = json.loads(run.lines[-1])["total"]
    return {
        "wall_s": run.wall_time_s,
        "cpu_s": run.cpu_time_s if processes == 1 else total["cpu_time_s"],
        "peak_mb": run.peak_memory_mb,
        "potentials_mb": size / 1e6,
    }


def measure_gap_fit(n_sparse: int) -> dict[str, float]:
    """Seconds and memory of one gap_fit run."""
    with tempfile.TemporaryDirectory() as folder:
        fit = GAP().fit(silicon(), point(n_sparse, 1.0, 0.1), Path(folder))
    if fit.cpu_time_s is None or fit.wall_time_s is None or fit.peak_memory_mb is None:
        raise SystemExit("gap_fit told no times")
    return {"wall_s": fit.wall_time_s, "cpu_s": fit.cpu_time_s, "peak_mb": fit.peak_memory_mb}


def compare(measured: list[int]) -> dict[str, Any]:
    """All figures."""
    runs = {n_sparse: measure_gap_fit(n_sparse) for n_sparse in sorted(measured)}
    known = sorted(runs)
    cpu = {n: float(np.interp(n, known, [runs[m]["cpu_s"] for m in known])) for n in TIERS}
    study, single, parallel = measure_study("all", 1), measure_study("single", 1), measure_study("all", 2)
    n_points = len(points("all"))
    separate = sum(cpu[n] for n in TIERS) * n_points / len(TIERS)
    return {
        "n_points": n_points,
        "cpu_ratio": separate / study["cpu_s"],
        "single_fit_ratio": cpu[TIERS[-1]] / single["cpu_s"],
        "study": study,
        "study_two_processes": parallel,
        "single_fit": single,
        "gap_fit": {str(n): {"cpu_s": cpu[n], "measured": n in runs, **runs.get(n, {})} for n in TIERS},
        "gap_fit_all_points_cpu_s": separate,
        "gap_fit_runs_measured": len(runs),
    }


def report(figures: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{'':34}{'CPU s':>10}{'wall s':>10}{'peak MB':>10}")
    for n, entry in figures["gap_fit"].items():
        kind = "measured" if entry["measured"] else "interpolated"
        tail = f"{entry['wall_s']:10.1f}{entry['peak_mb']:10.0f}" if entry["measured"] else ""
        print(f"{f'gap_fit, n_sparse {n}, {kind}':34}{entry['cpu_s']:10.1f}{tail}")
    n_points = figures["n_points"]
    print(f"{f'gap_fit, {n_points} runs, from these':34}{figures['gap_fit_all_points_cpu_s']:10.0f}")
    rows = {
        f"study of {n_points} points, 1 process": figures["study"],
        f"study of {n_points} points, 2 processes": figures["study_two_processes"],
        f"study of one, n_sparse {TIERS[-1]}": figures["single_fit"],
    }
    for name, entry in rows.items():
        print(f"{name:34}{entry['cpu_s']:10.1f}{entry['wall_s']:10.1f}{entry['peak_mb']:10.0f}")
    print(f"{n_points} points: {figures['cpu_ratio']:.0f} times cheaper; one: {figures['single_fit_ratio']:.1f} times")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gap-fit", type=int, nargs="+", default=[TIERS[0], TIERS[-1]], metavar="N_SPARSE")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--child", choices=["all", "single"], help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.processes, arguments.directory)
        return
    figures = compare(arguments.gap_fit)
    if arguments.json:
        print(json.dumps(figures))
    else:
        report(figures)


if __name__ == "__main__":
    main()
