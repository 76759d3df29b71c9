from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from mlipdb.errors import NotFoundError, UsageError
from mlipdb.query import check_field, field_names, parse_conditions, parse_sort, pick
from mlipdb.stores import COLLECTIONS, Database


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n_sparse=100", {"n_sparse": {"$eq": 100}}),
        ("n_sparse >= 100", {"n_sparse": {"$gte": 100}}),
        ("n_sparse<=100", {"n_sparse": {"$lte": 100}}),
        ("n_sparse>100", {"n_sparse": {"$gt": 100}}),
        ("n_sparse<100", {"n_sparse": {"$lt": 100}}),
        ("framework!=gap", {"framework": {"$ne": "gap"}}),
        ("delta=1e-3", {"delta": {"$eq": 0.001}}),
        ('framework="100"', {"framework": {"$eq": "100"}}),
        ("framework=", {"framework": {"$eq": ""}}),
        ("framework=a=b", {"framework": {"$eq": "a=b"}}),
        ("n_sparse=[1, 2]", {"n_sparse": {"$in": [1, 2]}}),
        ("n_sparse!=[1, 2]", {"n_sparse": {"$nin": [1, 2]}}),
        ("framework=5", {"framework": {"$eq": "5"}}),
        ("framework=1.50", {"framework": {"$eq": "1.50"}}),
        ("framework=true", {"framework": {"$eq": "true"}}),
        ('framework={"a": 1}', {"framework": {"$eq": '{"a": 1}'}}),
        ('framework=[5, "a", true, 1.50]', {"framework": {"$in": ["5", "a", "true", "1.50"]}}),
        ("framework=null", {"framework": {"$eq": None}}),
        ("framework=nan", {"framework": {"$eq": "nan"}}),
        ("state=3", {"state": {"$eq": "3"}}),
        ("elements=1", {"elements": {"$eq": "1"}}),
        ("hyperparameters.soap.n_max=8", {"hyperparameters.soap.n_max": {"$eq": 8}}),
        ("hyperparameters.name=x", {"hyperparameters.name": {"$eq": "x"}}),
        ("delta=null", {"delta": {"$eq": None}}),
        ("framework=~^ga", {"framework": {"$regex": "^ga"}}),
        ("framework=~[ab]", {"framework": {"$regex": "[ab]"}}),
        ('framework=~["a"]', {"framework": {"$regex": '["a"]'}}),
        ("framework=~true", {"framework": {"$regex": "true"}}),
        ("framework=~12", {"framework": {"$regex": "12"}}),
        ("errors.test.overall.force_rmse<0.1", {"errors.test.overall.force_rmse": {"$lt": 0.1}}),
        ("files.0.name=gap.xml", {"files.0.name": {"$eq": "gap.xml"}}),
        ('{"n_sparse": {"$gt": 5}}', {"n_sparse": {"$gt": 5}}),
    ],
)
def test_conditions(text: str, expected: dict[str, Any]) -> None:
    assert parse_conditions("potentials", [text]) == expected


def test_conditions_must_all_hold() -> None:
    assert parse_conditions("potentials", []) == {}
    assert parse_conditions("potentials", ["delta=1", "delta<2"]) == {
        "$and": [{"delta": {"$eq": 1}}, {"delta": {"$lt": 2}}]
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_sparse", "is no condition; write field=value"),
        ("=3", "is no condition"),
        ("", "is no condition"),
        ("n sparse=3", "is no condition"),
        ("n_spars=3", "potentials have no field 'n_spars'; did you mean n_sparse"),
        ("xyz=3", "there are "),
        ("fit.wall_time=3", "did you mean fit.wall_time_s"),
        ("n_sparse=many", "n_sparse is a number, and 'many' is none; write a number"),
        ('n_sparse="3"', "is a number"),
        ("n_sparse=true", "is a number"),
        ("n_sparse=[1, true]", "is a number"),
        ("fit.wall_time_s<low", "fit.wall_time_s is a number"),
        ("framework=~[", "'[' is no regular expression"),
        ("{n_sparse: 3}", "is no JSON"),
    ],
)
def test_wrong_conditions(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_conditions("potentials", [text])
    assert words in str(caught.value)


def test_sort() -> None:
    assert parse_sort("phonon_benchmarks", ["-mesh.rmse", "n_sparse"]) == [("mesh.rmse", -1), ("n_sparse", 1)]
    with pytest.raises(UsageError, match=r"did you mean mesh\.rmse"):
        parse_sort("phonon_benchmarks", ["-mesh.rmsd"])


def test_fields() -> None:
    for name, item in COLLECTIONS.items():
        assert item.key in field_names(name)
        for column in item.columns:
            check_field(name, column)
    check_field("potentials", "hyperparameters.soap.n_max")
    with pytest.raises(NotFoundError):
        check_field("potential", "n_sparse")


def test_pick() -> None:
    document = {"a": {"b": [{"c": 3}]}, "n": None}
    assert pick(document, "a.b.0.c") == 3
    assert [pick(document, path) for path in ("a.x", "a.b.1", "a.b.c", "n.x", "z")] == [None] * 5


def test_operators_do_what_they_say(database: Database) -> None:
    for number in range(5):
        database.replace("potentials", {"potential_id": f"p{number}", "n_sparse": number, "framework": f"gap{number}"})

    def matches(text: str) -> list[int]:
        found = database.collection("potentials").find(parse_conditions("potentials", [text]))
        return sorted(doc["n_sparse"] for doc in found)

    assert matches("n_sparse>=3") == [3, 4]
    assert matches("n_sparse<1") == [0]
    assert matches("n_sparse!=[0,1,2]") == [3, 4]
    assert matches("framework=~[12]$") == [1, 2]
    assert matches("n_sparse=null") == []


def test_dates_are_compared_as_dates() -> None:
    found = parse_conditions("tasks", ["last_updated>2026-01-31"])
    assert found == {"last_updated": {"$gt": datetime(2026, 1, 31)}}  # noqa: DTZ001 - as MongoDB gives it back
    zoned = parse_conditions("build_runs", ["started<=2026-01-31T12:00:00+02:00"])
    assert zoned == {"started": {"$lte": datetime(2026, 1, 31, 10)}}  # noqa: DTZ001
    assert parse_conditions("tasks", ["task_id=2026-01-31"]) == {"task_id": {"$eq": "2026-01-31"}}
    with pytest.raises(UsageError, match="last_updated is a date, and 'yesterday' is none; write 2026-01-31"):
        parse_conditions("tasks", ["last_updated>yesterday"])


def test_truth_is_compared_as_truth() -> None:
    assert parse_conditions("levels_of_theory", ["spin_polarised=true"]) == {"spin_polarised": {"$eq": True}}
    for wrong in ("1", "yes", "True"):
        with pytest.raises(UsageError, match=f"spin_polarised is true or false, and '{wrong}' is none"):
            parse_conditions("levels_of_theory", [f"spin_polarised={wrong}"])


def test_ids_of_digits_are_found(database: Database) -> None:
    database.replace("tasks", {"task_id": "5", "state": "complete"})
    query = parse_conditions("tasks", ["task_id=5"])
    assert database.collection("tasks").count_documents(query) == 1
