"""What several tasks of one configuration say, and what is left of it when they change."""

from __future__ import annotations

from typing import Any

import pytest

from mlipdb.checking import check_database

Raw = dict[str, Any]
A, B = "rattled-diamond-05", "the-same-again"


def states(bench: Any) -> dict[str, tuple[str, list[str]]]:
    docs = bench.docs("configurations")
    return {doc["configuration_id"]: (doc["state"], doc["task_ids"]) for doc in docs}


def test_a_withdrawn_configuration_comes_back_with_its_new_task_alone(bench: Any) -> None:
    bench.add([A])
    bench.build("materials", "configurations")
    ((old, _),) = states(bench).items()
    bench.add([bench.record(A, energy=bench.record(A)["energy"] - 1.0)])
    bench.build("materials", "configurations")
    assert states(bench)[old] == ("withdrawn", [A])
    bench.add([bench.record(A, task_id=B)])
    bench.build("materials", "configurations")
    found = states(bench)
    assert found.pop(old) == ("complete", [B])
    assert list(found.values()) == [("complete", [A])]
    assert [source["task_id"] for source in bench.docs("configurations", task_ids=B)[0]["sources"]] == [B]
    assert check_database(bench.database).problems == []
    assert bench.build("materials", "configurations")["configurations"].built == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_stated_kind_before_one_from_geometry_whichever_came_first(bench: Any, order: tuple[int, int]) -> None:
    name = "phonon-diamond-01"
    # By name the first one says nothing, so that geometry has to.
    records = (bench.record(name, task_id="a", calc_type=None), bench.record(name, task_id="b", calc_type="md"))
    bench.add(["relax-diamond"])
    for place in order:
        bench.add([records[place]])
        bench.build("materials", "configurations")
    (doc,) = bench.docs("configurations", task_ids="b")
    assert doc["task_ids"] == ["a", "b"]
    assert (doc["config_type"], doc["config_type_from"]) == ("molecular_dynamics", "metadata")
    assert "displacement" not in doc
    assert bench.build("materials", "configurations")["configurations"].built == 0
    # The kind goes with its task.
    bench.database.collection("tasks").delete_one({"task_id": "b"})
    bench.database.touch("tasks")
    bench.build("materials", "configurations")
    (doc,) = bench.docs("configurations", task_ids="a")
    assert (doc["config_type"], doc["config_type_from"]) == ("single_displacement", "geometry")
    assert doc["displacement"]["distance"] > 0.005


def test_of_two_stated_kinds_that_of_the_first_task(bench: Any) -> None:
    for task_id, kind in (("a", "md"), ("b", "rattled")):
        bench.add([bench.record(A, task_id=task_id, calc_type=kind)])
        bench.build("configurations")
    (doc,) = bench.docs("configurations")
    assert doc["config_type"] == "molecular_dynamics"
    bench.add([bench.record(A, task_id="a", calc_type="md", energy=bench.record(A)["energy"] - 1.0)])
    bench.build("configurations")
    assert [doc["config_type"] for doc in bench.docs("configurations", task_ids="b")] == ["rattled"]
