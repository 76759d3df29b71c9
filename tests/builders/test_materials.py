"""Which tasks are read for crystals, and what a crystal is without a task it had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from phonopy_runs import CUBIC, phonopy_run, save

from mlipdb.builders import builder_class
from mlipdb.checking import check_database
from mlipdb.ingest.add import add_paths

Raw = dict[str, Any]
BUILDERS = ("materials", "configurations")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tasks that were read for crystals."""
    seen: list[str] = []
    cls = builder_class("materials")
    real = cls.fetch

    def fetch(self: Any, item: Any) -> Raw:
        seen.append(item.plan["task_id"])
        return real(self, item)

    monkeypatch.setattr(cls, "fetch", fetch)
    return seen


def test_after_a_new_version_all_is_read_once(bench: Any, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add(["relax-diamond", "relax-bc8", "phonon-diamond-01"])
    bench.build(*BUILDERS)
    bench.database.collection("tasks").delete_one({"task_id": "relax-bc8"})
    bench.database.touch("tasks")
    bench.build(*BUILDERS)
    monkeypatch.setattr(builder_class("materials"), "version", "next")
    read.clear()
    bench.build(*BUILDERS)
    assert read == ["phonon-diamond-01", "relax-diamond"]
    versions = {doc["material_id"]: doc["builder_meta"]["builder_version"] for doc in bench.docs("materials")}
    assert len(versions) == 2
    assert set(versions.values()) == {"next"}
    read.clear()
    bench.add(["rattled-diamond-00"])
    bench.build(*BUILDERS)
    assert read == ["rattled-diamond-00"]


def test_a_phonopy_file_is_read_once_and_again_when_it_changes(bench: Any, read: list[str], tmp_path: Path) -> None:
    file = tmp_path / "files" / "phonopy_params.yaml"
    level = {"code": "EMT", "functional": "EMT", "cutoff_ev": 500.0}
    save(phonopy_run(bulk("Al", "fcc", a=4.05, cubic=True), CUBIC), file)
    assert add_paths(bench.database, [file], workers=1, level=level).added == 1
    bench.build(*BUILDERS)
    (task_id,) = read
    (material,) = bench.docs("materials")
    assert [source["task_id"] for source in material["sources"]] == material["task_ids"] == [task_id]
    read.clear()
    bench.add(["rattled-diamond-00"])
    bench.build(*BUILDERS)
    assert read == ["rattled-diamond-00"]
    bench.database.collection("tasks").update_one({"task_id": task_id}, {"$set": {"content_hash": "another"}})
    bench.database.touch("tasks")
    read.clear()
    bench.build(*BUILDERS)
    assert read == [task_id]
    read.clear()
    bench.add(["rattled-diamond-01"])
    bench.build(*BUILDERS)
    assert read == ["rattled-diamond-01"]


def strained(bench: Any, **changes: Any) -> Raw:
    """Diamond under pressure, at rest."""
    record: Raw = bench.record(
        "relax-diamond", task_id="strained", stress=[-0.05, -0.05, -0.05, 0.0, 0.0, 0.0], **changes
    )
    lattice = record["structure"]["lattice"]
    lattice["matrix"] = [[0.98 * x for x in row] for row in lattice["matrix"]]
    return record


def test_a_reference_that_becomes_doubtful_gives_its_place_up(bench: Any) -> None:
    bench.add(["relax-diamond", strained(bench)])
    bench.build(*BUILDERS)
    (before,) = bench.docs("materials")
    assert before["reference_task_id"] == "relax-diamond"
    bench.add([bench.record("relax-diamond", converged=False)])
    bench.build(*BUILDERS)
    (material,) = bench.docs("materials")
    assert (material["state"], material["material_id"]) == ("complete", before["material_id"])
    assert (material["reference_task_id"], material["task_ids"]) == ("strained", ["strained"])
    assert material["volume_per_atom"] == pytest.approx(0.98**3 * before["volume_per_atom"], rel=1e-4)
    ratios = {doc["task_ids"][0]: doc["volume_ratio"] for doc in bench.docs("configurations", state="complete")}
    assert ratios["strained"] == pytest.approx(1.0)
    bench.add([strained(bench, converged=False)])
    assert bench.build(*BUILDERS)["materials"].withdrawn == 1
    assert [doc["state"] for doc in bench.docs("materials")] == ["withdrawn"]
    assert [(r.built, r.withdrawn) for r in bench.build(*BUILDERS).values()] == [(0, 0), (0, 0)]
    bench.add(["relax-diamond"])
    bench.build(*BUILDERS)
    (material,) = bench.docs("materials")
    assert (material["state"], material["task_ids"]) == ("complete", ["relax-diamond"])
    assert check_database(bench.database).problems == []


def test_what_a_replaced_task_said_before_is_no_reference(bench: Any) -> None:
    bench.add(["relax-diamond"])
    bench.build(*BUILDERS)
    (before,) = bench.docs("materials")
    bench.add([{**strained(bench), "task_id": "relax-diamond"}])
    bench.build(*BUILDERS)
    (after,) = bench.docs("materials")
    assert after["reference_stress"] == pytest.approx(0.05)
    assert after["volume_per_atom"] < before["volume_per_atom"]


def test_a_reference_whose_task_goes_gives_its_place_up(bench: Any) -> None:
    bench.add(["relax-diamond", strained(bench)])
    bench.build(*BUILDERS)
    bench.database.collection("tasks").delete_one({"task_id": "relax-diamond"})
    bench.database.touch("tasks")
    bench.build(*BUILDERS)
    (material,) = bench.docs("materials")
    assert (material["reference_task_id"], material["task_ids"]) == ("strained", ["strained"])


def test_a_crystal_behind_a_displaced_supercell_stays_as_long_as_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add(["phonon-diamond-01"])
    bench.build(*BUILDERS)
    (before,) = bench.docs("materials")
    monkeypatch.setattr(builder_class("materials"), "version", "next")
    assert bench.build(*BUILDERS)["materials"].withdrawn == 0
    assert bench.docs("materials")[0]["task_ids"] == before["task_ids"] == ["phonon-diamond-01"]
    bench.add([bench.record("phonon-diamond-01", converged=False)])
    assert bench.build(*BUILDERS)["materials"].withdrawn == 1
