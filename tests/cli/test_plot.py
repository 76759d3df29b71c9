"""plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from studies import make_study


@pytest.fixture
def finished(bench: Any) -> Any:
    bench.settle(bench.recipe + bench.small_fit)
    bench.add(bench.diamond)
    bench.build()
    return bench


def test_every_figure_is_written(shell: Any, finished: Any, tmp_path: Path) -> None:
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0
    names = sorted(path.name for path in (finished.directory / "figures").iterdir())
    assert names == ["bands-diamond.svg", "rmse-force.svg", "rmse-n-sparse.svg"]
    potential = finished.docs("potentials")[0]["potential_id"]
    target = tmp_path / "x.pdf"
    assert shell("plot", "bands", "diamond", "--potential", potential, "-o", target).out == f"{target}\n"
    assert target.read_bytes().startswith(b"%PDF")


def test_figures_of_nothing(shell: Any, finished: Any, tmp_path: Path) -> None:
    assert shell("plot", "bands", "graphite").code == 2
    answer = shell("plot", "rmse-n-sparse", "--where", "n_sparse>1000", "-o", tmp_path / "a.png")
    assert answer.code == 1
    assert not (tmp_path / "a.png").exists()
    assert shell("plot", "bands", "diamond", "-o", tmp_path / "a.docx").code == 2


@pytest.fixture
def grid(bench: Any) -> Any:
    """A project with the documents of a study."""
    potentials, benchmarks = make_study()
    bench.database.collection("potentials").insert_many(potentials)
    bench.database.collection("phonon_benchmarks").insert_many(benchmarks)
    materials = [
        {"material_id": f"mat-{name}", "names": [name], "state": "complete"} for name in ("diamond", "bc8", "st12")
    ]
    bench.database.collection("materials").insert_many(materials)
    return bench


def test_the_figures_of_a_study(shell: Any, grid: Any, tmp_path: Path) -> None:
    answer = shell("plot", "study")
    folder = grid.directory / "figures"
    assert answer.code == 0
    assert answer.out == f"{folder}/study-heat-mesh-rmse.png\n{folder}/study-pareto-mesh-rmse.png\n"
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in answer.out.splitlines())
    chosen = ("--fit", "gap", "--training-set", "full", "--metric", "path.rmse", "--material", "diamond")
    answer = shell("plot", "study", *chosen, "--format", "svg", "--output-dir", tmp_path / "x")
    names = [path.name for path in sorted((tmp_path / "x").iterdir())]
    assert names == [f"study-{name}-path-rmse-gap-full-diamond.svg" for name in ("heat", "pareto")]
    assert shell("plot", "study", "--metric", "force_rmse", "--where", "n_sparse>9999").code == 0


def test_the_front_for_programs(shell: Any, grid: Any) -> None:
    rows = shell("plot", "study", "--json", "--training-set", "rattled").json
    assert [row["n_sparse"] for row in rows] == [100, 200, 400]
    assert rows[0] == {
        "potential_id": rows[0]["potential_id"],
        "training_set": "rattled",
        "n_sparse": 100,
        "delta": 0.5,
        "f": 0.05,
        "metric": "mesh.rmse",
        "value": pytest.approx(0.6),
        "evaluation_time_ms": pytest.approx(1.0),
    }


def test_all_figures_include_a_grid(shell: Any, grid: Any) -> None:
    grid.database.collection("phonon_benchmarks").insert_one(
        {**grid.docs("phonon_benchmarks")[0], "benchmark_id": "bm-other", "protocol_id": "protocol-2"}
    )
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0, answer.err
    lines = answer.out.split()
    names = sorted(Path(line).name for line in lines if "study" in line)
    assert names == [f"study-{name}-mesh-rmse-protocol-{n}.svg" for name in ("heat", "pareto") for n in (1, 2)]
    answer = shell("plot", "study")
    assert answer.code == 1
    assert "2 protocols" in answer.err
    assert shell("plot", "study", "--where", "protocol_id=protocol-1").code == 0


def test_scatter_figures_of_each_protocol(shell: Any, grid: Any, tmp_path: Path) -> None:
    names = ("rmse-force", "rmse-n-sparse")
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0, answer.err
    assert sorted(Path(line).name for line in answer.out.split() if "rmse-" in Path(line).name[:6]) == [
        f"{name}.svg" for name in names
    ]
    other = {**grid.docs("phonon_benchmarks")[0], "benchmark_id": "bm-other", "protocol_id": "protocol-2"}
    del other["n_sparse"]  # as of an imported potential: only the other figure has a place for it
    grid.database.collection("phonon_benchmarks").insert_one(other)
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0, answer.err
    written = [Path(line) for line in answer.out.split()]
    assert sorted(path.name for path in written if path.name.startswith("rmse-")) == [
        "rmse-force-protocol-1.svg",
        "rmse-force-protocol-2.svg",
        "rmse-n-sparse.svg",
    ]
    assert all(path.is_file() for path in written)
    target = tmp_path / "a.svg"
    answer = shell("plot", "rmse-force", "-o", target)
    assert answer.code == 1
    assert "--where protocol_id=" in answer.err
    assert not target.exists()
    assert shell("plot", "rmse-force", "--where", "protocol_id=protocol-1", "-o", target).code == 0
    assert target.is_file()


def test_a_benchmark_whose_potential_is_gone_has_no_figure(shell: Any, grid: Any) -> None:
    orphan = {"benchmark_id": "bm-other", "potential_id": "pot-gone", "protocol_id": "protocol-2"}
    grid.database.collection("phonon_benchmarks").insert_one({**grid.docs("phonon_benchmarks")[0], **orphan})
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0, answer.err
    assert sorted(Path(line).name for line in answer.out.split() if "study" in line) == [
        "study-heat-mesh-rmse.svg",
        "study-pareto-mesh-rmse.svg",
    ]


def test_wrong_names_in_a_study(shell: Any, bench: Any, grid: Any) -> None:
    for words, meant in (
        (("--fit", "gab"), "did you mean gap"),
        (("--training-set", "ratled"), "did you mean rattled"),
        (("--metric", "path.rms"), "did you mean path.rmse"),
        (("--material", "graphite"), "nothing is called 'graphite'"),
    ):
        answer = shell("plot", "study", *words)
        assert answer.code == 2
        assert meant in answer.err
    grid.database.collection("phonon_benchmarks").delete_many({})
    answer = shell("plot", "study")
    assert (answer.code, "there are no phonon benchmarks" in answer.err) == (1, True)
    grid.database.collection("potentials").delete_many({})
    answer = shell("plot", "study", "--fit", "gab")
    assert (answer.code, "there are no potentials" in answer.err) == (1, True)
