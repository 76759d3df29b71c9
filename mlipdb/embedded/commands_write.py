"""Commands that write documents: insert, update, delete, findAndModify."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId, Regex

from mlipdb.embedded import search
from mlipdb.embedded.adapter import Matcher, check_validator, translate
from mlipdb.embedded.commands_read import natural_or_sorted
from mlipdb.embedded.failures import BAD_VALUE, FAILED_TO_PARSE, INVALID_ID, CommandError
from mlipdb.embedded.options import collection_name, refuse_options
from mlipdb.embedded.projection import compile_projection
from mlipdb.embedded.storage import Collection, check_size, decode, encode_document
from mlipdb.embedded.updates import Update, check_field_names

if TYPE_CHECKING:
    from mlipdb.embedded.engine import Engine

__all__ = ["WRITE_COMMANDS"]

Reply = dict[str, Any]
MAX_STATEMENTS: Final = 100_000


def _statements(engine: Engine, items: list[Any], ordered: bool, run: Callable[[int, Any], None]) -> Reply:
    """Carry out statements one by one; those that fail are undone and reported."""
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_STATEMENTS:
        raise CommandError(FAILED_TO_PARSE, f"a write needs 1 to {MAX_STATEMENTS} statements")
    errors = []
    for place, item in enumerate(items):
        try:
            with engine.storage.statement():
                run(place, item)
        except (sqlite3.Error, MemoryError):
            # The file cannot be written: nothing of the command is kept.
            raise
        except Exception as error:  # noqa: BLE001 - any failure is the statement's own, and is reported
            errors.append(translate(error).write_error(place))
            if ordered:
                break
    return {"writeErrors": errors} if errors else {}


def insert(engine: Engine, command: dict[str, Any], raw: Mapping[str, list[bytes]]) -> Reply:
    """Command ``insert``."""
    name = collection_name(command, "insert")
    sent = raw.get("documents", [])
    done = 0

    def run(place: int, document: dict[str, Any]) -> None:
        nonlocal done
        collection = engine.storage.ensure(command["$db"], name)
        if place < len(sent) and next(iter(document), None) == "_id":
            _insert(engine, collection, document, sent[place], command)
        else:
            _insert(engine, collection, document, None, command)
        done += 1

    reply = _statements(engine, command.get("documents", []), command.get("ordered", True), run)
    return {"n": done, "ok": 1.0, **reply}


def _insert(
    engine: Engine,
    collection: Collection,
    document: dict[str, Any],
    raw: bytes | None,
    command: Mapping[str, Any],
) -> dict[str, Any]:
    """Store a new document; gives it as it was stored."""
    if not isinstance(document, dict):
        raise CommandError(BAD_VALUE, "only documents can be inserted")
    check_field_names(document)
    if raw is None:
        document = {"_id": document["_id"] if "_id" in document else ObjectId(), **document}
        raw = encode_document(document)
    check_size(raw)
    if isinstance(document["_id"], (list, Regex)):
        raise CommandError(INVALID_ID, "The '_id' value cannot be an array or a regular expression")
    if not command.get("bypassDocumentValidation"):
        check_validator(collection.validator, document)
    engine.storage.insert(collection, document, raw)
    return document


class _Updater:
    """Carries out updates of one collection and counts."""

    def __init__(self, engine: Engine, command: dict[str, Any], name: str) -> None:
        self.engine = engine
        self.command = command
        self.name = name
        self.matched = 0
        self.modified = 0
        self.upserted: list[dict[str, Any]] = []

    def run(self, place: int, statement: dict[str, Any]) -> None:
        refuse_options(statement, ("c",))
        query = statement.get("q", {})
        matcher = Matcher(query)
        update = Update(query, matcher, statement.get("u"), statement.get("arrayFilters"))
        multi = bool(statement.get("multi"))
        if multi and update.kind == "replacement":
            raise CommandError(FAILED_TO_PARSE, "multi update is not supported for replacement-style update")
        collection = self.engine.storage.collection(self.command["$db"], self.name)
        found = []
        if collection is not None:
            order = natural_or_sorted(statement.get("sort"))
            # The list comes first: an update must not meet the same document twice.
            found = list(search.find(self.engine.storage, collection, matcher, order, 0, 0 if multi else 1))
        modified = sum(self.change(collection, one, update) for one in found if collection is not None)
        if not found and statement.get("upsert"):
            new = self.upsert(update)
            self.upserted.append({"index": place, "_id": new["_id"]})
        self.matched += len(found)
        self.modified += modified

    def change(self, collection: Collection, found: search.Found, update: Update) -> bool:
        """Update one document; whether that changed it."""
        number, old, raw = found
        new = update.apply(decode(raw))
        new_raw = encode_document(new)
        if new_raw == raw:
            return False
        if not self.command.get("bypassDocumentValidation"):
            check_validator(collection.validator, new)
        check_field_names(new)
        self.engine.storage.replace(collection, number, old, decode(new_raw), new_raw)
        return True

    def upsert(self, update: Update) -> dict[str, Any]:
        """Insert what the update makes of nothing."""
        collection = self.engine.storage.ensure(self.command["$db"], self.name)
        document = decode(encode_document(update.insertion()))
        return _insert(self.engine, collection, document, None, self.command)


def update(engine: Engine, command: dict[str, Any], raw: Mapping[str, list[bytes]]) -> Reply:
    """Command ``update``."""
    del raw
    refuse_options(command)
    updater = _Updater(engine, command, collection_name(command, "update"))
    errors = _statements(engine, command.get("updates", []), command.get("ordered", True), updater.run)
    reply: Reply = {"n": updater.matched + len(updater.upserted), "nModified": updater.modified, "ok": 1.0}
    if updater.upserted:
        reply["upserted"] = updater.upserted
    return {**reply, **errors}


def delete(engine: Engine, command: dict[str, Any], raw: Mapping[str, list[bytes]]) -> Reply:
    """Command ``delete``."""
    del raw
    refuse_options(command)
    name = collection_name(command, "delete")
    done = 0

    def run(_: int, statement: dict[str, Any]) -> None:
        nonlocal done
        refuse_options(statement)
        matcher = Matcher(statement.get("q"))
        collection = engine.storage.collection(command["$db"], name)
        if collection is None:
            return
        limit = 1 if statement.get("limit") else 0
        found = list(_numbered(search.find(engine.storage, collection, matcher, None, 0, limit)))
        for number, document in found:
            engine.storage.delete(collection, number, document)
        done += len(found)

    reply = _statements(engine, command.get("deletes", []), command.get("ordered", True), run)
    return {"n": done, "ok": 1.0, **reply}


def _numbered(found: Any) -> Any:
    return ((number, document) for number, document, _ in found)


def find_and_modify(engine: Engine, command: dict[str, Any], raw: Mapping[str, list[bytes]]) -> Reply:
    """Command ``findAndModify``."""
    del raw
    refuse_options(command)
    name = collection_name(command, next(iter(command)))
    query = command.get("query") or {}
    matcher = Matcher(query)
    project = compile_projection(command.get("fields"))
    remove = bool(command.get("remove"))
    if remove and (command.get("update") is not None or command.get("upsert") or command.get("new")):
        raise CommandError(FAILED_TO_PARSE, "findAndModify cannot remove and update, upsert or return the new document")
    if not remove and command.get("update") is None:
        raise CommandError(FAILED_TO_PARSE, "Either an update or remove=true must be specified")
    change = None if remove else Update(query, matcher, command["update"], command.get("arrayFilters"))
    collection = engine.storage.collection(command["$db"], name)
    found = None
    if collection is not None:
        order = natural_or_sorted(command.get("sort"))
        found = next(search.find(engine.storage, collection, matcher, order, 0, 1), None)
    outcome: Reply = {"n": int(found is not None)}
    value: dict[str, Any] | None = None
    if change is None:
        if found is not None and collection is not None:
            engine.storage.delete(collection, found[0], found[1])
            value = found[1]
    else:
        outcome, value = _modify(engine, command, name, found, change)
    if value is not None and project is not None:
        value = project(value)
    return {"lastErrorObject": outcome, "value": value, "ok": 1.0}


def _modify(
    engine: Engine, command: dict[str, Any], name: str, found: search.Found | None, change: Update
) -> tuple[Reply, dict[str, Any] | None]:
    updater = _Updater(engine, command, name)
    outcome: Reply = {"n": int(found is not None), "updatedExisting": found is not None}
    if found is not None:
        collection = engine.storage.ensure(command["$db"], name)
        updater.change(collection, found, change)
        raw = engine.storage.document(collection, found[0])
        return outcome, decode(raw) if command.get("new") and raw is not None else found[1]
    if not command.get("upsert"):
        return outcome, None
    new = updater.upsert(change)
    outcome.update({"n": 1, "upserted": new["_id"]})
    return outcome, new if command.get("new") else None


WRITE_COMMANDS = {
    "insert": insert,
    "update": update,
    "delete": delete,
    "findAndModify": find_and_modify,
    "findandmodify": find_and_modify,
}
