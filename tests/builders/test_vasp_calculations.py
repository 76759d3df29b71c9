"""Real VASP calculations of LiCl, from directories and documents to a training set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from vasp import LICL, load, need_real
from workbench import Workbench

from mlipdb.ingest.add import add_paths

NAMES = ("Li-statisoatom", "Cl-statisoatom", "static", "phonon_static_1", "rand_static_1", "rand_static_9")


@need_real
def test_both_ways_give_one_training_set(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for number, name in enumerate(NAMES):
        # Names that tell nothing of the crystals: geometry has to.
        shutil.copytree(LICL / name, folder / (name if "iso" in name else f"launcher_{number}"))
    documents = [doc for doc in load(LICL / "tasks.jsonl.gz") if doc["task_label"] in NAMES]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in documents))
    report = add_paths(bench.database, [folder])
    assert report.formats == {"vasp_directory": 6, "emmet": 6}
    assert report.problems == []
    reports = bench.build("materials", "configurations", "training_sets")
    assert all(found.failed == 0 for found in reports.values())
    configurations = bench.docs("configurations")
    assert len(configurations) == 6
    assert all(len(doc["task_ids"]) == 2 for doc in configurations)
    kinds = sorted(doc["config_type"] for doc in configurations)
    assert kinds == ["bulk", "isolated_atom", "isolated_atom", "rattled", "rattled", "single_displacement"]
    (material,) = bench.docs("materials")
    assert (material["space_group_symbol"], material["n_sites"]) == ("Fm-3m", 2)
    assert {doc["material_id"] for doc in configurations if doc["n_atoms"] > 1} == {material["material_id"]}
    (training_set,) = bench.docs("training_sets")
    assert training_set["isolated_atom_energies"] == {"Cl": -0.27567309, "Li": -0.28663766}
    assert training_set["level_label"] == "PBEsol, VASP, PAW, 700 eV, k-mesh >= 19 A"
    assert training_set["warnings"] == [
        "isolated atom of Cl computed at 680 eV, the crystals at 700 eV",
        "isolated atom of Li computed at 680 eV, the crystals at 700 eV",
    ]


def test_the_nearest_cutoff_gives_the_isolated_atom(bench: Workbench) -> None:
    atom = bench.record("isolated-atom")
    cutoff = atom["ecutwfc_Ry"]
    bench.settle(bench.recipe)
    low = bench.record("isolated-atom", task_id="low", ecutwfc_Ry=cutoff * 0.97, energy=atom["energy"] - 0.5)
    far = bench.record("isolated-atom", task_id="far", ecutwfc_Ry=cutoff * 0.9, energy=atom["energy"] - 1.0)
    crystals = [name for name in bench.diamond if name != "isolated-atom"]
    bench.add([*crystals, far])
    bench.build("materials", "configurations", "training_sets")
    (found,) = bench.docs("training_sets")
    assert found["failure"]["reason"] == "no_isolated_atom"
    bench.add([low])
    bench.build("configurations", "training_sets")
    (found,) = bench.docs("training_sets", state="complete")
    assert found["isolated_atom_energies"] == {"Si": atom["energy"] - 0.5}
    assert len(found["warnings"]) == 1
    bench.add([atom])
    bench.build("configurations", "training_sets")
    (found,) = bench.docs("training_sets", current=True)
    assert found["isolated_atom_energies"] == {"Si": atom["energy"]}
    assert found["warnings"] == []
