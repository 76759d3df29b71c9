"""Random documents, filters and sorts: the same answers with indexes as without."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.engine import Engine
from mlipdb.embedded.planner import best_plan
from mlipdb.embedded.storage import decode
from mlipdb.embedded.wire import Message

PATHS = ("a", "b", "a.b", "b.a", "a.0")
INDEXES: list[dict[str, Any]] = [
    {"key": {"a": 1}},
    {"key": {"b": -1}, "sparse": True},
    {"key": {"a.b": 1}},
    {"key": {"b.a": 1, "a": 1}},
    {"key": {"a": 1, "b": 1}, "name": "both"},
    {"key": {"a.0": 1}},
    {"key": {"b": 1}, "name": "partial", "partialFilterExpression": {"a": {"$gt": 0}}},
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.5, 1.0, float("nan"), float("inf"), Decimal128("1.0"), Decimal128("0.5")]),
    st.sampled_from(["", "a", "b", "ab", "x" * 1100, "x" * 1100 + "y"]),
    st.sampled_from([b"", b"a", ObjectId("0" * 24)]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=2),
    ),
    max_leaves=5,
)
documents = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), values, max_size=2), max_size=8)
predicates = st.one_of(
    values.map(lambda value: {"$eq": value}),
    st.lists(values, max_size=3).map(lambda found: {"$in": found}),
    st.lists(values, max_size=3).map(lambda found: {"$nin": found}),
    values.map(lambda value: {"$ne": value}),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), values).map(lambda pair: dict([pair])),
    st.tuples(scalars, scalars).map(lambda pair: {"$gte": pair[0], "$lt": pair[1]}),
    st.booleans().map(lambda flag: {"$exists": flag}),
    st.integers(0, 2).map(lambda size: {"$size": size}),
    values.map(lambda value: {"$not": {"$gt": value}}),
    values.map(lambda value: {"$elemMatch": {"$gte": value}}),
    values.map(lambda value: {"$elemMatch": {"a": value}}),
    st.lists(values, min_size=1, max_size=2).map(lambda found: {"$all": found}),
)
conditions = st.tuples(st.sampled_from(PATHS), predicates).map(lambda pair: dict([pair]))
filters = st.one_of(
    conditions,
    st.lists(conditions, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
    st.lists(conditions, min_size=1, max_size=2).map(lambda parts: {"$or": parts}),
)


def execute(engine: Engine, command: dict[str, Any]) -> dict[str, Any]:
    reply = engine.execute(Message(1, {**command, "$db": "tests"}))
    assert reply["ok"] == 1.0, reply
    assert "writeErrors" not in reply, reply
    return reply


def found(engine: Engine, name: str, **arguments: Any) -> list[Any]:
    reply = execute(engine, {"find": name, **arguments})
    return [one["_id"] for one in reply["cursor"]["firstBatch"]]


@pytest.fixture(scope="module")
def shared_engine() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(Path(directory))
        engine.storage.sql.execute("PRAGMA synchronous=OFF")
        yield engine
        engine.close()


@settings(
    deadline=None,
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(documents, documents, st.lists(filters, min_size=1, max_size=4), st.data())
def test_indexes_change_no_answer(shared_engine: Engine, first: Any, second: Any, queries: Any, data: Any) -> None:
    engine = shared_engine
    for name in ("plain", "indexed"):
        engine.execute(Message(1, {"drop": name, "$db": "tests"}))
    execute(engine, {"create": "plain"})
    # Half of the documents are there before the indexes, and some change afterwards.
    for name in ("plain", "indexed"):
        if first:
            execute(engine, {"insert": name, "documents": [{"_id": n, **one} for n, one in enumerate(first)]})
        if name == "indexed":
            named = [{"name": "_".join(one["key"]), **one} for one in INDEXES]
            execute(engine, {"createIndexes": name, "indexes": named})
        for number, one in enumerate(second):
            update = {"q": {"_id": number}, "u": {"_id": number, **one}, "upsert": True}
            execute(engine, {"update": name, "updates": [update]})
        if first:
            execute(engine, {"delete": name, "deletes": [{"q": {"_id": len(first) - 1}, "limit": 1}]})
    path, direction = data.draw(st.sampled_from(PATHS)), data.draw(st.sampled_from([1, -1]))
    limit = data.draw(st.integers(0, 3))
    for query in queries:
        assert found(engine, "indexed", filter=query) == found(engine, "plain", filter=query)
        every = [
            found(engine, name, filter=query, sort={path: direction}, limit=limit) for name in ("plain", "indexed")
        ]
        assert every[0] == every[1]
    whole = [found(engine, name, sort={path: direction}, limit=limit) for name in ("plain", "indexed")]
    assert whole[0] == whole[1]
    _check_keys(engine)


def _check_keys(engine: Engine) -> None:
    """The side tables hold exactly the keys of the documents that are there."""
    collection = engine.storage.collection("tests", "indexed")
    assert collection is not None
    documents = [(number, found) for number, found in engine.storage.scan(collection)]
    for index in collection.indexes.values():
        expected = {
            (key[: keys.MAX_KEY_BYTES], number)
            for number, raw in documents
            for key in index.document_keys(decode(raw))[0]
        }
        assert set(engine.storage.sql.execute(f"SELECT key, number FROM x{index.number}")) == expected


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"k": 5}, "k"),
        ({"k": {"$in": [1, 2]}}, "k"),
        ({"k": {"$gt": 1, "$lt": 3}}, "k"),
        ({"tags": "x"}, "tags"),
        ({"g": 1, "k": {"$gte": 40}}, "k"),
        ({"g": 1, "h": 2}, "g_h"),
        ({"$and": [{"g": 1}, {"h": {"$lt": 5}}]}, "g_h"),
        ({"h": 2}, None),
        ({"$or": [{"k": 1}, {"k": 2}]}, None),
        ({"sparse": None}, None),
        ({"sparse": 1}, "sparse"),
        ({"_id": 3}, "_id"),
    ],
)
def test_filters_use_the_index_that_fits(engine: Engine, query: dict[str, Any], index: str | None) -> None:
    documents = [{"_id": n, "k": n, "g": n % 2, "h": n % 10, "tags": ["x", n], "sparse": n} for n in range(50)]
    execute(engine, {"insert": "c", "documents": documents})
    named = [
        {"name": "k", "key": {"k": 1}},
        {"name": "tags", "key": {"tags": 1}},
        {"name": "g_h", "key": {"g": 1, "h": -1}},
        {"name": "sparse", "key": {"sparse": 1}, "sparse": True},
    ]
    execute(engine, {"createIndexes": "c", "indexes": named})
    collection = engine.storage.collection("tests", "c")
    assert collection is not None
    plan = best_plan(engine.storage, collection, Matcher(query))
    names = {f"x{one.number}": one.name for one in collection.indexes.values()} | {collection.table: "_id"}
    assert (None if plan is None else names[plan[0].table]) == index


def test_sorted_search_with_a_limit_reads_few_documents(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(engine, {"insert": "c", "documents": [{"_id": n, "k": (n * 37) % 500} for n in range(500)]})
    execute(engine, {"createIndexes": "c", "indexes": [{"name": "k", "key": {"k": 1}}]})
    read = []
    original = type(engine.storage).document

    def counting(self: Any, collection: Any, number: int) -> bytes | None:
        read.append(number)
        return original(self, collection, number)

    monkeypatch.setattr(type(engine.storage), "document", counting)
    expected = sorted(range(500), key=lambda n: -((n * 37) % 500))[:3]
    assert found(engine, "c", sort={"k": -1}, limit=3) == expected
    assert len(read) <= 5


def test_partial_index_serves_only_its_own_filter(engine: Engine) -> None:
    execute(engine, {"insert": "c", "documents": [{"_id": 0, "k": 1, "live": True}, {"_id": 1, "k": 1, "live": 1}]})
    index = {"name": "k", "key": {"k": 1}, "partialFilterExpression": {"live": True}}
    execute(engine, {"createIndexes": "c", "indexes": [index]})
    collection = engine.storage.collection("tests", "c")
    assert collection is not None
    assert best_plan(engine.storage, collection, Matcher({"k": 1, "live": True})) is not None
    assert best_plan(engine.storage, collection, Matcher({"k": 1})) is None
    assert found(engine, "c", filter={"k": 1, "live": True}) == [0]
    assert found(engine, "c", filter={"k": 1, "live": 1}) == [1]
    assert found(engine, "c", filter={"k": 1}) == [0, 1]
