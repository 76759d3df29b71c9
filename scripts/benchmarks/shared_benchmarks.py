"""Measure phonon benchmarks at the fixed cell that share an evaluation beside the same ones one by one.

``python scripts/benchmarks/shared_benchmarks.py [--material diamond] [--json]``

A study of 24 points (n_sparse 250, 500, 750 and 1000, three delta, two f) is fitted to the shipped
silicon data; then its potentials are run against the DFT phonons of one material, once as one group
and once each by itself.  Either way is a process of its own with one thread, one after the other; CPU
seconds and peak memory are what the system counts for it, with the start of Python, imports, reading
from the database and the check by quippy.  Nothing is written, so both do the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SETTINGS = """
database: {address}
workers: 2
training_sets:
  full:
    split: {{by: configuration, test_fraction: 0.15, seed: 1}}
    force_regularisation: {{f: 0.1, floor: 0.1}}
fits:
  study:
    engine: grid
    train_errors: false
    hyperparameters: {{soap: {{cutoff: 5.0, l_max: 6, n_max: 8}}, seed: 1}}
    grid: {{n_sparse: [250, 500, 750, 1000], delta: [0.5, 1.0, 2.0], f: [0.03, 0.1]}}
benchmarks:
  phonons: {{materials: [{material}], protocol: {{relax: none}}}}
"""
SOURCES = ("materials", "configurations", "phonons", "training_sets", "potentials")


def prepare(directory: Path, address: str, material: str) -> None:
    """Make the project, and build everything the benchmarks start from."""
    from mlipdb.data import SILICON_TASKS
    from mlipdb.ingest.add import add_paths
    from mlipdb.runner import run_builders
    from mlipdb.settings import load_project
    from mlipdb.stores import open_database

    (directory / "mlipdb.yaml").write_text(SETTINGS.format(address=address, material=material))
    project = load_project(directory)
    with open_database(project) as database:
        database.ensure_indexes()
        add_paths(database, [SILICON_TASKS], replace=True)
        for report in run_builders(project, database, SOURCES):
            if report.failed:
                raise SystemExit(f"{report.builder}: {report.failures}")


def child(which: str, directory: Path) -> None:
    """What runs in a process of its own."""
    from mlipdb.builders.base import DocumentBuilder
    from mlipdb.builders.phonon_benchmarks import PhononBenchmarksBuilder
    from mlipdb.builders.shared_benchmarks import grouped, results_of

    builder = PhononBenchmarksBuilder(project=str(directory))
    builder.connect()
    items = DocumentBuilder.stale_items(builder)
    n_benchmarks = len(items)
    if which == "shared":
        items = grouped(items, workers=1)
    began = time.process_time()
    results = []
    for item in items:
        done = builder.process_item(builder.prepared(item))
        results += results_of(done) if "members" in done else [done]
    worked = time.process_time() - began
    failed = [result["failure"] for result in results if "failure" in result]
    if failed or len(results) != n_benchmarks:
        raise SystemExit(f"{len(failed)} failed: {failed[:1]}")
    rmse = {result["key"]: result["built"].document.mesh.rmse for result in results}
    print(json.dumps({"items": len(items), "work_cpu_s": worked, "rmse": rmse}))


def measure(which: str, directory: Path) -> dict[str, Any]:
    """Seconds and memory of one way, and its results."""
    from mlipdb.frameworks.process import run_program

    command = [sys.executable, str(Path(__file__).resolve()), "--child", which, "--directory", str(directory)]
    run = run_program(command, directory)
    if run.returncode:
        raise SystemExit(run.log_tail())
    return {
        "cpu_s": run.cpu_time_s,
        "wall_s": run.wall_time_s,
        "peak_mb": run.peak_memory_mb,
        **json.loads(run.lines[-1]),
    }


def compare(material: str) -> dict[str, Any]:
    """All figures."""
    from mlipdb.derive.shared_benchmarks import spot_order
    from mlipdb.embedded import start, stop

    directory = Path(tempfile.mkdtemp(prefix="shb"))
    try:
        prepare(directory, start(directory / "data"), material)
        shared, single = measure("shared", directory), measure("single", directory)
    finally:
        stop(directory / "data")
        shutil.rmtree(directory, ignore_errors=True)
    rmse, other = shared.pop("rmse"), single.pop("rmse")
    return {
        "material": material,
        "n_benchmarks": len(rmse),
        "checked_by_quippy": spot_order(sorted(rmse))[1],
        "cpu_ratio": single["cpu_s"] / shared["cpu_s"],
        "work_cpu_ratio": single["work_cpu_s"] / shared["work_cpu_s"],
        "shared": shared,
        "single": single,
        "largest_rmse_difference_thz": max(abs(rmse[key] - other[key]) for key in other),
    }


def report(figures: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{'':24}{'CPU s':>10}{'without start':>16}{'wall s':>10}{'peak MB':>10}")
    for name in ("shared", "single"):
        row = figures[name]
        print(f"{name:24}{row['cpu_s']:10.1f}{row['work_cpu_s']:16.1f}{row['wall_s']:10.1f}{row['peak_mb']:10.0f}")
    checked, ratios = figures["checked_by_quippy"], (figures["cpu_ratio"], figures["work_cpu_ratio"])
    print(f"{figures['n_benchmarks']} benchmarks on {figures['material']}, {checked} of them checked by quippy")
    print(f"{ratios[0]:.1f} times cheaper, {ratios[1]:.1f} times without the start of Python and imports")
    print(f"mesh RMSE equal to {figures['largest_rmse_difference_thz']:.0e} THz")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", default="diamond", help="such as diamond, clathrate-II")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--child", choices=["shared", "single"], help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.directory)
        return
    os.environ.update(dict.fromkeys(THREADS, "1"))
    figures = compare(arguments.material)
    if arguments.json:
        print(json.dumps(figures))
    else:
        report(figures)


if __name__ == "__main__":
    main()
