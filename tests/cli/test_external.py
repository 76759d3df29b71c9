"""`mlipdb add` with phonopy files of DFT and of potentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from phonopy_runs import CUBIC, phonopy_run, save

QUICK = "phonons: {mesh_length: 15.0, path_density: 10.0}\nbenchmarks: {phonons: {}}\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """phonopy's files of copper as VASP would give them, and of a potential that prefers another volume."""
    folder = tmp_path_factory.mktemp("files")
    save(phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC, units="vasp"), folder / "dft" / "phonopy_params.yaml")
    save(phonopy_run(bulk("Cu", a=3.63, cubic=True), CUBIC), folder / "emt" / "phonopy_params.yaml")
    return folder


def test_both_sides_of_a_benchmark(shell: Any, bench: Any, files: Path) -> None:
    bench.settle(QUICK)
    answer = shell("add", files / "dft", "--level", "functional=PBE,cutoff_ev=500")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "phonopy_params.yaml item 0: phonopy_file, Cu32, 32 atoms, 1 displacements, PBE, VASP, 500 eV",
        "tasks: 1 added, 0 updated, 0 there already, 0 not taken (1 phonopy_file)",
    ]
    words = ("--as-potential", "EMT", "--framework", "emt", "--hyperparameter", "n_sparse=200", "--reference", "10.1/x")
    answer = shell("add", files / "emt", *words, "--license", "MIT")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == (
        "phonopy_params.yaml item 0: phonopy_potential, Cu32, 32 atoms, 1 displacements, potential EMT"
    )
    assert shell("build").code == 0
    (document,) = shell("find", "phonon_benchmarks", "--json").json
    assert document["n_sparse"] == 200
    assert document["mesh"]["rmse"] > 0
    (potential,) = shell("find", "potentials", "--json").json
    assert (potential["license"], potential["references"]) == ("MIT", ["10.1/x"])
    tree = shell("show", document["benchmark_id"], "--tree").out
    assert "external emt EMT" in tree
    assert shell("check").code == 0


def test_a_manifest(shell: Any, bench: Any, files: Path) -> None:
    bench.settle(QUICK)
    manifest = files / "manifest.csv"
    manifest.write_text(
        "file,name,framework,hyperparameters.n_sparse\nemt/phonopy_params.yaml,EMT,emt,200\ndft,DFT,emt,\n"
    )
    answer = shell("add", "--manifest", manifest)
    assert answer.code == 0
    assert "tasks: 2 added" in answer.out
    assert {doc["name"]: doc.get("n_sparse") for doc in bench.docs("potentials")} == {"EMT": 200, "DFT": None}
    manifest.write_text("file,name,framework\nnone/phonopy_params.yaml,EMT,emt\n")
    answer = shell("add", "--manifest", manifest)
    assert answer.code == 1
    assert "does not exist" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name files, folders or archives"),
        (["x.yaml", "--framework", "gap"], "name it by --as-potential"),
        (["--as-potential", "A", "--framework", "gap"], "name the phonopy files"),
        (["x.yaml", "--as-potential", "A"], "framework is None"),
        (["x.yaml", "--as-potential", " ", "--framework", "gap"], "name is ' '"),
        (["x.yaml", "--as-potential", "A", "--framework", "g", "--hyperparameter", "n"], "write it as n_sparse=200"),
        (
            ["x.yaml", "--as-potential", "A", "--framework", "g", *(2 * ["--hyperparameter", "n=1"])],
            "n is given twice",
        ),
        (["x.yaml", "--manifest", "m.yaml"], "--manifest says everything itself"),
        (["--manifest", "nowhere.yaml"], "cannot be read"),
        (["x", "--as-potential", "A", "--framework", "g", "--level", "functional=PBE"], "leave it out with"),
    ],
)
def test_options_that_do_not_go_together(shell: Any, words: list[str], message: str) -> None:
    answer = shell("add", *words)
    assert answer.code == 2
    assert message in answer.err
