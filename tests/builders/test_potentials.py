"""Potentials of a study: one item to work on, many documents, the same rules."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mlipdb.checking import check_database
from mlipdb.client import MlipDB
from mlipdb.derive.potentials import potential_key

LIGHT = ("materials", "configurations", "phonons", "training_sets")
STUDY = """
fits:
  gap:
    engine: grid
    hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}
    grid: {n_sparse: [10, 20], delta: [1.0], f: [0.1, 0.2]}
benchmarks:
  phonons: {}
phonons: {mesh_length: 20.0, path_density: 30.0}
"""


@pytest.fixture
def study(bench: Any) -> Any:
    bench.settle(bench.recipe + STUDY)
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    return bench


def test_a_study_is_one_item_and_many_documents(study: Any) -> None:
    reports = study.build("potentials", "phonon_benchmarks")
    assert (reports["potentials"].built, reports["potentials"].failed) == (4, 0)
    documents = study.docs("potentials")
    assert {doc["engine"] for doc in documents} == {"grid"}
    assert sorted((doc["n_sparse"], doc["f"]) for doc in documents) == [(10, 0.1), (10, 0.2), (20, 0.1), (20, 0.2)]
    for doc in documents:
        assert doc["errors"]["test"]["overall"]["force_rmse"] > 0
        assert doc["errors"]["train"]["by_config_type"]
        assert doc["fit"]["details"]["engine"] == "grid"
    # All points share one file of sparse points.
    shared = set.intersection(*({ref["sha256"] for ref in doc["files"]} for doc in documents))
    assert len(shared) == 1
    assert reports["phonon_benchmarks"].built == 4
    assert check_database(study.database).problems == []
    assert study.build("potentials")["potentials"].built == 0
    with MlipDB(study.directory) as db:
        atoms = db.calculator(documents[0]["potential_id"])
        assert "forces" in atoms.implemented_properties
    folder = study.project.data_directory / "studies"
    assert not folder.exists() or not list(folder.iterdir())


def test_a_new_point_leaves_the_others_as_they_are(study: Any) -> None:
    study.build("potentials")
    before = {doc["potential_id"]: doc for doc in study.docs("potentials")}
    study.settle(study.recipe + STUDY.replace("f: [0.1, 0.2]", "f: [0.1, 0.2, 0.4]"))
    assert study.build("potentials")["potentials"].built == 2
    after = {doc["potential_id"]: doc for doc in study.docs("potentials")}
    assert len(after) == 6
    assert {key: after[key] for key in before} == before
    # Sparse sets are nested: another size makes other potentials of all sizes, beside the old ones.
    study.settle(study.recipe + STUDY.replace("[10, 20]", "[10, 20, 30]"))
    assert study.build("potentials")["potentials"].built == 6
    assert len(study.docs("potentials")) == 12


def test_what_cannot_share_goes_to_gap_fit(study: Any, caplog: pytest.LogCaptureFixture) -> None:
    pair = "hyperparameters: {two_body: {n_sparse: 5, cutoff: 4.0}, soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}"
    text = STUDY.replace("hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}", pair)
    study.settle(study.recipe + text.replace("[10, 20]", "[10]").replace("[0.1, 0.2]", "[0.1]"))
    logging.getLogger("mlipdb").propagate = True
    with caplog.at_level(logging.WARNING, logger="mlipdb"):
        assert study.build("potentials")["potentials"].built == 1
    assert "some points go to gap_fit: only SOAP alone shares an assembly" in caplog.text
    (document,) = study.docs("potentials")
    assert document["engine"] == "gap_fit"


def test_a_study_that_fails_leaves_a_failed_document_for_each_point(study: Any) -> None:
    study.settle(study.recipe + STUDY.replace("[10, 20]", "[10, 2000]"))
    report = study.build("potentials")["potentials"]
    assert (report.built, report.failed) == (0, 4)
    failures = [doc["failure"] for doc in study.docs("potentials", state="failed")]
    assert {failure["reason"] for failure in failures} == {"too_many_sparse_points"}
    assert all("2000" in failure["message"] for failure in failures)


def test_keys_of_single_fits_do_not_know_studies() -> None:
    point = {"soap": {"n_sparse": 10}}
    assert potential_key("gap", "ts-1", point) == potential_key("gap", "ts-1", point, "gap_fit", None)
    assert potential_key("gap", "ts-1", point) != potential_key("gap", "ts-1", point, "grid", {"n_sparse": [10]})
