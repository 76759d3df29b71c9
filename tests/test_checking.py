from __future__ import annotations

from typing import Any

import pytest
from documents import POTENTIAL_FILES, Chain, insert_chain

from mlipdb.artifacts import Artifacts
from mlipdb.checking import artifact_refs, check_database
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import COLLECTIONS, Database


@pytest.fixture
def chain(database: Database, silicon: dict[str, Any]) -> Chain:
    return insert_chain(database, silicon)


def test_a_good_database(database: Database, chain: Chain) -> None:
    seen: list[str] = []
    report = check_database(database, seen.append)
    assert report.problems == []
    assert report.documents == len(seen) == 17
    assert report.artifacts == 4
    assert report.parents > 20
    assert (report.unused_artifacts, report.orphaned_chunks) == ([], 0)
    assert report.as_dict()["documents"] == 17


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("tasks", {"raw.energy": -1.0}),
    ("tasks", {"content_hash": "0" * 64}),
    ("levels_of_theory", {"functional": "LDA"}),
    ("configurations", {"energy": -1.0}),
    ("configurations", {"forces.0.2": 3.0}),
    ("configurations", {"energy": float("nan")}),
    ("configurations", {"level_id": "lvl-other"}),
    ("phonons", {"displacement_distance": 0.02}),
    ("training_sets", {"members.0.split": "test"}),
    ("training_sets", {"isolated_atom_energies.Si": 0.0}),
    ("potentials", {"hyperparameters.n_sparse": 7}),
    ("phonon_benchmarks", {"protocol_id": "prt-1"}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_changed_document_is_found(database: Database, chain: Chain, name: str, change: dict[str, Any]) -> None:
    item = COLLECTIONS[name]
    document = database.collection(name).find_one({}, sort=[(item.key, 1)])
    assert document is not None
    database.collection(name).update_one({item.key: document[item.key]}, {"$set": change})
    problems = check_database(database).problems
    assert [problem for problem in problems if problem.startswith(f"{name} {document[item.key]}: it was changed")]


@pytest.mark.parametrize("field", ["structure", "forces", "energy"])
def test_content_taken_out_is_found(database: Database, chain: Chain, field: str) -> None:
    key = chain.configurations["relax-diamond"]
    database.collection("configurations").update_one({"configuration_id": key}, {"$unset": {field: 1}})
    (problem,) = check_database(database).problems
    assert problem.startswith(f"configurations {key}: it was changed after it was made")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"state": "done"}, "state: Input should be"),
        ({"files.0.sha256": "x"}, "files.0.sha256: String should match"),
    ],
)
def test_a_document_of_the_wrong_form_is_found(
    database: Database, chain: Chain, change: dict[str, Any], words: str
) -> None:
    database.collection("potentials").update_one({}, {"$set": change})
    assert [words in problem for problem in check_database(database).problems] == [True]


def test_a_missing_parent_is_found(database: Database, chain: Chain) -> None:
    gone = chain.configurations["phonon-diamond-01"]
    database.collection("configurations").delete_one({"configuration_id": gone})
    assert check_database(database).problems == [
        f"phonons {chain.phonon}: its configuration_ids {gone} are not in configurations",
        f"training_sets {chain.training_set}: its configuration_ids {gone} are not in configurations",
    ]


def test_many_missing_parents_are_counted(database: Database, chain: Chain) -> None:
    database.collection("configurations").delete_many({})
    problems = check_database(database).problems
    assert [problem for problem in problems if "and 2 more are not in configurations" in problem]


def test_withdrawn_documents_may_have_lost_their_parents(database: Database, chain: Chain) -> None:
    database.collection("phonons").delete_many({})
    database.collection("phonon_benchmarks").update_many({}, {"$set": {"state": "withdrawn"}})
    assert check_database(database).problems == []


def test_a_damaged_artifact_is_found(database: Database, chain: Chain) -> None:
    ref = ArtifactRef.of("gap.xml", POTENTIAL_FILES["gap.xml"])
    entry = database.db["artifacts.files"].find_one({"metadata.sha256": ref.sha256})
    assert entry is not None
    database.db["artifacts.chunks"].update_one({"files_id": entry["_id"]}, {"$set": {"data": b"<GAP_paramz/>\n"}})
    (problem,) = check_database(database).problems
    assert problem.startswith(f"potentials {chain.potential}: the stored file gap.xml is damaged")


def test_a_missing_artifact_is_found_for_all_that_name_it(database: Database, chain: Chain) -> None:
    potential = database.collection("potentials").find_one({}, {"_id": 0})
    assert potential is not None
    twin = {**potential, "potential_id": "pot-zz", "origin": "imported"}
    database.replace("potentials", twin)
    Artifacts(database).delete(ArtifactRef.of("", POTENTIAL_FILES["gap.xml"]).sha256)
    problems = [problem for problem in check_database(database).problems if "is not stored" in problem]
    assert [problem.split(":")[0] for problem in problems] == [f"potentials {chain.potential}", "potentials pot-zz"]


def test_a_wrong_size_is_found(database: Database, chain: Chain) -> None:
    database.collection("potentials").update_one({}, {"$set": {"files.0.size": 3}})
    assert "has 14 bytes where the document says 3" in check_database(database).problems[0]


def test_unused_files_and_orphaned_chunks_are_told(database: Database, chain: Chain) -> None:
    unused = Artifacts(database).put("old.xml", b"old")
    database.db["artifacts.chunks"].insert_one({"files_id": "gone", "n": 0, "data": b"x"})
    report = check_database(database)
    assert (report.problems, report.unused_artifacts, report.orphaned_chunks) == ([], [unused.sha256], 1)


def test_what_producers_wrote_is_no_reference(database: Database, chain: Chain) -> None:
    task = database.collection("tasks").find_one({}, {"_id": 0})
    assert task is not None
    raw = {"name": "x", "sha256": "0" * 64, "size": 1}
    database.replace("tasks", {**task, "task_id": "other", "raw": raw, "content_hash": None})
    assert not [problem for problem in check_database(database).problems if "not stored" in problem]


def test_references_at_any_depth() -> None:
    ref = ArtifactRef.of("a", b"1")
    plain = ref.model_dump()
    assert list(artifact_refs({"x": [{"y": plain}, plain], "z": {**plain, "more": 1}})) == [ref, ref]
    assert list(artifact_refs({"x": {**plain, "sha256": "none"}})) == []
