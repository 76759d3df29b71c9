"""Filters, projections and pipelines where other implementations answer wrongly."""

# ruff: noqa: DTZ001 - dates of BSON are naive, in UTC

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, Regex

DOCUMENTS: list[dict[str, Any]] = [
    {"_id": 0, "v": True},
    {"_id": 1, "v": 1},
    {"_id": 2, "v": [1, 5]},
    {"_id": 3, "v": {"x": 1, "y": 2}},
    {"_id": 4, "v": None},
    {"_id": 5},
    {"_id": 6, "v": []},
    {"_id": 7, "v": [{"x": 1}, {"y": 2}]},
    {"_id": 8, "v": math.nan},
    {"_id": 9, "v": Decimal128("1.0")},
    {"_id": 10, "v": 2**60},
    {"_id": 11, "v": "abc"},
    {"_id": 12, "v": -5.5},
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"v": 1}, [1, 2, 9]),
        ({"v": True}, [0]),
        ({"v": {"$in": [True, "abc"]}}, [0, 11]),
        ({"v": {"$ne": 1}}, [0, 3, 4, 5, 6, 7, 8, 10, 11, 12]),
        ({"v": {"y": 2, "x": 1}}, []),
        ({"v": {"x": 1, "y": 2}}, [3]),
        ({"v": None}, [4, 5]),
        ({"v": {"$gte": None}}, [4, 5]),
        ({"v.x": None}, [0, 1, 4, 5, 7, 8, 9, 10, 11, 12]),
        ({"v.x": {"$exists": False}}, [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12]),
        ({"v": {"$gt": 4, "$lt": 2}}, [2]),
        ({"v": {"$elemMatch": {"$gt": 4, "$lt": 2}}}, []),
        ({"v": {"$not": {"$gt": 4, "$lt": 2}}}, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ({"v": {"$lt": 0}}, [12]),
        ({"v": {"$gte": math.nan}}, [8]),
        ({"v": {"$size": 0}}, [6]),
        ({"v": {"$all": [1, 5]}}, [2]),
        ({"v": {"$type": "long"}}, [10]),
        ({"v": {"$type": ["null", "bool"]}}, [0, 4]),
        ({"v": {"$mod": [5, 1]}}, [1, 2, 9, 10]),
        ({"v": {"$mod": [5, 0]}}, [2, 12]),
        ({"v": {"$regex": "^A", "$options": "i"}}, [11]),
        ({"v": {"$in": [Regex("b")]}}, [11]),
        ({"$nor": [{"v": {"$exists": True}}]}, [5]),
        ({"$expr": {"$eq": ["$v", 1]}}, [1, 9]),
        ({"$expr": "$v"}, [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12]),
        (
            {"$jsonSchema": {"required": ["v"], "properties": {"v": {"bsonType": "string", "minLength": 3}}}},
            [11],
        ),
        ({"v": {"$gt": 1, "$lt": "z"}}, []),
    ],
)
def test_filters(run: Any, query: dict[str, Any], expected: list[int]) -> None:
    run(insert="c", documents=DOCUMENTS)
    reply = run(find="c", filter=query)
    assert [one["_id"] for one in reply["cursor"]["firstBatch"]] == expected
    assert run(count="c", query=query)["n"] == len(expected)


REFUSED: list[tuple[dict[str, Any], int]] = [
    ({"$where": "this.v == 1"}, 238),
    ({"$or": [{"$where": "1"}]}, 238),
    ({"$text": {"$search": "x"}}, 238),
    ({"v": {"$geoWithin": {}}}, 238),
    ({"v": {"$bitsAllSet": 1}}, 238),
    ({"v": {"$nosuch": 1}}, 2),
    ({"v": {"$gt": 1, "x": 2}}, 2),
    ({"$nosuch": 1}, 2),
    ({"$or": []}, 2),
    ({"v": {"$in": 1}}, 2),
    ({"v": {"$regex": "("}}, 2),
    ({"v": {"$type": "nosuch"}}, 2),
    ({"v": {"$mod": [0, 1]}}, 2),
    ({"v": {"$not": 1}}, 2),
    ({"$jsonSchema": {"patternProperties": {}}}, 238),
]


@pytest.mark.parametrize(("query", "code"), REFUSED)
def test_refusals_do_not_depend_on_documents(run: Any, query: dict[str, Any], code: int) -> None:
    run(create="empty")
    run(insert="c", documents=[{"v": 1}])
    for name in ("empty", "c", "none"):
        reply = run(find=name, filter=query)
        assert (reply["ok"], reply["code"]) == (0.0, code)


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        ({"a": 1}, {"_id": 1, "a": 1}),
        ({"a": 0, "l": 0}, {"_id": 1, "s": {"x": 1, "y": [{"z": 1}, {"w": 2}, 3]}}),
        ({"s.y.z": 1, "_id": 0}, {"s": {"y": [{"z": 1}, {}]}}),
        ({"s": {"x": 1}, "_id": 0}, {"s": {"x": 1}}),
        ({"s.y.z": 0, "a": 0, "l": 0}, {"_id": 1, "s": {"x": 1, "y": [{}, {"w": 2}, 3]}}),
        ({"l": {"$slice": [-2, 1]}, "s": 0}, {"_id": 1, "a": 1, "l": [2]}),
        ({"l": {"$elemMatch": {"$gt": 1}}}, {"_id": 1, "l": [2]}),
        ({"n": {"$size": "$l"}, "_id": 0}, {"n": 3}),
        ({"_id": 0, "none": 1}, {}),
    ],
)
def test_projections(run: Any, projection: dict[str, Any], expected: dict[str, Any]) -> None:
    run(
        insert="c",
        documents=[{"_id": 1, "a": 1, "l": [1, 2, 3], "s": {"x": 1, "y": [{"z": 1}, {"w": 2}, 3]}}],
    )
    [found] = run(find="c", projection=projection)["cursor"]["firstBatch"]
    assert bson.decode(found.raw) == expected


@pytest.mark.parametrize(
    "projection", [{"a": 1, "b": 0}, {"a": 1, "a.b": 1}, {"l.$": 1}, {"a": {"$meta": "textScore"}}]
)
def test_refused_projections(run: Any, projection: dict[str, Any]) -> None:
    run(insert="c", documents=[{"a": 1, "l": [1]}])
    assert run(find="c", projection=projection)["ok"] == 0.0


def aggregate(run: Any, *pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    reply = run(aggregate="c", pipeline=list(pipeline), cursor={})
    assert reply["ok"] == 1.0, reply
    return [bson.decode(one.raw) for one in reply["cursor"]["firstBatch"]]


def test_groups_keep_types_apart_and_count_missing_as_null(run: Any) -> None:
    run(insert="c", documents=[{"k": 1}, {"k": 1.0}, {"k": True}, {"k": None}, {}, {"k": [1]}])
    found = aggregate(run, {"$group": {"_id": "$k", "n": {"$sum": 1}}}, {"$sort": {"n": -1}})
    assert sorted((repr(one["_id"]), one["n"]) for one in found) == [
        ("1", 2),
        ("None", 2),
        ("True", 1),
        ("[1]", 1),
    ]


def test_accumulators(run: Any) -> None:
    run(insert="c", documents=[{"v": 3}, {"v": "x"}, {}, {"v": 1}, {"v": None}])
    names = ("$sum", "$avg", "$min", "$max", "$first", "$last", "$push", "$addToSet")
    stage = {"_id": None, **{name[1:]: {name: "$v"} for name in names}}
    [found] = aggregate(run, {"$group": stage})
    assert found == {
        "_id": None, "sum": 4, "avg": 2.0, "min": 1, "max": "x", "first": 3, "last": None,
        "push": [3, "x", 1, None], "addToSet": [3, "x", 1, None],
    }  # fmt: skip


def test_fireworks_dates(run: Any) -> None:
    dates = ["notadate", "2024-05-06T07:08:09.123456", None, 5]
    run(insert="c", documents=[{"_id": n, "d": date} for n, date in enumerate(dates)])
    stage = {"$set": {"d": {"$dateFromString": {"dateString": "$d", "onError": "$d"}}}}
    values = [one["d"] for one in aggregate(run, stage)]
    assert values == ["notadate", dt.datetime(2024, 5, 6, 7, 8, 9, 123000), None, 5]
    assert (
        run(aggregate="c", pipeline=[{"$set": {"d": {"$dateFromString": {"dateString": "$d"}}}}], cursor={})["ok"] == 0
    )


def test_facets_do_not_touch_each_other(run: Any) -> None:
    run(insert="c", documents=[{"_id": 1, "k": 1}])
    join = {"$lookup": {"from": "c", "localField": "k", "foreignField": "k", "as": "k"}}
    [found] = aggregate(run, {"$facet": {"a": [join], "b": [], "n": [{"$match": {"k": 7}}, {"$count": "n"}]}})
    assert found == {"a": [{"_id": 1, "k": [{"_id": 1, "k": 1}]}], "b": [{"_id": 1, "k": 1}], "n": []}


@pytest.mark.parametrize(
    "pipeline",
    [
        [{"$out": "x"}, {"$match": {}}],
        [{"$facet": {"a": [{"$out": "x"}]}}],
        [{"$lookup": {"from": "c", "as": "x", "pipeline": [{"$merge": "x"}]}}],
        [{"$nosuch": {}}],
        [{"$densify": {}}],
        [{"$limit": 0}],
        [{"$match": {"$where": "1"}}],
        [{"$group": {"_id": 1, "v": {"$accumulator": {}}}}],
        [{"$project": {"v": {"$function": {}}}}],
        [{}],
        {"$match": {}},
    ],
)
def test_refused_pipelines(run: Any, pipeline: Any) -> None:
    run(insert="c", documents=[{"v": 1}])
    assert run(aggregate="c", pipeline=pipeline, cursor={})["ok"] == 0.0


def test_merge_into_a_collection(run: Any) -> None:
    run(insert="c", documents=[{"_id": 1, "v": 1}, {"_id": 2, "v": 2}])
    run(insert="t", documents=[{"_id": 1, "keep": True}])
    for mode, expected in (
        ("keepExisting", [{"_id": 1, "keep": True}, {"_id": 2, "v": 2}]),
        ("merge", [{"_id": 1, "keep": True, "v": 1}, {"_id": 2, "v": 2}]),
        ("replace", [{"_id": 1, "v": 1}, {"_id": 2, "v": 2}]),
    ):
        assert run(aggregate="c", pipeline=[{"$merge": {"into": "t", "whenMatched": mode}}], cursor={})["ok"] == 1.0
        assert [bson.decode(one.raw) for one in run(find="t")["cursor"]["firstBatch"]] == expected
    failed = run(aggregate="c", pipeline=[{"$merge": {"into": "t", "whenMatched": "fail"}}], cursor={})
    assert failed["ok"] == 0.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"$inc": {"n": 1, "new": 2}}, {"n": 2, "new": 2}),
        ({"$mul": {"n": 3, "new": 2}}, {"n": 3, "new": 0}),
        ({"$inc": {"big": 1}}, {"big": Int64(2**40 + 1)}),
        ({"$min": {"n": "x"}, "$max": {"l": 0}}, {"n": 1}),
        ({"$max": {"n": "x"}}, {"n": "x"}),
        ({"$set": {"l.5": 9}}, {"l": [1, 2, 3, None, None, 9]}),
        ({"$unset": {"l.0": ""}}, {"l": [None, 2, 3]}),
        ({"$pull": {"l": {"$gte": 2}}}, {"l": [1]}),
        ({"$pull": {"o": {"k": 1}}}, {"o": [{"k": 2, "l": [3]}]}),
        ({"$pull": {"o.$[].l": 3}}, {"o": [{"k": 1, "l": [1]}, {"k": 2, "l": []}]}),
        (
            {"$push": {"o.1.l": {"$each": [5, 4], "$sort": -1, "$slice": 2}}},
            {"o": [{"k": 1, "l": [1]}, {"k": 2, "l": [5, 4]}]},
        ),
        ({"$addToSet": {"l": {"$each": [3, 3.0, True]}}}, {"l": [1, 2, 3, True]}),
        ({"$rename": {"n": "s.n"}}, {"n": None, "s": {"n": 1}}),
        ({"$bit": {"n": {"or": 6}}}, {"n": 7}),
        ([{"$set": {"n": {"$add": ["$n", 10]}}}], {"n": 11}),
    ],
)
def test_updates(run: Any, change: Any, expected: dict[str, Any]) -> None:
    document = {
        "_id": 1,
        "n": 1,
        "l": [1, 2, 3],
        "big": Int64(2**40),
        "o": [{"k": 1, "l": [1]}, {"k": 2, "l": [3]}],
    }
    run(insert="c", documents=[document])
    reply = run(update="c", updates=[{"q": {}, "u": change}])
    assert "writeErrors" not in reply, reply
    [found] = (bson.decode(one.raw) for one in run(find="c")["cursor"]["firstBatch"])
    assert {name: found.get(name) for name in expected} == expected
    assert all(found[name] == value for name, value in document.items() if name not in expected)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"$inc": {"s": 1}}, 14),
        ({"$inc": {"b": 1}}, 14),
        ({"$inc": {"n": "1"}}, 14),
        ({"$inc": {"huge": 1}}, 2),
        ({"$set": {"n.x": 1}}, 28),
        ({"$set": {"a": 1, "a.b": 2}}, 40),
        ({"$set": {"a": 1}, "$unset": {"a": 1}}, 40),
        ({"$set": {"_id": 2}}, 66),
        ({"$push": {"n": 1}}, 2),
        ({"$nosuch": {"n": 1}}, 9),
        ({"$set": 5}, 9),
        ({"$set": {"l.$": 1}}, 2),
        ({"$set": {"l.$[x]": 1}}, 2),
        ({"$set": {"a": 1}, "b": 2}, 9),
        ([{"$match": {}}], 2),
    ],
)
def test_refused_updates_change_nothing(run: Any, change: Any, code: int) -> None:
    document = {"_id": 1, "n": 1, "s": "x", "b": True, "l": [1, 2], "huge": Int64(2**63 - 1)}
    run(insert="c", documents=[document])
    reply = run(update="c", updates=[{"q": {}, "u": change}])
    assert [one["code"] for one in reply["writeErrors"]] == [code]
    assert [bson.decode(one.raw) for one in run(find="c")["cursor"]["firstBatch"]] == [document]


def test_positional_update_finds_the_element_that_matched(run: Any) -> None:
    run(insert="c", documents=[{"_id": 1, "l": [{"k": 1, "v": 0}, {"k": 2, "v": 0}]}])
    run(update="c", updates=[{"q": {"l": {"$elemMatch": {"k": 2, "v": 0}}}, "u": {"$inc": {"l.$.v": 5}}}])
    both = run(update="c", updates=[{"q": {"l.k": 1, "l.v": 5}, "u": {"$inc": {"l.$.v": 5}}}])
    [found] = (bson.decode(one.raw) for one in run(find="c")["cursor"]["firstBatch"])
    assert found["l"] == [{"k": 1, "v": 0}, {"k": 2, "v": 5}]
    # Two conditions on two elements: MongoDB's choice is not defined, so there is none here.
    assert both["writeErrors"][0]["code"] == 238


@pytest.mark.parametrize(
    "command",
    [
        {"find": "c", "collation": {"locale": "en"}},
        {"find": "c", "tailable": True},
        {"aggregate": "c", "pipeline": [], "cursor": {}, "let": {"x": 1}},
        {"find": "c", "sort": {"a": 2}},
        {"find": "c", "limit": "x"},
        {"find": "a$b"},
        {"create": "x", "capped": True, "size": 5},
        {"create": "x", "viewOn": "c", "pipeline": []},
        {"createIndexes": "c", "indexes": [{"key": {"t": "text"}, "name": "t"}]},
        {"createIndexes": "c", "indexes": [{"key": {"t": 0}, "name": "t"}]},
        {"find": "c", "startTransaction": True, "autocommit": False},
        {"nosuch": 1},
    ],
)
def test_refused_commands(run: Any, command: dict[str, Any]) -> None:
    assert run(**command)["ok"] == 0.0


def test_any_number_but_0_includes_a_field_in_a_projecting_stage(run: Any) -> None:
    run(insert="c", documents=[{"_id": 1, "a": 7, "s": {"x": 1, "y": 2}}])
    assert aggregate(run, {"$project": {"a": 5, "s": {"x": 2.0}}}) == [{"_id": 1, "a": 7, "s": {"x": 1}}]
    run(insert="c", documents=[{"_id": 2, "s": [{"x": 1, "y": 2}, {"y": 3}]}])
    two = {"$match": {"_id": 2}}
    assert aggregate(run, two, {"$project": {"s": {"x": 1}}}) == [{"_id": 2, "s": [{"x": 1}, {}]}]
    run(delete="c", deletes=[{"q": {"_id": 2}, "limit": 1}])
    assert aggregate(run, {"$project": {"a": 0}}) == [{"_id": 1, "s": {"x": 1, "y": 2}}]
    assert aggregate(run, {"$project": {"_id": 0, "n": {"$add": ["$a", 1]}}}) == [{"n": 8}]


def test_upsert_takes_fields_from_its_filter(run: Any) -> None:
    query = {"_id": 5, "a.b": 1, "c": {"$gt": 2}, "$and": [{"d": {"$eq": 3}}], "e": {"$in": [4]}}
    change = {"$set": {"f": 6}, "$setOnInsert": {"g.h": 7}, "$push": {"l": 8}}
    for _ in range(2):
        run(update="c", updates=[{"q": query, "u": change, "upsert": True}])
    [one] = (bson.decode(found.raw) for found in run(find="c")["cursor"]["firstBatch"])
    assert one == {"_id": 5, "a": {"b": 1}, "d": 3, "e": 4, "f": 6, "g": {"h": 7}, "l": [8]}
    replaced = run(update="r", updates=[{"q": {"_id": 1, "k": 2}, "u": {"v": 3}, "upsert": True}])
    assert replaced["upserted"] == [{"index": 0, "_id": 1}]
    [other] = (bson.decode(found.raw) for found in run(find="r")["cursor"]["firstBatch"])
    assert other == {"_id": 1, "v": 3}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ({"$addFields": {"l.q": 5}}, {"l": [{"k": 1, "q": 5}, {"k": 2, "q": 5}]}),
        ({"$set": {"s": "$none", "n": "$s"}}, {"n": "x", "s": None}),
        ({"$set": {"new.a": 1}}, {"new": {"a": 1}}),
        ({"$unset": ["l.k", "s"]}, {"l": [{}, {}], "s": None}),
        ({"$set": {"x": {"$concat": ["$s", "$none"]}}}, {"x": None}),
        ({"$set": {"x": {"$concat": ["$s", "-y"]}}}, {"x": "x-y"}),
        ({"$set": {"x": {"$toLower": "$none"}}}, {"x": ""}),
        ({"$set": {"x": {"$sum": "$a"}}}, {"x": 3}),
        ({"$set": {"x": {"$sum": "$none"}}}, {"x": 0}),
        ({"$set": {"x": {"$avg": ["$n", 2, True]}}}, {"x": 1.5}),
        ({"$set": {"x": {"$cmp": ["$none", None]}}}, {"x": -1}),
        ({"$set": {"x": {"$eq": [True, 1]}}}, {"x": False}),
    ],
)
def test_expressions(run: Any, stage: dict[str, Any], expected: dict[str, Any]) -> None:
    run(insert="c", documents=[{"_id": 1, "n": 1, "s": "x", "a": [1, 2, True], "l": [{"k": 1}, {"k": 2}]}])
    [found] = aggregate(run, stage)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "expression", [{"$add": [True, 1]}, {"$divide": [1, 0]}, {"$concat": ["a", 1]}, {"$toInt": "1.5"}]
)
def test_refused_expressions(run: Any, expression: dict[str, Any]) -> None:
    run(insert="c", documents=[{"_id": 1}])
    assert run(aggregate="c", pipeline=[{"$set": {"x": expression}}], cursor={})["ok"] == 0.0
