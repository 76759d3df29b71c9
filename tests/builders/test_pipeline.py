"""From raw tasks to phonon benchmarks with the real gap_fit, phonopy and quippy, on real data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlipdb.checking import check_database
from mlipdb.client import MlipDB
from mlipdb.provenance import tree_of

ALLOTROPES = ("diamond", "lonsdaleite", "bc8", "clathrate-II")


@pytest.fixture
def finished(bench: Any) -> Any:
    """Diamond with two potentials and their benchmarks."""
    bench.settle(bench.recipe + bench.small_fit.replace("[10]", "[10, 20]"))
    bench.add([*bench.diamond, "phonon-4h-01", "relax-4h"])
    bench.build()
    return bench


def test_dft_phonons_of_silicon(bench: Any) -> None:
    bench.settle(bench.recipe)
    bench.add(list(bench.records))
    bench.build("materials", "configurations", "phonons")
    phonons = {doc["material_name"]: doc for doc in bench.docs("phonons")}
    complete = {name for name, doc in phonons.items() if doc["state"] == "complete"}
    assert complete == {*ALLOTROPES, "st12"}
    assert 15.0 < phonons["diamond"]["max_frequency"] < 15.8
    for name in ALLOTROPES:
        assert min(min(row) for row in phonons[name]["mesh"]["frequencies"]) > -0.1, name
    assert phonons["4h"]["state"] == "incomplete"
    assert len(phonons["4h"]["missing"]) == 3
    assert all("along" in text for text in phonons["4h"]["missing"])
    assert "mesh" not in phonons["4h"]


def test_the_same_phonons_without_the_producers_metadata(bench: Any) -> None:
    """Names, kinds and phonopy metadata gone, atoms shuffled, frame rotated: geometry tells it all."""
    bench.add(list(bench.diamond))
    bench.build("materials", "configurations", "phonons")
    (known,) = bench.docs("phonons")
    for name in ("tasks", "materials", "configurations", "phonons", "build_runs"):
        bench.database.collection(name).delete_many({})
    bench.add([stripped(bench.record(task_id), number) for number, task_id in enumerate(bench.diamond)])
    bench.build("materials", "configurations", "phonons")
    kinds = sorted(doc["config_type"] for doc in bench.docs("configurations"))
    assert kinds == ["bulk", "isolated_atom", *["rattled"] * 5, "single_displacement"]
    assert {doc["config_type_from"] for doc in bench.docs("configurations")} == {"geometry"}
    (found,) = bench.docs("phonons")
    assert found["state"] == "complete"
    assert found["max_frequency"] == pytest.approx(known["max_frequency"], abs=1e-3)


def stripped(record: dict[str, Any], seed: int) -> dict[str, Any]:
    """A record with nothing but geometry and labels, in another frame and order."""
    rng = np.random.default_rng(seed)
    structure = record["structure"]
    turn = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    order = rng.permutation(len(structure["sites"]))
    structure["lattice"]["matrix"] = (np.array(structure["lattice"]["matrix"]) @ turn).tolist()
    structure["sites"] = [structure["sites"][index] for index in order]
    kept = ("task_id", "structure", "energy", "code", "functional", "kpoints", "pseudopotential", "ecutwfc_Ry")
    forces = (np.array(record["forces"])[order] @ turn).tolist()
    plain = {key: record[key] for key in kept} | {"forces": forces}
    if len(order) == 1:
        plain |= {"kpoints": None, "spin_polarised": True}
    return plain


def test_a_displacement_set_is_built_as_soon_as_it_is_complete(bench: Any) -> None:
    bench.add(["relax-bc8", "phonon-bc8-00", "phonon-bc8-01"])
    bench.build("materials", "configurations", "phonons")
    (before,) = bench.docs("phonons")
    assert (before["state"], len(before["missing"])) == ("incomplete", 1)
    bench.add(["phonon-bc8-02"])
    bench.build("materials", "configurations", "phonons")
    (after,) = bench.docs("phonons")
    assert after["phonon_id"] == before["phonon_id"]
    assert after["state"] == "complete"
    assert after["missing"] == []
    assert after["residual_configuration_id"] is not None
    assert after["task_ids"] == ["phonon-bc8-00", "phonon-bc8-01", "phonon-bc8-02"]


def test_phonons_without_a_reference_calculation(bench: Any) -> None:
    """Nobody relaxed the crystal: it is recovered from the displaced supercell itself."""
    bench.add(["phonon-diamond-01"])
    bench.build("materials", "configurations", "phonons")
    (material,) = bench.docs("materials")
    assert material["structure_from"] == "displaced"
    assert material["material_id"] == "Si-A_cF8_227_a"
    (phonon,) = bench.docs("phonons")
    assert phonon["max_frequency"] == pytest.approx(15.06, abs=0.02)


def test_documents_as_users_query_them(finished: Any) -> None:
    with MlipDB(finished.directory) as db:
        potentials = db.potentials.find(sort="n_sparse")
        assert [doc["n_sparse"] for doc in potentials] == [10, 20]
        for doc in potentials:
            assert doc["fit"]["command"][0].endswith("gap_fit")
            assert doc["fit"]["wall_time_s"] > 0
            assert doc["evaluation_time_ms"] > 0
            assert doc["fit"]["peak_memory_mb"] > 1
            assert "quippy-ase" in doc["builder_meta"]["versions"]
            assert doc["errors"]["test"]["overall"]["force_rmse"] > 0
        runs = db.phonon_benchmarks.find("mesh.rmse<100", sort="mesh.rmse")
        assert len(runs) == 2
        for run in runs:
            assert run["material_id"] == "Si-A_cF8_227_a"
            assert 0 < run["mesh"]["rmse"] < 20
            assert 0 < run["path"]["rmse"] < 20
            assert isinstance(run["stability"]["stable"], bool)
        trained_on = db.training_sets.find()[0]
        train_side = {m["configuration_id"] for m in trained_on["members"] if m["split"] == "train"}
        reference = db.phonons.find(where={"state": "complete"})[0]
        expected = bool(train_side & set(reference["configuration_ids"]))
        assert {run["reference_in_training"] for run in runs} == {expected}
        tree = tree_of(db.database, "phonon_benchmarks", runs[0]["benchmark_id"])
        assert "phonon-diamond-01" in tree.tasks()
        assert "isolated-atom" in tree.tasks()


def test_the_path_rmse_is_the_published_formula(finished: Any) -> None:
    """George et al., J. Chem. Phys. 153, 044104 (2020): bands sorted at each q, mean over bands and points."""
    reference = finished.docs("phonons", state="complete")[0]
    for run in finished.docs("phonon_benchmarks"):
        dft = np.vstack([segment["frequencies"] for segment in reference["path"]["segments"]])
        mlip = np.vstack([segment["frequencies"] for segment in run["band_structure"]["segments"]])
        direct = math.sqrt(np.mean((np.sort(mlip, axis=1) - np.sort(dft, axis=1)) ** 2))
        assert run["path"]["rmse"] == pytest.approx(direct, abs=1e-10)
        same = [
            np.array_equal(a["qpoints"], b["qpoints"])
            for a, b in zip(reference["path"]["segments"], run["band_structure"]["segments"], strict=True)
        ]
        assert all(same)


def test_a_potential_against_itself_is_exactly_zero(finished: Any) -> None:
    from mlipdb.benchmarks.phonons import PhononBenchmark, PhononReference
    from mlipdb.derive.phonon_benchmarks import reference_of
    from mlipdb.physics.phonons import phonons_from_forces
    from mlipdb.schemas.phonon import Phonon
    from mlipdb.schemas.phonon_protocol import PhononProtocol

    raw = finished.docs("phonons", state="complete")[0]
    dft = reference_of(Phonon.model_validate(raw))
    protocol = PhononProtocol.model_validate(raw["protocol"])
    with MlipDB(finished.directory) as db:
        calculator = db.calculator(db.potentials.find("n_sparse=20")[0]["potential_id"])

        def forces(atoms: Any) -> Any:
            atoms = atoms.copy()
            atoms.calc = calculator
            return atoms.get_forces()

        first = PhononBenchmark().run(calculator, dft, protocol)
        assert first.phonons is not None
        relaxed = first.phonons.unitcell
        own = phonons_from_forces(relaxed, dft.supercell_matrix, forces, protocol)
        result = PhononBenchmark().run(calculator, PhononReference.from_result(own), protocol)
    assert result.status == "complete"
    assert result.mesh_errors is not None
    assert result.path_errors is not None
    for errors in (result.mesh_errors, result.path_errors):
        assert (errors.rmse, errors.mae, errors.bias, errors.wasserstein_1) == (0.0, 0.0, 0.0, 0.0)


def test_everything_checks(finished: Any) -> None:
    report = check_database(finished.database)
    assert report.problems == []
    assert report.documents > 20
    assert report.artifacts >= 6
    assert report.unused_artifacts == []


def test_the_same_inputs_give_the_same_keys(finished: Any) -> None:
    keys = [
        sorted(doc[key] for doc in finished.docs(name))
        for name, key in (
            ("configurations", "configuration_id"),
            ("phonons", "phonon_id"),
            ("training_sets", "training_set_id"),
            ("potentials", "potential_id"),
            ("phonon_benchmarks", "benchmark_id"),
        )
    ]
    for name in ("configurations", "phonons", "training_sets", "potentials", "phonon_benchmarks", "build_runs"):
        finished.database.collection(name).delete_many({})
    # Another order of arrival makes no difference.
    finished.database.collection("tasks").delete_many({})
    finished.database.collection("materials").delete_many({})
    finished.add(["relax-4h", "phonon-4h-01", *reversed(finished.diamond)])
    finished.build()
    again = [
        sorted(doc[key] for doc in finished.docs(name))
        for name, key in (
            ("configurations", "configuration_id"),
            ("phonons", "phonon_id"),
            ("training_sets", "training_set_id"),
            ("potentials", "potential_id"),
            ("phonon_benchmarks", "benchmark_id"),
        )
    ]
    assert again == keys


def test_a_fit_that_times_out_and_a_potential_that_is_damaged(finished: Any) -> None:
    bench = finished
    bench.settle(
        bench.recipe
        + bench.small_fit.replace("[10]", "[10, 30]").replace("train_errors", "timeout: 0.01\n    train_errors")
    )
    report = bench.build("potentials")["potentials"]
    assert (report.built, report.failed) == (0, 1)
    (failed,) = bench.docs("potentials", state="failed")
    assert failed["failure"]["reason"] == "fit_timeout"
    assert failed["hyperparameters"]["soap"]["n_sparse"] == 30
    # A 0-byte potential: the benchmark fails in one sentence, the other potential's goes on.
    victim = bench.docs("potentials", n_sparse=10)[0]
    xml = next(ref for ref in victim["files"] if ref["name"] == victim["main_file"])
    entry = bench.database.db["artifacts.files"].find_one({"metadata.sha256": xml["sha256"]})
    bench.database.db["artifacts.chunks"].update_many({"files_id": entry["_id"]}, {"$set": {"data": b""}})
    bench.database.collection("phonon_benchmarks").delete_many({})
    report = bench.build("phonon_benchmarks")["phonon_benchmarks"]
    assert (report.built, report.failed) == (1, 1)
    (broken,) = bench.docs("phonon_benchmarks", state="failed")
    assert broken["failure"]["reason"] == "artifact_damaged"
    assert broken["potential_id"] == victim["potential_id"]


def test_bad_tasks_and_recipes_are_counted_and_everything_else_goes_on(bench: Any) -> None:
    bench.settle(
        "training_sets:\n  full: {}\n  nothing: {query: {formula: Unobtainium}}\n  unknown: {materials: [kryptonite]}\n"
    )
    nan = bench.record("rattled-diamond-05")
    nan["forces"][3][1] = math.nan
    bench.add(
        [
            *bench.diamond,
            bench.record("rattled-diamond-06", forces=None),
            nan,
            bench.record("rattled-diamond-07", converged=False),
        ]
    )
    reports = bench.build("materials", "configurations", "phonons", "training_sets")
    reasons = sorted(doc["failure"]["reason"] for doc in bench.docs("configurations", state="failed"))
    assert reasons == ["no_forces", "not_finite"]
    assert reports["configurations"].built == 9
    (held_back,) = bench.docs("configurations", **{"quality.reason": "unconverged"})
    (training_set,) = bench.docs("training_sets", state="complete")
    assert held_back["configuration_id"] not in training_set["configuration_ids"]
    assert training_set["left_out"] == {"unconverged": 1}
    failures = {doc["name"]: doc["failure"] for doc in bench.docs("training_sets", state="failed")}
    assert {name: failure["reason"] for name, failure in failures.items()} == {
        "nothing": "empty_selection",
        "unknown": "unknown_material",
    }
    assert "there are diamond" in failures["unknown"]["message"]
    assert reports["training_sets"].built == 1
    # The mended task takes the failure's place.
    bench.add(["rattled-diamond-06"])
    bench.build("configurations")
    assert len(bench.docs("configurations", state="failed")) == 1


def test_two_levels_of_theory_never_mix(bench: Any) -> None:
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", functional="PBEsol")])
    reports = bench.build("materials", "configurations", "training_sets")
    assert (reports["training_sets"].built, reports["training_sets"].failed) == (0, 1)
    failure = bench.docs("training_sets")[0]["failure"]
    assert failure["reason"] == "mixed_levels"
    assert "PBEsol" in failure["message"]
    assert "set its `level`" in failure["message"]
    level = bench.docs("configurations", config_type="bulk")[0]["level_id"]
    bench.settle(f"training_sets:\n  full: {{level: {level}}}\n")
    assert bench.build("training_sets")["training_sets"].built == 1
    (document,) = bench.docs("training_sets")
    assert document["level_id"] == level
    assert "PBEsol" not in document["level_label"]


def test_one_calculation_under_two_names_is_one_configuration(bench: Any) -> None:
    bench.add([*bench.diamond, bench.record("rattled-diamond-00", task_id="the-same-again")])
    bench.build("materials", "configurations")
    (joined,) = bench.docs("configurations", task_ids="the-same-again")
    assert joined["task_ids"] == ["rattled-diamond-00", "the-same-again"]
    bench.database.collection("tasks").delete_one({"task_id": "rattled-diamond-00"})
    bench.build("configurations")
    assert bench.docs("configurations", task_ids="the-same-again")[0]["state"] == "complete"


def test_benchmarks_of_a_replaced_reference_are_withdrawn(finished: Any) -> None:
    before = {doc["benchmark_id"] for doc in finished.docs("phonon_benchmarks")}
    finished.settle(
        finished.recipe
        + finished.small_fit.replace("[10]", "[10, 20]").replace("mesh_length: 20.0", "mesh_length: 25.0")
    )
    reports = finished.build("phonons", "phonon_benchmarks")
    assert (reports["phonon_benchmarks"].built, reports["phonon_benchmarks"].withdrawn) == (2, 2)
    states = {doc["benchmark_id"]: doc["state"] for doc in finished.docs("phonon_benchmarks")}
    assert {key for key, state in states.items() if state == "withdrawn"} == before
    assert len(finished.docs("phonons", state="complete")) == 1


def alloyed(record: dict[str, Any], task_id: str, every: int = 2) -> dict[str, Any]:
    """A record with every second (or every) silicon atom made germanium; its labels stand for an alloy's."""
    for site in record["structure"]["sites"][::every]:
        site["species"] = [{"element": "Ge", "occu": 1}]
        site["label"] = "Ge"
    elements = {site["species"][0]["element"] for site in record["structure"]["sites"]}
    pseudopotentials = {element: f"{element}.UPF" for element in sorted(elements)}
    kept = {key: value for key, value in record.items() if key not in ("allotrope", "pseudopotential")}
    return kept | {"task_id": task_id, "pseudopotentials": pseudopotentials}


def test_a_compound_trains_with_its_elements_and_their_atoms(bench: Any) -> None:
    plain = [bench.record(name, pseudopotential=None, pseudopotentials={"Si": "Si.UPF"}) for name in bench.diamond]
    germanium = alloyed(bench.record("isolated-atom", energy=-90.0), "germanium-atom", every=1)
    alloys = [alloyed(bench.record(name), f"alloy-{name}") for name in bench.diamond[3:]]
    bench.add([*plain, germanium, *alloys])
    reports = bench.build("materials", "configurations", "training_sets")
    assert (reports["training_sets"].built, reports["training_sets"].failed) == (1, 0)
    (document,) = bench.docs("training_sets")
    assert document["elements"] == ["Ge", "Si"]
    assert document["isolated_atom_energies"]["Ge"] == -90.0
    assert check_database(bench.database).problems == []
    # Another pseudopotential for one element is another level, which never mixes.
    other = alloyed(bench.record("rattled-diamond-05"), "other") | {
        "pseudopotentials": {"Ge": "Ge-d.UPF", "Si": "Si.UPF"}
    }
    bench.add([other])
    assert bench.build("configurations", "training_sets")["training_sets"].failed == 1
    assert bench.docs("training_sets", state="failed")[0]["failure"]["reason"] == "mixed_levels"
