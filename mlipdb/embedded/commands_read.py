"""Commands that read: find, count, distinct, aggregate, and fetching further batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import bson

from mlipdb.embedded import keys, search
from mlipdb.embedded.adapter import DatabaseView, Matcher, known_stages, run_pipeline
from mlipdb.embedded.failures import BAD_VALUE, CHANGE_STREAM, INVALID_NAMESPACE, CommandError, unsupported
from mlipdb.embedded.options import collection_name, refuse_options, whole_number
from mlipdb.embedded.output import write_output
from mlipdb.embedded.planner import best_plan, ordered_numbers
from mlipdb.embedded.projection import compile_projection
from mlipdb.embedded.stages import check_pipeline, sort_order
from mlipdb.embedded.wire import CODEC

if TYPE_CHECKING:
    from mlipdb.embedded.engine import Engine

__all__ = ["READ_COMMANDS", "natural_or_sorted"]

Reply = dict[str, Any]


def natural_or_sorted(order: Any) -> list[tuple[str, int]] | None:
    """Sort of a command; None when there is none."""
    if not order:
        return None
    if isinstance(order, Mapping) and list(order) == ["$natural"]:
        if order["$natural"] not in (1, -1):
            raise CommandError(BAD_VALUE, "$natural sort must be 1 or -1")
        return [("$natural", int(order["$natural"]))]
    return sort_order(order)


def find(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``find``."""
    name = collection_name(command, "find")
    refuse_options(command, ("min", "max", "returnKey", "showRecordId", "tailable", "awaitData", "oplogReplay"))
    matcher = Matcher(command.get("filter"))
    project = compile_projection(command.get("projection"))
    order = natural_or_sorted(command.get("sort"))
    limit = whole_number(command, "limit", least=-(2**31))
    skip = whole_number(command, "skip")
    collection = engine.storage.collection(command["$db"], name)
    documents: Iterator[bytes] = iter(())
    if collection is not None:
        found = search.find(engine.storage, collection, matcher, order, skip, abs(limit))
        documents = (
            raw if project is None else bson.encode(project(document), codec_options=CODEC)
            for _, document, raw in found
        )
    return engine.cursors.start(
        f"{command['$db']}.{name}",
        documents,
        command.get("batchSize"),
        single=bool(command.get("singleBatch")) or limit < 0,
        patient=bool(command.get("noCursorTimeout")),
    )


def get_more(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``getMore``."""
    return engine.cursors.more(command["getMore"], command.get("batchSize"))


def kill_cursors(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``killCursors``."""
    killed, unknown = engine.cursors.kill(list(command.get("cursors", [])))
    return {
        "cursorsKilled": killed,
        "cursorsNotFound": unknown,
        "cursorsAlive": [],
        "cursorsUnknown": [],
        "ok": 1.0,
    }


def count(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``count``."""
    name = collection_name(command, "count")
    refuse_options(command)
    matcher = Matcher(command.get("query"))
    limit, skip = abs(whole_number(command, "limit", least=-(2**31))), whole_number(command, "skip")
    collection = engine.storage.collection(command["$db"], name)
    if collection is None:
        number = 0
    elif matcher.query:
        number = sum(1 for _ in search.matching(engine.storage, collection, matcher))
    else:
        number = engine.storage.count(collection)
    number = max(0, number - skip)
    return {"n": min(number, limit) if limit else number, "ok": 1.0}


def distinct(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``distinct``."""
    name = collection_name(command, "distinct")
    refuse_options(command)
    path = command.get("key")
    if not isinstance(path, str) or not path:
        raise CommandError(BAD_VALUE, "distinct needs the name of a field as key")
    matcher = Matcher(command.get("query"))
    collection = engine.storage.collection(command["$db"], name)
    found: dict[bytes, Any] = {}
    size = 0
    if collection is not None:
        for _, document, _ in search.matching(engine.storage, collection, matcher):
            for value in keys.present_values(document, path.split(".")):
                key = keys.encode(value)
                if key not in found:
                    found[key] = value
                    size += len(key)
                    if size > 2 * 16 * 1024 * 1024:
                        raise CommandError(17217, "distinct too big, 16mb cap; use an aggregation with $group")
    return {"values": [found[key] for key in sorted(found)], "ok": 1.0}


def aggregate(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``aggregate``."""
    pipeline = command.get("pipeline")
    if isinstance(pipeline, list) and pipeline and isinstance(pipeline[0], Mapping) and "$changeStream" in pipeline[0]:
        raise CommandError(CHANGE_STREAM, "The $changeStream stage is only supported on replica sets")
    if not isinstance(command["aggregate"], str):
        raise CommandError(INVALID_NAMESPACE, "the embedded database aggregates collections only, not whole databases")
    name = collection_name(command, "aggregate")
    refuse_options(command, ("explain",))
    pipeline = check_pipeline(pipeline, known_stages())
    output = pipeline[-1] if pipeline and next(iter(pipeline[-1])) in ("$out", "$merge") else None
    documents = run_stages(engine, command["$db"], name, pipeline[:-1] if output else pipeline)
    if output is not None:
        write_output(engine, command["$db"], output, documents)
        documents = []
    size = (command.get("cursor") or {}).get("batchSize")
    encoded = (bson.encode(document, codec_options=CODEC) for document in documents)
    return engine.cursors.start(f"{command['$db']}.{name}", encoded, size)


def run_stages(engine: Engine, database: str, name: str, pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents that the stages make of a collection; filter, sort and limit at the start use its indexes."""
    stages = list(pipeline)
    query: list[Any] = []
    while stages and "$match" in stages[0]:
        query.append(stages.pop(0)["$match"])
    matcher = Matcher({"$and": query} if query else {})
    order = sort_order(stages.pop(0)["$sort"]) if stages and "$sort" in stages[0] else None
    limit = 0
    if stages and "$limit" in stages[0]:
        limit = whole_number(stages.pop(0), "$limit", least=1)
    collection = engine.storage.collection(database, name)
    documents: list[dict[str, Any]]
    if collection is None:
        documents = []
    elif not matcher.query and not limit and stages and "$count" in stages[0]:
        # Only their number is asked for.
        documents = [{}] * engine.storage.count(collection)
    else:
        documents = [one for _, one, _ in search.find(engine.storage, collection, matcher, order, 0, limit)]

    def look_up(other: str, condition: dict[str, Any]) -> list[dict[str, Any]]:
        foreign = engine.storage.collection(database, other)
        if foreign is None:
            return []
        return [one for _, one, _ in search.matching(engine.storage, foreign, Matcher(condition))]

    return run_pipeline(documents, DatabaseView(database, look_up), stages) if stages else documents


def explain(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``explain``: which index would be used, in MongoDB's words."""
    inner = command.get("explain")
    if not isinstance(inner, dict) or "find" not in inner:
        raise unsupported("explain of anything but find")
    inner = {**inner, "$db": command["$db"]}
    matcher = Matcher(inner.get("filter"))
    order = natural_or_sorted(inner.get("sort"))
    collection = engine.storage.collection(command["$db"], collection_name(inner, "find"))
    stage: dict[str, Any] = {"stage": "EOF" if collection is None else "COLLSCAN"}
    if collection is not None:
        plan = best_plan(engine.storage, collection, matcher)
        if plan is not None:
            names = {f"x{index.number}": index.name for index in collection.indexes.values()}
            stage = {"stage": "IXSCAN", "indexName": names.get(plan[0].table, "_id_")}
        elif order and ordered_numbers(engine.storage, collection, order) is not None:
            stage = {"stage": "IXSCAN", "sortedBy": order[0][0]}
    namespace = f"{command['$db']}.{inner['find']}"
    return {"queryPlanner": {"namespace": namespace, "winningPlan": stage, "rejectedPlans": []}, "ok": 1.0}


READ_COMMANDS = {
    "find": find,
    "getMore": get_more,
    "killCursors": kill_cursors,
    "count": count,
    "distinct": distinct,
    "explain": explain,
}
