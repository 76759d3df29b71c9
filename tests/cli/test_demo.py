"""The demonstration: the whole job on shipped data, as the README promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from studies import make_study

from mlipdb import embedded
from mlipdb.cli.demo import STUDY_BENCHMARK, study_table
from mlipdb.data import template
from mlipdb.settings import parse_settings

BEST = [("full", "200"), ("full", "400"), ("rattled", "100"), ("rattled", "200"), ("rattled", "400")]
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


def test_a_study_needs_a_folder_of_its_own(run: Any, tmp_path: Path) -> None:
    run("init", tmp_path / "other")
    answer = run("demo", tmp_path / "other", "--study")
    assert answer.code == 2
    assert "holds another project, without the benchmark 'relaxed'" in answer.err


def test_the_study_is_as_large_as_it_says() -> None:
    settings = parse_settings(template("study.yaml"))
    sizes = [len(list(fit.points())) * len(settings.recipes_of(fit)) for fit in settings.fits.values()]
    assert sum(sizes) == 192
    assert all(fit.engine == "grid" for fit in settings.fits.values())
    assert STUDY_BENCHMARK in settings.benchmarks


def test_the_table_of_a_study_shows_the_best_of_each_size(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    potentials, benchmarks = make_study()
    del benchmarks[0]  # the best of n_sparse 100: with one material missing it has no mean to compare
    bench.database.collection("potentials").insert_many(potentials)
    bench.database.collection("phonon_benchmarks").insert_many(benchmarks)
    study_table(bench.database, "phonons")
    shown = capsys.readouterr().out
    assert "The best of 24 potentials" in shown
    rows = [line.split()[:4] for line in shown.splitlines() if line.split()[:1] in (["full"], ["rattled"])]
    best = [["full", "100", "1", "0.05"]] + [[name, size, "0.5", "0.05"] for name, size in BEST]
    assert rows == best
