"""The demonstration: the whole job on shipped data, as the README promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlipdb import embedded

ROOT = Path(__file__).resolve().parents[2]
MATERIALS = {"diamond", "lonsdaleite", "bc8", "clathrate-II", "st12"}


def mlipdb(*words: str, code: int = 0) -> str:
    command = [sys.executable, "-c", "from mlipdb.cli import main; main()", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.slow
def test_demo_from_nothing_to_figures(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    try:
        out = mlipdb("demo", str(folder))
        assert "70 added" in out
        assert "reference" in out
        figures = {path.name for path in (folder / "figures").iterdir()}
        scatter = {"rmse-n-sparse.png", "rmse-force.png"}
        study = {"study-heat-mesh-rmse.png", "study-pareto-mesh-rmse.png"}
        assert figures == {*(f"bands-{name}.png" for name in MATERIALS), *scatter, *study}
        project = ("--project", str(folder))
        runs = json.loads(mlipdb(*project, "find", "phonon_benchmarks", "--sort", "mesh.rmse", "--json"))
        assert len(runs) == 60
        assert {run["material_name"] for run in runs} == MATERIALS
        assert {run["training_set"] for run in runs} == {"full", "single_displacement", "rattled"}
        assert [run["mesh"]["rmse"] for run in runs] == sorted(run["mesh"]["rmse"] for run in runs)
        # Potentials trained on everything get the phonons right; the published trend at these small sizes.
        best = [run for run in runs if run["training_set"] == "full" and run["n_sparse"] == 160]
        assert all(run["mesh"]["rmse"] < 0.6 for run in best)
        assert {run["reference_in_training"] for run in runs if run["training_set"] == "rattled"} == {False}
        tree = json.loads(mlipdb(*project, "show", runs[0]["benchmark_id"], "--tree", "--json"))
        assert "isolated-atom" in tree["task_ids"]
        assert ": 0 problems" in mlipdb(*project, "check")
        assert mlipdb(*project, "build") == "nothing to do: everything is up to date\n"
        assert "0 added, 0 updated, 70 there already" in mlipdb("demo", str(folder))
    finally:
        embedded.stop(folder / ".mlipdb")
