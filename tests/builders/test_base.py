"""Rules every builder keeps; the defects of maggma's own builders, one by one, are not inherited."""

from __future__ import annotations

import logging
import tracemalloc
from typing import Any

import pytest

from mlipdb.builders import BUILDERS, builder_class
from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.items import WorkItem, run_item
from mlipdb.builders.potentials import PotentialsBuilder
from mlipdb.builders.training_sets import TrainingSetsBuilder
from mlipdb.checking import check_database
from mlipdb.errors import FitError
from mlipdb.runner import exit_code, plan_builders

LIGHT = ("materials", "configurations", "phonons", "training_sets")


def built(reports: dict[str, Any]) -> dict[str, int]:
    return {name: report.built for name, report in reports.items() if report.built}


def test_a_second_run_does_nothing(bench: Any) -> None:
    bench.add(bench.diamond)
    first = bench.build(*LIGHT)
    assert built(first) == {"materials": 1, "configurations": 8, "phonons": 1, "training_sets": 1}
    assert built(bench.build(*LIGHT)) == {}
    assert exit_code(list(bench.build(*LIGHT).values())) == 0


def test_a_run_with_nothing_to_do_also_finds_nothing_by_content(bench: Any) -> None:
    """Watermarks are a short cut; without them the same answer comes from the hashes."""
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    bench.database.collection("build_runs").delete_many({})
    assert built(bench.build(*LIGHT)) == {}


def test_one_new_task_rebuilds_only_what_depends_on_it(bench: Any) -> None:
    bench.add([*bench.diamond, "relax-bc8", "phonon-bc8-00", "phonon-bc8-01", "phonon-bc8-02"])
    bench.settle("training_sets:\n  diamond: {materials: [diamond]}\n  bc8: {materials: [bc8]}\n")
    bench.build(*LIGHT)
    before = {doc["phonon_id"]: doc for doc in bench.docs("phonons")}
    bench.add(["rattled-bc8-00"])
    assert built(bench.build(*LIGHT)) == {"configurations": 1, "training_sets": 1}
    assert {doc["phonon_id"]: doc for doc in bench.docs("phonons")} == before
    names = sorted((doc["name"], doc["current"]) for doc in bench.docs("training_sets"))
    assert names == [("bc8", False), ("bc8", True), ("diamond", True)]


def test_a_changed_recipe_makes_a_new_document_beside_the_old(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    (old,) = bench.docs("training_sets")
    bench.settle("training_sets:\n  full: {split: {test_fraction: 0.4, seed: 1}}\n")
    assert built(bench.build(*LIGHT)) == {"training_sets": 1}
    kept = bench.database.collection("training_sets").find_one({"training_set_id": old["training_set_id"]}, {"_id": 0})
    assert kept.pop("current") is False
    assert {key: value for key, value in old.items() if key not in ("current", "last_updated")} == {
        key: value for key, value in kept.items() if key != "last_updated"
    }
    bench.settle(bench.recipe)
    bench.build(*LIGHT)
    current = bench.docs("training_sets", current=True)
    assert [doc["training_set_id"] for doc in current] == [old["training_set_id"]]


def test_defect_1_an_updated_member_rebuilds_its_group_and_leaves_no_second_one(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    (before,) = bench.docs("phonons")
    record = bench.record("phonon-diamond-01")
    record["forces"] = [[1.1 * x for x in row] for row in record["forces"]]
    # An older date than the target's must make no difference: content decides.
    bench.add([record])
    bench.database.collection("tasks").update_one(
        {"task_id": "phonon-diamond-01"}, {"$set": {"last_updated": before["last_updated"].replace(year=2000)}}
    )
    reports = bench.build(*LIGHT)
    assert reports["phonons"].built == 1
    (after,) = bench.docs("phonons")
    assert after["phonon_id"] == before["phonon_id"]
    # Frequencies go with the square root of the forces.
    assert after["max_frequency"] == pytest.approx(before["max_frequency"] * 1.1**0.5, rel=1e-3)
    states = sorted(doc["state"] for doc in bench.docs("configurations", task_ids="phonon-diamond-01"))
    assert states == ["complete", "withdrawn"]


def fail(_: Any) -> None:
    raise FitError("gap_fit was told to fail; let it be", reason="told_to", log_tail="the last line")


def test_defect_2_a_failed_rebuild_keeps_the_good_document_and_is_tried_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    (good,) = bench.docs("training_sets")
    real = TrainingSetsBuilder.build
    monkeypatch.setattr(TrainingSetsBuilder, "version", "next")
    monkeypatch.setattr(TrainingSetsBuilder, "build", staticmethod(fail))
    # The key of a training set is known only from its content, so the failure stands beside it ...
    report = bench.build("training_sets")["training_sets"]
    assert (report.built, report.failed, exit_code([report])) == (0, 1, 1)
    assert report.failures[0]["reason"] == "told_to"
    kept = bench.database.collection("training_sets").find_one({"training_set_id": good["training_set_id"]}, {"_id": 0})
    assert kept["state"] == "complete"
    assert kept["members"] == good["members"]
    (failed,) = bench.docs("training_sets", state="failed")
    assert failed["failure"]["log_tail"] == "the last line"
    assert "FitError" in failed["failure"]["traceback"]
    # ... is not tried again by itself, is tried again when asked, and counts its attempts ...
    assert bench.build("training_sets")["training_sets"].failed == 0
    assert bench.build("training_sets", retry_failed=True)["training_sets"].failed == 1
    assert bench.docs("training_sets", state="failed")[0]["failure"]["attempts"] == 2
    # ... and is forgotten when the retry goes well.
    monkeypatch.setattr(TrainingSetsBuilder, "build", staticmethod(real))
    assert bench.build("training_sets", retry_failed=True)["training_sets"].built == 1
    assert bench.docs("training_sets", state="failed") == []


def test_defect_2_with_a_known_key_the_good_document_notes_the_failure(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settle(bench.recipe + bench.small_fit)
    bench.add(bench.diamond)
    bench.build(*LIGHT, "potentials")
    (good,) = bench.docs("potentials")
    monkeypatch.setattr(PotentialsBuilder, "version", "next")
    monkeypatch.setattr(PotentialsBuilder, "heavy", False)
    monkeypatch.setattr(PotentialsBuilder, "build", staticmethod(fail))
    assert bench.build("potentials")["potentials"].failed == 1
    (kept,) = bench.docs("potentials")
    failure = kept.pop("rebuild_failure")
    assert failure["reason"] == "told_to"
    assert kept == good


def test_defect_3_an_empty_or_wrong_source_empties_nothing(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    before = bench.docs("configurations")
    bench.database.collection("tasks").delete_many({})
    report = bench.build("configurations")["configurations"]
    assert (report.withdrawn, report.failed) == (0, 1)
    assert "mlipdb build --force" in report.failures[0]["message"]
    assert bench.docs("configurations") == before
    # The guard is met again by the next run, not forgotten.
    assert bench.build("configurations")["configurations"].failed == 1
    assert bench.build("configurations", force=True)["configurations"].withdrawn == 8
    assert {doc["state"] for doc in bench.docs("configurations")} == {"withdrawn"}


def test_defect_4_what_is_no_longer_selected_is_withdrawn_and_comes_back(bench: Any) -> None:
    bench.add([*bench.diamond, "relax-bc8", "phonon-bc8-01", "phonon-bc8-02"])
    bench.build(*LIGHT)
    gone = "phonon-diamond-01"
    bench.database.collection("tasks").delete_one({"task_id": gone})
    reports = bench.build(*LIGHT)
    assert reports["configurations"].withdrawn == 1
    assert reports["phonons"].withdrawn == 1
    (configuration,) = bench.docs("configurations", task_ids=gone)
    assert configuration["state"] == "withdrawn"
    assert configuration["forces"], "a withdrawn document keeps its content for what was made from it"
    current = bench.docs("training_sets", current=True)[0]
    assert configuration["configuration_id"] not in current["configuration_ids"]
    bench.add([gone])
    reports = bench.build(*LIGHT)
    assert reports["configurations"].built == 1
    assert reports["phonons"].built == 1
    assert bench.docs("configurations", task_ids=gone)[0]["state"] == "complete"


def test_defect_6_the_list_of_work_holds_no_documents(bench: Any) -> None:
    """Memory of a run goes with the stale items, and a run with nothing new asks for a handful of documents."""
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    big = {"raw": {**bench.record("relax-diamond"), "padding": "x" * 1_000_000}, "state": "complete"}
    tasks = bench.database.collection("tasks")
    source = {"format": "flat", "path": "-"}
    for number in range(60):
        tasks.insert_one({**big, "task_id": f"big-{number}", "content_hash": str(number), "source": source})
    builder = builder_class("configurations")(project=str(bench.directory))
    builder.attach(bench.database, bench.project)
    tracemalloc.start()
    stale = builder.stale_items()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(stale) == 60
    assert peak < 10_000_000, "60 MB of documents must not be in memory to know that they are new"


def test_defect_7_a_changed_builder_version_rebuilds(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    for name in LIGHT[1:]:
        monkeypatch.setattr(builder_class(name), "version", "next")
    assert built(bench.build(*LIGHT)) == {"configurations": 8, "phonons": 1, "training_sets": 1}
    assert {doc["builder_meta"]["builder_version"] for doc in bench.docs("phonons")} == {"next"}


def test_defect_10_the_root_logger_is_left_alone(bench: Any) -> None:
    bench.add(bench.diamond)
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    builder = builder_class("materials")(project=str(bench.directory))
    builder.run()
    assert (root.level, list(root.handlers)) == before
    assert len(bench.docs("materials")) == 1


def test_a_builder_runs_by_itself_and_through_its_serialised_form(bench: Any) -> None:
    bench.add(bench.diamond)
    for name in LIGHT[:2]:
        original = builder_class(name)(project=str(bench.directory))
        again = type(original).from_dict(original.as_dict())
        assert again.project == str(bench.directory)
        again.run()
    assert len(bench.docs("configurations", state="complete")) == 8


def test_a_dry_run_writes_nothing(bench: Any) -> None:
    bench.add(bench.diamond)
    reports = plan_builders(bench.project, bench.database, ["configurations"])
    assert len(reports[0].planned) == 8
    assert bench.docs("configurations") == []
    assert bench.docs("build_runs") == []


def test_what_people_added_by_hand_survives_a_rebuild(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    mine = {"visibility": "public", "license": "CC-BY-4.0", "references": ["doi:10.1063/5.0013826"]}
    bench.database.collection("phonons").update_one({}, {"$set": mine})
    monkeypatch.setattr(builder_class("phonons"), "version", "next")
    assert bench.build("phonons")["phonons"].built == 1
    (document,) = bench.docs("phonons")
    assert {key: document[key] for key in mine} == mine


@pytest.mark.parametrize("name", list(BUILDERS))
def test_every_builder_is_complete(name: str) -> None:
    cls = builder_class(name)
    assert issubclass(cls, DocumentBuilder)
    assert cls.name == name == cls.target_name
    assert cls.version
    assert cls.__doc__


def test_an_unexpected_error_in_one_item_is_a_failure_of_that_item() -> None:
    def divide(inputs: dict[str, Any]) -> None:
        raise ZeroDivisionError(f"cannot divide {inputs['x']}")

    item = {"label": "x", "inputs_hash": "0", "key": None, "skeleton": {}, "inputs": {"x": 1}}
    result = run_item(divide, item)
    assert "inputs" not in result
    assert result["failure"]["reason"] == "unexpected"
    assert result["failure"]["message"] == "ZeroDivisionError: cannot divide 1"
    assert "divide" in result["failure"]["traceback"]


def test_work_items_are_plain() -> None:
    item = WorkItem("label", "hash", {"a": 1})
    assert (item.key, item.skeleton, item.supersedes) == (None, {}, {})


def test_inputs_that_cannot_be_read_are_a_failure_of_their_item(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add(bench.diamond)
    bench.build("materials")
    cls = builder_class("configurations")
    real = cls.fetch

    def fetch(self: Any, item: WorkItem) -> dict[str, Any]:
        if item.plan["source"]["task_id"] == "rattled-diamond-00":
            raise AssertionError("a cell that ASE does not like")
        return real(self, item)

    monkeypatch.setattr(cls, "fetch", fetch)
    report = bench.build("configurations")["configurations"]
    assert (report.built, report.failed) == (7, 1)
    assert report.failures[0]["reason"] == "unexpected"


def test_a_removal_while_building_is_noticed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    removed: list[str] = []
    cls = builder_class("configurations")
    real = cls.finalize

    def finalize(self: Any) -> None:
        """Somebody removes a configuration while this run comes to its end."""
        if not removed:
            removed.append(bench.docs("configurations", config_type="bulk")[0]["configuration_id"])
            bench.database.collection("configurations").delete_one({"configuration_id": removed[0]})
            bench.database.touch("configurations")
        real(self)

    monkeypatch.setattr(cls, "finalize", finalize)
    bench.add(["rattled-diamond-05"])
    bench.build(*LIGHT)
    assert removed
    assert bench.build("configurations")["configurations"].built == 1
    assert len(bench.docs("configurations", configuration_id=removed[0])) == 1


def test_a_duplicate_that_goes_leaves_no_dead_parent(bench: Any) -> None:
    bench.add([*bench.diamond, bench.record("phonon-diamond-01", task_id="again")])
    bench.build(*LIGHT)
    assert bench.docs("phonons")[0]["task_ids"] == ["again", "phonon-diamond-01"]
    bench.database.collection("tasks").delete_one({"task_id": "phonon-diamond-01"})
    bench.build(*LIGHT)
    assert bench.docs("configurations", config_type="single_displacement")[0]["task_ids"] == ["again"]
    assert bench.docs("phonons")[0]["task_ids"] == ["again"]
    assert check_database(bench.database).problems == []


def test_a_task_that_becomes_unusable_leaves_its_configuration(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    bench.add([bench.record("phonon-diamond-01", forces=None)])
    reports = bench.build(*LIGHT)
    assert reports["configurations"].failed == 1
    states = sorted(doc["state"] for doc in bench.docs("configurations", task_ids="phonon-diamond-01"))
    assert states == ["failed", "withdrawn"]
    assert reports["phonons"].withdrawn == 1


def test_a_task_that_becomes_doubtful_leaves_its_phonons(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    bench.add([bench.record("phonon-diamond-01", converged=False)])
    reports = bench.build(*LIGHT)
    assert reports["configurations"].failed == 0
    (document,) = bench.docs("configurations", task_ids="phonon-diamond-01")
    assert [entry["reason"] for entry in document["quality"]] == ["unconverged"]
    assert [doc["state"] for doc in bench.docs("phonons")] != ["complete"]


def test_materials_go_with_their_tasks_and_come_back(bench: Any) -> None:
    bench.add([*bench.diamond, "relax-bc8"])
    bench.build(*LIGHT)
    bench.database.collection("tasks").delete_one({"task_id": "relax-bc8"})
    assert bench.build("materials")["materials"].withdrawn == 1
    assert [doc["state"] for doc in bench.docs("materials", names="bc8")] == ["withdrawn"]
    bench.add(["relax-bc8"])
    bench.build(*LIGHT)
    assert [doc["state"] for doc in bench.docs("materials", names="bc8")] == ["complete"]
    assert check_database(bench.database).problems == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_least_stressed_cell_is_the_reference_whichever_came_first(bench: Any, order: tuple[int, int]) -> None:
    strained = bench.record("relax-diamond", task_id="strained", stress=[-0.05, -0.05, -0.05, 0.0, 0.0, 0.0])
    matrix = strained["structure"]["lattice"]["matrix"]
    strained["structure"]["lattice"]["matrix"] = [[0.98 * x for x in row] for row in matrix]
    records = (bench.record("relax-diamond"), strained)
    for place in order:
        bench.add([records[place]])
        bench.build("materials", "configurations")
    (material,) = bench.docs("materials")
    assert material["reference_task_id"] == "relax-diamond"
    assert material["task_ids"] == ["relax-diamond", "strained"]
    ratios = {doc["task_ids"][0]: doc["volume_ratio"] for doc in bench.docs("configurations")}
    assert ratios == {"relax-diamond": pytest.approx(1.0), "strained": pytest.approx(0.98**3, rel=1e-3)}


def test_a_member_that_changes_its_kind_makes_another_training_set(bench: Any) -> None:
    bench.settle("training_sets:\n  full: {config_types: [rattled, other]}\n")
    nameless = [bench.record(name, calc_type=None, allotrope=None) for name in bench.diamond[3:]]
    bench.add(["isolated-atom", *nameless])
    bench.build(*LIGHT)
    assert bench.docs("training_sets")[0]["train"]["by_config_type"]["other"] == 5
    bench.add(["relax-diamond"])
    bench.build(*LIGHT)
    (current,) = bench.docs("training_sets", current=True)
    assert "other" not in current["train"]["by_config_type"]


def test_a_wrong_query_or_name_is_the_failure_of_its_recipe_or_benchmark(bench: Any) -> None:
    bench.settle(
        "training_sets:\n  good: {}\n  bad: {query: {$foo: 1}}\n  misspelt: {query: {config_typ: bulk}}\n"
        "benchmarks:\n  phonons: {materials: [kryptonite]}\n"
    )
    bench.add(bench.diamond)
    reports = bench.build()
    assert (reports["training_sets"].built, reports["training_sets"].failed) == (1, 2)
    messages = {doc["name"]: doc["failure"]["message"] for doc in bench.docs("training_sets", state="failed")}
    assert "training set 'bad': its query cannot be asked" in messages["bad"]
    assert "did you mean config_type" in messages["misspelt"]
    assert reports["phonon_benchmarks"].failed == 1
    said = reports["phonon_benchmarks"].failures[0]["message"]
    assert said == "benchmarks.phonons.materials: no material is called 'kryptonite'; there are diamond"
