"""Benchmarks at the fixed cell: one item for potentials that share an evaluation, the documents of separate runs."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import thread_count
from workbench import Workbench

from mlipdb.artifacts import Artifacts
from mlipdb.builders import phonon_benchmarks, shared_benchmarks
from mlipdb.builders.items import Counts, WorkItem
from mlipdb.builders.phonon_benchmarks import PhononBenchmarksBuilder
from mlipdb.builders.shared_benchmarks import grouped, share_key, share_memory
from mlipdb.checking import check_database
from mlipdb.frameworks.gap_grid import Potentials
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.phonon_protocol import PhononProtocol

Raw = dict[str, Any]
SOAP = "{l_max: 3, n_max: 4, cutoff: 4.0}"
SETTINGS = f"""
training_sets:
  full: {{split: {{test_fraction: 0.2, seed: 1}}}}
fits:
  study:
    engine: grid
    train_errors: false
    hyperparameters: {{soap: {SOAP}, seed: 1}}
    grid: {{n_sparse: [10, 20], delta: [1.0], f: [0.1, 0.2]}}
  plain:
    train_errors: false
    hyperparameters: {{soap: {SOAP}, seed: 1}}
    grid: {{n_sparse: [10]}}
benchmarks:
  phonons: {{protocol: {{relax: none}}}}
phonons: {{mesh_length: 20.0, path_density: 30.0}}
"""
NAMES = ("materials", "configurations", "phonons", "training_sets", "potentials")
# What differs between two runs of one benchmark.
OF_A_RUN = {"last_updated", "builder_meta", "wall_time_s", "phonopy_file"}


@pytest.fixture(scope="module")
def made(
    new_database: Any, silicon_pickle: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workbench, list[Raw]]]:
    """Four potentials of a study and one of gap_fit, for all tests of this file."""
    records = {record["task_id"]: record for record in pickle.loads(silicon_pickle)}
    with new_database() as database:
        bench = Workbench(database, tmp_path_factory.mktemp("bench"), records)
        bench.settle(SETTINGS)
        bench.add([name for name in bench.diamond if not name.endswith(("03", "04"))])
        assert all(report.failed == 0 for report in bench.build(*NAMES).values())
        yield bench, bench.docs("potentials")


@pytest.fixture
def study(made: tuple[Workbench, list[Raw]]) -> Workbench:
    """The workbench as it was made, without benchmarks."""
    bench, potentials = made
    bench.settle(SETTINGS)
    bench.database.collection("phonon_benchmarks").delete_many({})
    bench.database.collection("build_runs").delete_many({"builder": "phonon_benchmarks"})
    bench.database.collection("potentials").delete_many({})
    bench.database.collection("potentials").insert_many([dict(doc) for doc in potentials])
    return bench


def builder_of(bench: Workbench, **options: Any) -> PhononBenchmarksBuilder:
    builder = PhononBenchmarksBuilder(project=str(bench.directory), **options)
    builder.attach(bench.database, bench.project)
    return builder


def run_here(bench: Workbench, **options: Any) -> Counts:
    """Build in this process, where a test can change what is called."""
    builder = builder_of(bench, **options)
    for item in builder.stale_items():
        builder.update_targets([builder.process_item(builder.prepared(item))])
    builder.finalize()
    return builder.counts


def benchmarks(bench: Workbench, **query: Any) -> dict[str, Raw]:
    return {doc["benchmark_id"]: doc for doc in bench.docs("phonon_benchmarks", **query)}


def grid_potentials(bench: Workbench) -> list[Raw]:
    return sorted(bench.docs("potentials", engine="grid"), key=lambda doc: str(doc["potential_id"]))


def flat(value: Any) -> list[Any]:
    """All values of a document, in order of their names."""
    if isinstance(value, dict):
        return [item for key in sorted(value) for item in (key, *flat(value[key]))]
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in flat(part)]
    return [value]


def test_the_documents_are_those_of_separate_runs(study: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [item.label for item in builder_of(study).stale_items()]
    assert len(plan) == 2
    assert plan[0].startswith("pot-")
    assert plan[1] == "4 gap on diamond"
    report = study.build("phonon_benchmarks")["phonon_benchmarks"]
    assert (report.built, report.failed, report.unchanged) == (5, 0, 0)
    together = benchmarks(study)
    assert check_database(study.database).problems == []
    assert study.build("phonon_benchmarks")["phonon_benchmarks"].built == 0

    study.database.collection("phonon_benchmarks").delete_many({})
    monkeypatch.setattr(phonon_benchmarks, "share_key", lambda *_: None)
    assert run_here(study).built == 5
    separate = benchmarks(study)
    assert together.keys() == separate.keys()
    for key, one in together.items():
        other = separate[key]
        assert one.keys() == other.keys()
        assert one["mesh"]["rmse"] == pytest.approx(other["mesh"]["rmse"], abs=1e-9)
        for ours, theirs in zip(
            *(flat({k: doc[k] for k in doc.keys() - OF_A_RUN}) for doc in (one, other)), strict=True
        ):
            # The acoustic modes at Gamma are roots of rounding errors, up to 1e-6 THz in size.
            assert ours == (pytest.approx(theirs, rel=1e-8, abs=1e-5) if isinstance(theirs, float) else theirs)
    assert sum(doc["wall_time_s"] for doc in together.values()) > 0


def test_a_disagreement_leaves_no_result(study: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Potentials.predict

    def wrong(self: Potentials, *args: Any, **kwargs: Any) -> Any:
        weights = [weights * (1 + 1e-5) for weights in self.weights]
        return predict(Potentials(self.terms, self.sparse, weights, self.isolated_atom_energies), *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Potentials, "predict", wrong)
        counts = run_here(study)
    assert (counts.built, counts.failed) == (1, 4)
    ids = {doc["potential_id"] for doc in grid_potentials(study)}
    failed = benchmarks(study, state="failed")
    assert {doc["potential_id"] for doc in failed.values()} == ids
    assert {doc["failure"]["reason"] for doc in failed.values()} == {"disagreement"}
    assert all("eV/Angstrom" in doc["failure"]["message"] for doc in failed.values())
    assert not ids & {doc["potential_id"] for doc in benchmarks(study, state="complete").values()}
    # They are not tried again by themselves, and are put right when they are.
    assert study.build("phonon_benchmarks")["phonon_benchmarks"].built == 0
    assert study.build("phonon_benchmarks", retry_failed=True)["phonon_benchmarks"].built == 4
    assert benchmarks(study, state="failed") == {}


def test_a_disagreement_does_not_replace_good_documents(study: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(study)
    before = benchmarks(study)
    study.database.collection("phonon_benchmarks").update_many({}, {"$set": {"inputs_hash": "of other inputs"}})

    def disagrees(*_: Any) -> Any:
        from mlipdb.errors import CalculatorError

        raise CalculatorError("quippy computes other forces", reason="disagreement")

    monkeypatch.setattr("mlipdb.derive.shared_benchmarks._spot_check", disagrees)
    assert run_here(study).failed == 4
    for key, doc in benchmarks(study).items():
        assert doc["state"] == "complete"
        assert doc["mesh"] == before[key]["mesh"]
    reasons = [doc.get("rebuild_failure", {}).get("reason") for doc in benchmarks(study).values()]
    assert sorted(map(str, reasons)) == ["None", *["disagreement"] * 4]


def test_only_what_is_stale_is_computed_and_written(study: Workbench) -> None:
    run_here(study)
    before = benchmarks(study)
    keys = sorted(key for key, doc in before.items() if doc["n_sparse"] == 20)
    assert len(keys) == 2
    study.database.collection("phonon_benchmarks").delete_many({"benchmark_id": {"$in": keys}})
    assert [item.label for item in builder_of(study).stale_items()] == ["2 gap on diamond"]
    assert (counts := run_here(study)).built == 2
    assert counts.unchanged == 3
    after = benchmarks(study)
    assert after.keys() == before.keys()
    assert all(after[key] == before[key] for key in before if key not in keys)
    # One alone is a benchmark like any other.
    study.database.collection("phonon_benchmarks").delete_one({"benchmark_id": keys[0]})
    (item,) = builder_of(study).stale_items()
    assert item.key == keys[0]


def test_a_missing_file_fails_one_potential_alone(study: Workbench) -> None:
    victim = grid_potentials(study)[1]
    ref = next(ArtifactRef.model_validate(ref) for ref in victim["files"] if ref["name"] == "gap.xml")
    artifacts = Artifacts(study.database)
    data = artifacts.get(ref)
    artifacts.delete(ref.sha256)
    try:
        report = study.build("phonon_benchmarks")["phonon_benchmarks"]
    finally:
        artifacts.put(ref.name, data)
    assert (report.built, report.failed) == (4, 1)
    (failed,) = benchmarks(study, state="failed").values()
    assert failed["potential_id"] == victim["potential_id"]
    assert failed["failure"]["reason"] == "artifact_missing"
    assert study.build("phonon_benchmarks", retry_failed=True)["phonon_benchmarks"].built == 1


def test_a_potential_that_gives_no_numbers_fails_alone(study: Workbench) -> None:
    victim = grid_potentials(study)[2]
    artifacts = Artifacts(study.database)
    place = next(n for n, ref in enumerate(victim["files"]) if ref["name"] == "gap.xml")
    xml = artifacts.get(ArtifactRef.model_validate(victim["files"][place]))
    old = xml.split(b' alpha="', 1)[1].split(b'"', 1)[0]
    tampered = artifacts.put("gap.xml", xml.replace(old, b"1.5e308", 1)).model_dump()
    query = {"potential_id": victim["potential_id"]}
    study.database.collection("potentials").update_one(query, {"$set": {f"files.{place}": tampered}})
    report = study.build("phonon_benchmarks")["phonon_benchmarks"]
    assert (report.built, report.failed) == (4, 1)
    (failed,) = benchmarks(study, state="failed").values()
    assert failed["potential_id"] == victim["potential_id"]
    assert failed["failure"]["reason"] == "not_finite"


def test_what_cannot_share_after_all_is_run_one_by_one_and_said(
    study: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The potential of gap_fit has sparse points of its own."""
    monkeypatch.setattr(phonon_benchmarks, "share_key", lambda *_: "all")
    logging.getLogger("mlipdb").propagate = True
    with caplog.at_level(logging.WARNING, logger="mlipdb"):
        counts = run_here(study)
    assert (counts.built, counts.failed) == (5, 0)
    assert "5 gap on diamond: one by one, since 5 potentials cannot be evaluated together" in caplog.text
    assert "differ in descriptors or side files" in caplog.text


def test_a_new_point_adds_only_its_own_benchmarks(bench: Any) -> None:
    text = SETTINGS.replace("n_sparse: [10, 20]", "n_sparse: [10]")
    first, last = text.index("  plain:"), text.index("benchmarks:")
    text = text[:first] + text[last:]
    bench.settle(text)
    bench.add([name for name in bench.diamond if not name.endswith(("02", "03", "04"))])
    assert bench.build(*NAMES, "phonon_benchmarks")["phonon_benchmarks"].built == 2
    before = benchmarks(bench)
    bench.settle(text.replace("f: [0.1, 0.2]", "f: [0.1, 0.2, 0.4]"))
    reports = bench.build("potentials", "phonon_benchmarks")
    assert (reports["potentials"].built, reports["phonon_benchmarks"].built) == (1, 1)
    after = benchmarks(bench)
    assert {key: after[key] for key in before} == before
    assert [doc["f"] for key, doc in after.items() if key not in before] == [0.4]


def test_relaxed_benchmarks_stay_single(study: Workbench) -> None:
    for relax in ("cell", "positions"):
        study.settle(SETTINGS.replace("relax: none", f"relax: {relax}"))
        items = builder_of(study).stale_items()
        assert len(items) == 5
        assert all(item.key is not None and "members" not in item.plan for item in items)


def test_members_of_a_group_whose_process_died_are_tried_alone(study: Workbench) -> None:
    builder = builder_of(study)
    _, group = builder.stale_items()
    died = {"reason": "worker_died", "message": "the process died"}
    builder.update_targets([{**builder.prepared(group), "failure": died}])
    assert builder.counts.failed == 4
    assert {doc["failure"]["reason"] for doc in benchmarks(study).values()} == {"worker_died"}
    again = builder_of(study, retry_failed=True).stale_items()
    assert len(again) == 5
    assert all("members" not in item.plan for item in again)


def test_members_whose_rebuild_died_are_tried_alone(study: Workbench) -> None:
    study.build("phonon_benchmarks")
    study.database.collection("phonon_benchmarks").update_many({}, {"$set": {"inputs_hash": "of another version"}})
    builder = builder_of(study)
    _, group = builder.stale_items()
    died = {"reason": "worker_died", "message": "the process died"}
    builder.update_targets([{**builder.prepared(group), "failure": died}])
    assert {doc["state"] for doc in benchmarks(study).values()} == {"complete"}
    assert all("members" not in item.plan for item in builder_of(study, retry_failed=True).stale_items())


def _item(number: int, share: str | None, memory: int = 1, phonon: str = "ph-1") -> WorkItem:
    stub = {
        "benchmark": "phonons",
        "protocol_id": "protocol-1",
        "phonon_id": phonon,
        "framework": "gap",
        "material_name": "diamond",
    }
    plan = {"share": share, "memory": memory}
    return WorkItem(f"item {number}", f"hash {number}", plan, key=f"bm-{number:04d}", skeleton=stub)


def test_groups_are_divided_for_workers_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [_item(number, "a") for number in range(24)]

    def sizes(items: list[WorkItem], workers: int) -> list[int]:
        return [len(item.plan.get("members", [item])) for item in grouped(items, workers)]

    assert sizes(items, 1) == [24]
    assert sizes(items, 2) == [12, 12]
    assert sizes(items, 100) == [4] * 6  # an evaluation for fewer is not worth it
    other = [_item(number, "a", phonon="ph-2") for number in range(24, 48)]
    assert sizes(items + other, 2) == [24, 24]
    assert sizes(items + other, 3) == [12] * 4
    monkeypatch.setattr(shared_benchmarks, "MEMORY", 10)
    assert sizes(items, 1) == [8, 8, 8]
    # Single ones come first, in their order; each item is there once, and labels differ.
    mixed = [_item(50, None), *items, _item(51, "b"), _item(52, None)]
    found = grouped(mixed, 1)
    assert [item.label for item in found[:3]] == ["item 50", "item 51", "item 52"]
    members = [member.key for item in found[3:] for member in item.plan["members"]]
    assert sorted(members) == [item.key for item in items]
    assert len({item.label for item in found}) == len(found)
    assert [item.inputs_hash for item in grouped(mixed[::-1], 1)[3:]] == [item.inputs_hash for item in found[3:]]
    # One to be left alone is left alone.
    assert [item.key for item in grouped(mixed, 1, {"bm-0003"})[:2]] == ["bm-0050", "bm-0003"]


def test_what_shares_an_evaluation() -> None:
    def potential(**changes: Any) -> Raw:
        soap = {"l_max": 3, "n_max": 4, "n_sparse": 10, "delta": 1.0, **changes.pop("soap", {})}
        files = [{"name": "gap.xml", "sha256": changes.pop("xml", "1")}, {"name": "side", "sha256": "2"}]
        hyperparameters = {"soap": soap, "two_body": None, **changes.pop("hyperparameters", {})}
        known = {"framework": "gap", "engine": "grid", "main_file": "gap.xml", "files": files}
        return {**known, "hyperparameters": hyperparameters, "elements": ["Si"], **changes}

    fixed, relaxed = PhononProtocol(relax="none"), PhononProtocol(relax="cell")
    first = share_key(potential(), fixed)
    assert first is not None
    assert share_key(potential(soap={"n_sparse": 20, "delta": 0.1}, xml="3"), fixed) == first
    assert share_key(potential(hyperparameters={"f": 0.3}), fixed) == first
    assert share_key(potential(soap={"l_max": 4}), fixed) not in (None, first)
    others = [
        potential(engine="gap_fit"),
        potential(framework="ace"),
        potential(hyperparameters={"two_body": {"n_sparse": 5}}),
        potential(files=[{"name": "gap.xml", "sha256": "1"}]),
        potential(hyperparameters={"soap": None}),
    ]
    assert [share_key(other, fixed) for other in others] == [None] * len(others)
    assert share_key(potential(), relaxed) is None
    small, large = ({"n_atoms_supercell": n, "n_displacements": 4} for n in (64, 512))
    assert 8 * share_memory(potential(), small) == share_memory(potential(), large)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux counts them")
def test_workers_leave_a_core_to_each_other() -> None:
    """Neither BLAS nor quippy starts threads in a worker; with two threads asked for, they are seen."""
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from thread_count import library_threads\n"
        "from mlipdb.workers import run_in_processes\n"
        "if __name__ == '__main__':\n"
        "    print(json.dumps(list(run_in_processes(library_threads, [{'label': 0}], 1, lambda i, m: {'died': m}))))\n"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code, str(Path(thread_count.__file__).parent)]
    found = {}
    for kind, environment in {"bare": bare, "two": {**bare, **dict.fromkeys(names, "2")}}.items():
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=True
        )
        (found[kind],) = json.loads(done.stdout.splitlines()[-1])
        assert found[kind]["did"]
    assert found["bare"]["threads"] == 0
    if len(os.sched_getaffinity(0)) > 1:
        assert found["two"]["threads"] > 0
