"""The stages that write: ``$out`` and ``$merge``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from mlipdb.embedded import keys, search
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.failures import BAD_VALUE, CommandError, unsupported
from mlipdb.embedded.options import check_name
from mlipdb.embedded.storage import Collection, encode_document

if TYPE_CHECKING:
    from mlipdb.embedded.engine import Engine


def write_output(engine: Engine, database: str, stage: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    """Carry out the last stage of a pipeline.

    Raises
    ------
    CommandError
        The stage is malformed or not supported, or a document cannot be written as it asks.
    """
    name, options = next(iter(stage.items()))
    if name == "$out":
        _out(engine, database, options, documents)
    else:
        _merge(engine, database, options, documents)


def _target(database: str, into: Any) -> tuple[str, str]:
    if isinstance(into, Mapping):
        if set(into) - {"db", "coll"}:
            raise unsupported(f"{min(set(into) - {'db', 'coll'})} of an output collection")
        database, into = into.get("db", database), into.get("coll")
    return database, check_name(into, database)


def _out(engine: Engine, database: str, options: Any, documents: list[dict[str, Any]]) -> None:
    database, name = _target(database, options)
    collection = engine.storage.ensure(database, name)
    # The indexes of the collection stay; its documents are replaced.
    for number, old, _ in list(search.matching(engine.storage, collection, Matcher({}))):
        engine.storage.delete(collection, number, old)
    for document in documents:
        insert_new(engine, collection, document)


def insert_new(engine: Engine, collection: Collection, document: dict[str, Any]) -> None:
    """Insert a document, which gets an ``_id`` when it has none."""
    document = {"_id": document["_id"] if "_id" in document else ObjectId(), **document}
    engine.storage.insert(collection, document, encode_document(document))


def _merge(engine: Engine, database: str, options: Any, documents: list[dict[str, Any]]) -> None:
    options = {"into": options} if isinstance(options, str) else options
    if not isinstance(options, Mapping) or "into" not in options:
        raise CommandError(BAD_VALUE, "$merge needs the collection to write into")
    if set(options) - {"into", "on", "whenMatched", "whenNotMatched"}:
        raise unsupported("let of $merge")
    matched = options.get("whenMatched", "merge")
    unmatched = options.get("whenNotMatched", "insert")
    if not isinstance(matched, str):
        raise unsupported("$merge with a pipeline in whenMatched")
    if matched not in ("replace", "keepExisting", "merge", "fail") or unmatched not in (
        "insert",
        "discard",
        "fail",
    ):
        raise CommandError(BAD_VALUE, f"unknown mode of $merge: {matched!r}, {unmatched!r}")
    on = options.get("on", "_id")
    on = [on] if isinstance(on, str) else on
    database, name = _target(database, options["into"])
    collection = engine.storage.ensure(database, name)
    _check_on(collection, on)
    for document in documents:
        _merge_one(engine, collection, document, on, matched, unmatched)


def _check_on(collection: Collection, on: Any) -> None:
    if not isinstance(on, list) or not on or not all(isinstance(path, str) for path in on):
        raise CommandError(BAD_VALUE, "on of $merge must be the name of a field, or an array of those")
    unique = [{path for path, _ in index.fields} for index in collection.indexes.values() if index.unique]
    if on != ["_id"] and set(on) not in unique:
        raise CommandError(51183, "Cannot find index to verify that join fields will be unique")


def _merge_one(
    engine: Engine,
    collection: Collection,
    document: dict[str, Any],
    on: list[str],
    matched: str,
    unmatched: str,
) -> None:
    if on == ["_id"] and "_id" not in document:
        document = {"_id": ObjectId(), **document}
    query = {path: {"$eq": keys.path_values(document, path.split("."))[0]} for path in on}
    if any(value["$eq"] is keys.MISSING for value in query.values()):
        raise CommandError(51132, f"$merge needs the fields {', '.join(on)} in every document")
    found = next(search.matching(engine.storage, collection, Matcher(query)), None)
    if found is None:
        if unmatched == "fail":
            raise CommandError(13113, "$merge could not find a matching document in the target collection")
        if unmatched == "insert":
            insert_new(engine, collection, document)
        return
    number, old, _ = found
    if matched == "fail":
        raise CommandError(11000, "$merge found a matching document in the target collection")
    if matched == "keepExisting":
        return
    new = {**old, **document} if matched == "merge" else {"_id": old["_id"], **document}
    if keys.encode(new["_id"]) != keys.encode(old["_id"]):
        raise CommandError(66, "$merge would modify the immutable field '_id'")
    engine.storage.replace(collection, number, old, new, encode_document(new))
