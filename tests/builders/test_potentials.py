"""Potentials of a study: one item to work on, many documents, the same rules."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mlipdb.builders.potentials import PotentialsBuilder
from mlipdb.checking import check_database
from mlipdb.client import MlipDB
from mlipdb.data import template
from mlipdb.derive.potentials import potential_key
from mlipdb.settings import parse_settings

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
        assert doc["evaluation_time_ms"] > 0
    assert len({(doc["n_sparse"], doc["evaluation_time_ms"]) for doc in documents}) == 2
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


AXES = """
fits:
  gap:
    engine: grid
    sparse_from: every
    hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0, n_sparse: 10}, seed: 1, own_sigmas: replace}
    grid: {sigmas.energy: [0.001, 0.01], config_types: [[bulk, rattled], [rattled]]}
benchmarks:
  phonons: {potentials: {hyperparameters.sigmas.energy: 0.01}}
phonons: {mesh_length: 20.0, path_density: 30.0}
"""


def keys(study: Any, text: str) -> set[str]:
    """Keys of all potentials a project plans."""
    study.settle(study.recipe + text)
    builder = PotentialsBuilder(project=str(study.directory))
    builder.attach(study.database, study.project)
    return {item.key for item in builder.plan()}


def test_a_study_over_sigmas_and_config_types(study: Any) -> None:
    study.settle(study.recipe + AXES)
    reports = study.build("potentials", "phonon_benchmarks")
    assert (reports["potentials"].built, reports["potentials"].failed) == (4, 0)
    documents = study.docs("potentials")
    kinds = {(doc["hyperparameters"]["sigmas"]["energy"], *doc["hyperparameters"]["config_types"]) for doc in documents}
    assert kinds == {(energy, *types) for energy in (0.001, 0.01) for types in (("bulk", "rattled"), ("rattled",))}
    (training_set,) = study.docs("training_sets")
    for doc in documents:
        assert doc["study"] == {
            "n_sparse": [10],
            "sparse_from": "every",
            "sparse_config_types": ["isolated_atom", "rattled"],
        }
        details = doc["fit"]["details"]
        assert details["study"]["sparse_from"] == "every"
        assert details["study"]["sparse_config_types"] == ["isolated_atom", "rattled"]
        counts = training_set["train"]["by_config_type"]
        wanted = ["isolated_atom", *doc["hyperparameters"]["config_types"]]
        assert details["config_types"] == sorted(wanted)
        assert details["n_targets"]["energies"] == sum(counts.get(kind, 0) for kind in wanted)
        # The column of the recipe was replaced by one flat sigma; errors are those of everything.
        assert "f" not in doc
        assert set(doc["errors"]["train"]["by_config_type"]) == set(counts)
    assert len({doc["errors"]["test"]["overall"]["force_rmse"] for doc in documents}) == 4
    # The displaced supercells of the reference are in the training set, but no part of these fits.
    assert "single_displacement" in counts
    assert reports["phonon_benchmarks"].built == 2
    for benchmark in study.docs("phonon_benchmarks"):
        assert (benchmark["reference_in_training"], benchmark["reference_in_training_fraction"]) == (False, 0.0)
    assert study.build("potentials", "phonon_benchmarks")["potentials"].built == 0


def test_the_policy_for_sparse_points_changes_no_keys_without_config_types(study: Any) -> None:
    policy = "engine: grid\n    sparse_from: every"
    assert len(keys(study, STUDY)) == 4
    assert keys(study, STUDY) == keys(study, STUDY.replace("engine: grid", policy))
    # With config types it decides which environments may be sparse points.
    assert not keys(study, AXES) & keys(study, AXES.replace("every", "any"))


@pytest.mark.parametrize("engine", ["gap_fit", "grid"])
def test_fits_of_the_demo_are_planned_alike_with_either_policy(engine: str) -> None:
    builder = PotentialsBuilder()
    demo = parse_settings(template("demo.yaml"), "demo.yaml")
    for name, fit in demo.fits.items():
        planned = [
            [
                potential_key("gap", "ts-1", point, engine, study)
                for point, study, _ in builder._points(
                    name, fit.model_copy(update={"engine": engine, "sparse_from": policy})
                )
            ]
            for policy in ("any", "every")
        ]
        assert planned[0] == planned[1]
        assert len(planned[0]) == 3


def test_a_point_added_beside_subsets_is_solved_with_the_sparse_points_of_its_key(study: Any) -> None:
    """Points of one grid that another has fitted are left out of its study, but not out of its keys."""
    whole = AXES.replace("sparse_from: every", "sparse_from: any").replace("[[bulk, rattled], [rattled]]", "[null]")
    whole = whole.replace("[0.001, 0.01]", "[0.01]")
    study.settle(study.recipe + whole)
    assert study.build("potentials")["potentials"].built == 1
    second = whole.split("benchmarks:")[0].replace("fits:\n  gap:", "  more:").replace("[null]", "[null, [rattled]]")
    both = whole.replace("benchmarks:", second.lstrip("\n") + "benchmarks:")
    study.settle(study.recipe + both)
    assert study.build("potentials")["potentials"].built == 1
    documents = study.docs("potentials")
    assert len(documents) == 2
    drawn = {tuple(doc["fit"]["details"]["study"]["sparse_config_types"]) for doc in documents}
    (training_set,) = study.docs("training_sets")
    assert drawn == {tuple(sorted(training_set["train"]["by_config_type"]))}
    # So both share one file of sparse points.
    assert len(set.intersection(*({ref["sha256"] for ref in doc["files"]} for doc in documents))) == 1


def test_single_fits_over_sigmas_and_config_types(study: Any) -> None:
    text = AXES.replace("engine: grid", "engine: gap_fit").replace("[0.001, 0.01]", "[0.01]")
    study.settle(study.recipe + text.replace("[[bulk, rattled], [rattled]]", "[[rattled], [molecular_dynamics]]"))
    report = study.build("potentials")["potentials"]
    assert (report.built, report.failed) == (1, 1)
    (document,) = study.docs("potentials", state="complete")
    (training_set,) = study.docs("training_sets")
    counts = training_set["train"]["by_config_type"]
    assert document["fit"]["details"]["n_targets"]["energies"] == counts["isolated_atom"] + counts["rattled"]
    assert "f" not in document
    assert "default_kernel_regularisation={0.01 0.05 0.05 0.0}" in document["fit"]["command"]
    (failed,) = study.docs("potentials", state="failed")
    assert failed["failure"]["reason"] == "unknown_config_type"
    assert "no configurations of type molecular_dynamics; it has bulk, isolated_atom" in failed["failure"]["message"]
