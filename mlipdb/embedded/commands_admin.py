"""Commands about collections, indexes, databases and the server itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import bson

from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.failures import (
    BAD_VALUE,
    INDEX_KEY_SPECS_CONFLICT,
    INDEX_NOT_FOUND,
    INDEX_OPTIONS_CONFLICT,
    INVALID_OPTIONS,
    NAMESPACE_EXISTS,
    NAMESPACE_NOT_FOUND,
    CommandError,
    unsupported,
)
from mlipdb.embedded.indexes import Index, checked_index
from mlipdb.embedded.options import check_name, collection_name, refuse_options
from mlipdb.embedded.storage import Collection
from mlipdb.embedded.wire import CODEC, MAX_DOCUMENT_BYTES, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from mlipdb.embedded.engine import Engine

__all__ = ["ADMIN_COMMANDS", "LOCK_FREE_COMMANDS", "SCHEMA_COMMANDS"]

Reply = dict[str, Any]
_ID_INDEX: Final = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
_VALIDATION: Final = ("validator", "validationLevel", "validationAction")
_HARMLESS: Final = {"create", "writeConcern", "comment", "lsid", "idIndex", "storageEngine", "autoIndexId"}


def hello(engine: Engine, command: dict[str, Any]) -> Reply:
    """Commands ``hello`` and ``isMaster``: a server of its own, no replica set."""
    del engine, command
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": MAX_DOCUMENT_BYTES,
        "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
        "maxWriteBatchSize": 100_000,
        "localTime": dt.datetime.now(dt.UTC),
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "readOnly": False,
        "logicalSessionTimeoutMinutes": 30,
        "ok": 1.0,
    }


def _acknowledge(engine: Engine, command: dict[str, Any]) -> Reply:
    del engine, command
    return {"ok": 1.0}


def build_info(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``buildInfo``: the version of MongoDB whose behaviour is aimed at."""
    del engine, command
    return {
        "version": "7.0.0",
        "versionArray": [7, 0, 0, 0],
        "modules": ["mlipdb-embedded"],
        "maxBsonObjectSize": MAX_DOCUMENT_BYTES,
        "ok": 1.0,
    }


def create_indexes(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``createIndexes``."""
    name = collection_name(command, "createIndexes")
    declared = command.get("indexes")
    if not isinstance(declared, list) or not declared:
        raise CommandError(BAD_VALUE, "createIndexes needs at least one index")
    checked = [checked_index(one) for one in declared]
    created = engine.storage.collection(command["$db"], name) is None
    collection = engine.storage.ensure(command["$db"], name)
    before = len(collection.indexes) + 1
    for index in checked:
        if index.fields == [("_id", 1)] or _exists(collection, index):
            continue
        engine.storage.create_index(collection, index)
    return {
        "numIndexesBefore": before,
        "numIndexesAfter": len(collection.indexes) + 1,
        "createdCollectionAutomatically": created,
        "ok": 1.0,
    }


def _exists(collection: Collection, index: Index) -> bool:
    """Whether the index is there already; refused when it is there with other properties."""
    for other in collection.indexes.values():
        same = other.fields == index.fields and other.options == index.options
        if other.name == index.name:
            if same:
                return True
            message = f"An index named {index.name!r} exists with a different key or different options"
            raise CommandError(INDEX_KEY_SPECS_CONFLICT, message)
        if other.fields == index.fields:
            message = f"Index already exists with a different name: {other.name}"
            raise CommandError(INDEX_OPTIONS_CONFLICT, message)
    return False


def list_indexes(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``listIndexes``."""
    collection = _existing(engine, command["$db"], collection_name(command, "listIndexes"))
    entries = [_ID_INDEX, *(index.describe() for index in collection.indexes.values())]
    size = (command.get("cursor") or {}).get("batchSize")
    return engine.cursors.start(collection.full_name, map(_encode, entries), size)


def _encode(document: dict[str, Any]) -> bytes:
    return bson.encode(document, codec_options=CODEC)


def _existing(engine: Engine, database: str, name: str) -> Collection:
    collection = engine.storage.collection(database, name)
    if collection is None:
        raise CommandError(NAMESPACE_NOT_FOUND, f"ns does not exist: {database}.{name}")
    return collection


def drop_indexes(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``dropIndexes``."""
    collection = _existing(engine, command["$db"], collection_name(command, "dropIndexes"))
    before = len(collection.indexes) + 1
    wanted = command.get("index")
    if wanted == "*":
        names = list(collection.indexes)
    elif isinstance(wanted, dict):
        fields = list(wanted.items())
        names = [index.name for index in collection.indexes.values() if index.fields == fields] or [str(wanted)]
    else:
        names = [str(name) for name in (wanted if isinstance(wanted, list) else [wanted])]
    for name in names:
        if name == "_id_":
            raise CommandError(INVALID_OPTIONS, "cannot drop _id index")
        if name not in collection.indexes:
            raise CommandError(INDEX_NOT_FOUND, f"index not found with name [{name}]")
        engine.storage.drop_index(collection, name)
    return {"nIndexesWas": before, "ok": 1.0}


def create(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``create``."""
    name = collection_name(command, "create")
    refuse_options(command)
    options = {key: command[key] for key in _VALIDATION if command.get(key)}
    for key, value in command.items():
        if value and key not in _VALIDATION and key not in _HARMLESS and not key.startswith("$") and key != "collation":
            raise unsupported(f"collections with the option {key}")
    Matcher(options.get("validator"))
    if options.get("validationLevel") == "moderate":
        raise unsupported("the validation level moderate")
    if engine.storage.collection(command["$db"], name) is not None:
        raise CommandError(NAMESPACE_EXISTS, f"Collection {command['$db']}.{name} already exists.")
    engine.storage.create(command["$db"], name, options)
    return {"ok": 1.0}


def drop(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``drop``."""
    collection = engine.storage.collection(command["$db"], collection_name(command, "drop"))
    if collection is None:
        raise CommandError(NAMESPACE_NOT_FOUND, "ns not found")
    count = len(collection.indexes) + 1
    engine.storage.drop(collection)
    return {"nIndexesWas": count, "ns": collection.full_name, "ok": 1.0}


def drop_database(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``dropDatabase``."""
    for database, name in engine.storage.names():
        if database == command["$db"]:
            engine.storage.drop(_existing(engine, database, name))
    return {"dropped": command["$db"], "ok": 1.0}


def rename_collection(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``renameCollection``."""
    (database, name), (new_database, new_name) = (
        str(command.get(field, "")).partition(".")[::2] for field in ("renameCollection", "to")
    )
    check_name(new_name, new_database)
    collection = _existing(engine, database, name)
    target = engine.storage.collection(new_database, new_name)
    if target is not None:
        if not command.get("dropTarget") or target.number == collection.number:
            raise CommandError(NAMESPACE_EXISTS, "target namespace exists")
        engine.storage.drop(target)
    engine.storage.rename(collection, new_database, new_name)
    return {"ok": 1.0}


def list_collections(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``listCollections``."""
    accepts = Matcher(command.get("filter"))
    entries = []
    for database, name in engine.storage.names():
        if database != command["$db"]:
            continue
        options = _existing(engine, database, name).options
        entry = {
            "name": name,
            "type": "collection",
            "options": options,
            "info": {"readOnly": False},
            "idIndex": _ID_INDEX,
        }
        if accepts(entry):
            entries.append(entry)
    size = (command.get("cursor") or {}).get("batchSize")
    return engine.cursors.start(f"{command['$db']}.$cmd.listCollections", map(_encode, entries), size)


def list_databases(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``listDatabases``."""
    accepts = Matcher(command.get("filter"))
    sizes: dict[str, int] = {}
    for database, name in engine.storage.names():
        size = 0 if command.get("nameOnly") else engine.storage.size(_existing(engine, database, name))
        sizes[database] = sizes.get(database, 0) + size
    entries = [{"name": name, "sizeOnDisk": size, "empty": False} for name, size in sizes.items()]
    entries = [entry for entry in entries if accepts(entry)]
    return {"databases": entries, "totalSize": sum(sizes.values()), "ok": 1.0}


def collection_stats(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``collStats``."""
    name = collection_name(command, next(iter(command)))
    collection = engine.storage.collection(command["$db"], name)
    count = engine.storage.count(collection) if collection else 0
    size = engine.storage.size(collection) if collection else 0
    reply: Reply = {"ns": f"{command['$db']}.{name}", "count": count, "size": size, "storageSize": size}
    reply["nindexes"] = len(collection.indexes) + 1 if collection else 0
    if count:
        reply["avgObjSize"] = size // count
    return {**reply, "ok": 1.0}


def database_stats(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``dbStats``."""
    found = [_existing(engine, *pair) for pair in engine.storage.names() if pair[0] == command["$db"]]
    return {
        "db": command["$db"],
        "collections": len(found),
        "objects": sum(map(engine.storage.count, found)),
        "dataSize": sum(map(engine.storage.size, found)),
        "indexes": sum(len(collection.indexes) + 1 for collection in found),
        "ok": 1.0,
    }


def server_status(engine: Engine, command: dict[str, Any]) -> Reply:
    """Command ``mlipdbStatus``, of this server only: what ``mlipdb status`` shows."""
    del command
    found = [_existing(engine, *pair) for pair in engine.storage.names()]
    return {"documents": sum(map(engine.storage.count, found)), "cursors": len(engine.cursors), "ok": 1.0}


Handler = Callable[["Engine", dict[str, Any]], Reply]

ADMIN_COMMANDS: Final[dict[str, Handler]] = {
    **dict.fromkeys(("hello", "ismaster", "isMaster"), hello),
    **dict.fromkeys(("ping", "endSessions", "startSession", "refreshSessions"), _acknowledge),
    **dict.fromkeys(("buildInfo", "buildinfo"), build_info),
    **dict.fromkeys(("collStats", "collstats"), collection_stats),
    **dict.fromkeys(("dbStats", "dbstats"), database_stats),
    "mlipdbStatus": server_status,
    "listIndexes": list_indexes,
    "listCollections": list_collections,
    "listDatabases": list_databases,
}
"""Commands that change nothing."""

LOCK_FREE_COMMANDS: Final = frozenset(
    ("hello", "ismaster", "isMaster", "ping", "buildInfo", "buildinfo", "endSessions")
)
"""Commands that touch neither file nor cursors."""

SCHEMA_COMMANDS: Final[dict[str, Handler]] = {
    "createIndexes": create_indexes,
    **dict.fromkeys(("dropIndexes", "deleteIndexes"), drop_indexes),
    "create": create,
    "drop": drop,
    "dropDatabase": drop_database,
    "renameCollection": rename_collection,
}
"""Commands that change the catalogue."""
