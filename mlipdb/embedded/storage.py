"""Documents and index keys in one SQLite file.

A table ``d<n>`` per collection holds the documents as BSON under a running
number and under the order-preserving key of their ``_id``; a table ``x<n>`` per
index holds pairs of key and document number.  Every command that writes is one
transaction, on disk (``synchronous=FULL``) before it is acknowledged.
"""

# ruff: noqa: S608 - names of tables are made of numbers of the catalogue, values are bound

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bson
from bson import json_util

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.failures import DUPLICATE_KEY, OBJECT_TOO_LARGE, CommandError
from mlipdb.embedded.indexes import Index, index_from_specification
from mlipdb.embedded.launch import DATABASE_FILE, FORMAT_VERSION, check_format
from mlipdb.embedded.wire import CODEC, MAX_DOCUMENT_BYTES

__all__ = ["Collection", "Storage", "decode", "encode_document"]

_PAGE: Final = 64
_APPLICATION_ID: Final = 0x6D6C6970

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS collections(
    id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL,
    UNIQUE(db, name));
CREATE TABLE IF NOT EXISTS indexes(
    number INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL, name TEXT NOT NULL,
    specification TEXT NOT NULL,
    multikey INTEGER NOT NULL DEFAULT 0, cut INTEGER NOT NULL DEFAULT 0, UNIQUE(collection, name));
"""


def decode(raw: bytes) -> dict[str, Any]:
    """Document of its stored bytes."""
    return bson.decode(raw, CODEC)


def encode_document(document: dict[str, Any]) -> bytes:
    """Bytes of a document to be stored.

    Raises
    ------
    CommandError
        It is larger than 16 MB.
    """
    raw = bson.encode(document, codec_options=CODEC)
    check_size(raw)
    return raw


def check_size(raw: bytes) -> None:
    """Hold a document against the limit of 16 MB.

    Raises
    ------
    CommandError
        It is larger.
    """
    if len(raw) > MAX_DOCUMENT_BYTES:
        message = f"object too large: {len(raw)} bytes, at most {MAX_DOCUMENT_BYTES} are allowed; use GridFS"
        raise CommandError(OBJECT_TOO_LARGE, message)


@dataclass
class Collection:
    """A collection that exists, as the catalogue describes it."""

    number: int
    database: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)

    def __post_init__(self) -> None:
        off = self.options.get("validationLevel") == "off" or self.options.get("validationAction") == "warn"
        declared = None if off else self.options.get("validator")
        self.validator = Matcher(declared) if declared else None
        self.table = f"d{self.number}"

    @property
    def full_name(self) -> str:
        """Name with that of its database."""
        return f"{self.database}.{self.name}"


class Storage:
    """The database file.

    Parameters
    ----------
    directory
        Data folder.

    Raises
    ------
    EmbeddedError
        The file was written by a newer version of the format.
    sqlite3.Error
        The file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / DATABASE_FILE
        check_format(path)
        # One connection under the server's lock: SQLite has one writer anyway.
        self.sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # The version goes in before the log, so that it stands in the file itself; locking_mode spares the
        # shared memory, which network file systems lack.
        pragmas = [
            "locking_mode=EXCLUSIVE",
            f"application_id={_APPLICATION_ID}",
            f"user_version={FORMAT_VERSION}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "cache_size=-65536",
            "mmap_size=1073741824",
        ]
        for pragma in pragmas:
            self.sql.execute(f"PRAGMA {pragma}")
        self.sql.executescript(_SCHEMA)
        self._cache: dict[tuple[str, str], Collection | None] = {}

    def close(self) -> None:
        """Fold the log into the file and close it."""
        self.sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One command: all of it is kept, or nothing."""
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.sql.execute("COMMIT")
        except BaseException:
            self._cache.clear()
            # A full disk may have ended the transaction already.
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")
            raise

    @contextmanager
    def statement(self) -> Iterator[None]:
        """One statement of a command: undone on its own when it fails."""
        self.sql.execute("SAVEPOINT statement")
        try:
            yield
        except BaseException:
            self._cache.clear()
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK TO statement")
                self.sql.execute("RELEASE statement")
            raise
        self.sql.execute("RELEASE statement")

    # -- catalogue

    def collection(self, database: str, name: str) -> Collection | None:
        """Look up a collection; None when it does not exist."""
        key = (database, name)
        if key not in self._cache:
            self._cache[key] = self._load(database, name)
        return self._cache[key]

    def _load(self, database: str, name: str) -> Collection | None:
        row = self.sql.execute("SELECT id, options FROM collections WHERE db=? AND name=?", (database, name)).fetchone()
        if row is None:
            return None
        found = Collection(row[0], database, name, json_util.loads(row[1]))
        rows = self.sql.execute(
            "SELECT number, name, specification, multikey, cut FROM indexes WHERE collection=? ORDER BY number",
            (row[0],),
        )
        for number, index_name, specification, multikey, cut in rows.fetchall():
            index = index_from_specification(number, index_name, specification, bool(multikey), bool(cut))
            found.indexes[index_name] = index
        return found

    def create(self, database: str, name: str, options: dict[str, Any] | None = None) -> Collection:
        """Make a collection."""
        cursor = self.sql.execute(
            "INSERT INTO collections(db, name, options) VALUES(?, ?, ?)",
            (database, name, json_util.dumps(options or {})),
        )
        self.sql.execute(
            f"CREATE TABLE d{cursor.lastrowid}"
            "(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, document BLOB NOT NULL)"
        )
        self._cache.clear()
        return Collection(int(cursor.lastrowid or 0), database, name, options or {})

    def ensure(self, database: str, name: str) -> Collection:
        """Look up a collection, made now when it does not exist."""
        return self.collection(database, name) or self.create(database, name)

    def drop(self, collection: Collection) -> None:
        """Remove a collection with its documents and indexes."""
        for index in collection.indexes.values():
            self.sql.execute(f"DROP TABLE x{index.number}")
        self.sql.execute(f"DROP TABLE {collection.table}")
        self.sql.execute("DELETE FROM indexes WHERE collection=?", (collection.number,))
        self.sql.execute("DELETE FROM collections WHERE id=?", (collection.number,))
        self._cache.clear()

    def rename(self, collection: Collection, database: str, name: str) -> None:
        """Give a collection another name."""
        self.sql.execute("UPDATE collections SET db=?, name=? WHERE id=?", (database, name, collection.number))
        self._cache.clear()

    def names(self) -> list[tuple[str, str]]:
        """Databases and names of all collections, sorted."""
        return self.sql.execute("SELECT db, name FROM collections ORDER BY db, name").fetchall()

    # -- indexes

    def create_index(self, collection: Collection, index: Index) -> None:
        """Store an index and fill it with the documents there are.

        Raises
        ------
        CommandError
            The index is unique and two documents share a key.
        """
        cursor = self.sql.execute(
            "INSERT INTO indexes(collection, name, specification) VALUES(?, ?, ?)",
            (collection.number, index.name, index.specification()),
        )
        index.number = int(cursor.lastrowid or 0)
        self.sql.execute(
            f"CREATE TABLE x{index.number}"
            "(key BLOB NOT NULL, number INTEGER NOT NULL, PRIMARY KEY(key, number)) WITHOUT ROWID"
        )
        for number, raw in self.scan(collection):
            self._add_keys(collection, index, number, decode(raw))
        collection.indexes[index.name] = index

    def drop_index(self, collection: Collection, name: str) -> None:
        """Remove an index."""
        index = collection.indexes.pop(name)
        self.sql.execute(f"DROP TABLE x{index.number}")
        self.sql.execute("DELETE FROM indexes WHERE number=?", (index.number,))

    def _add_keys(self, collection: Collection, index: Index, number: int, document: dict[str, Any]) -> None:
        full, multikey = index.document_keys(document)
        kept = {key[: keys.MAX_KEY_BYTES] for key in full}
        if index.unique:
            self._check_unique(collection, index, number, full)
        cut = any(len(key) > keys.MAX_KEY_BYTES for key in full)
        if (multikey and not index.multikey) or (cut and not index.cut):
            index.multikey, index.cut = index.multikey or multikey, index.cut or cut
            self.sql.execute(
                "UPDATE indexes SET multikey=?, cut=? WHERE number=?",
                (index.multikey, index.cut, index.number),
            )
        self.sql.executemany(f"INSERT INTO x{index.number} VALUES(?, ?)", [(key, number) for key in kept])

    def _check_unique(self, collection: Collection, index: Index, number: int, full: set[bytes]) -> None:
        for key in full:
            rows = self.sql.execute(
                f"SELECT number FROM x{index.number} WHERE key=? AND number<>?",
                (key[: keys.MAX_KEY_BYTES], number),
            ).fetchall()
            for (other,) in rows:
                raw = self.document(collection, other)
                if len(key) <= keys.MAX_KEY_BYTES or (raw and key in index.document_keys(decode(raw))[0]):
                    raise _duplicate(collection, index.name, dict(index.fields), decode(raw) if raw else {})

    def _remove_keys(self, index: Index, number: int, document: dict[str, Any]) -> None:
        kept = {key[: keys.MAX_KEY_BYTES] for key in index.document_keys(document)[0]}
        self.sql.executemany(f"DELETE FROM x{index.number} WHERE key=? AND number=?", [(key, number) for key in kept])

    # -- documents

    def insert(self, collection: Collection, document: dict[str, Any], raw: bytes) -> None:
        """Store a new document.

        Raises
        ------
        CommandError
            Its ``_id``, or its key in a unique index, is taken.
        """
        identity = keys.encode(document["_id"])
        try:
            cursor = self.sql.execute(f"INSERT INTO {collection.table}(id, document) VALUES(?, ?)", (identity, raw))
        except sqlite3.IntegrityError as error:
            raise _duplicate(collection, "_id_", {"_id": 1}, document) from error
        for index in collection.indexes.values():
            self._add_keys(collection, index, int(cursor.lastrowid or 0), document)

    def replace(
        self, collection: Collection, number: int, old: dict[str, Any], document: dict[str, Any], raw: bytes
    ) -> None:
        """Store the new state of a document.

        Raises
        ------
        CommandError
            Its key in a unique index is taken.
        """
        self.sql.execute(f"UPDATE {collection.table} SET document=? WHERE number=?", (raw, number))
        for index in collection.indexes.values():
            if index.document_keys(old)[0] != index.document_keys(document)[0]:
                self._remove_keys(index, number, old)
                self._add_keys(collection, index, number, document)

    def delete(self, collection: Collection, number: int, document: dict[str, Any]) -> None:
        """Remove a document."""
        self.sql.execute(f"DELETE FROM {collection.table} WHERE number=?", (number,))
        for index in collection.indexes.values():
            self._remove_keys(index, number, document)

    def document(self, collection: Collection, number: int) -> bytes | None:
        """Bytes of the document of that number, None when it is gone."""
        row = self.sql.execute(f"SELECT document FROM {collection.table} WHERE number=?", (number,)).fetchone()
        return None if row is None else row[0]

    def documents(self, collection: Collection, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Those of the numbered documents that are there, in the order of the numbers."""
        for number in numbers:
            raw = self.document(collection, number)
            if raw is not None:
                yield number, raw

    def scan(self, collection: Collection) -> Iterator[tuple[int, bytes]]:
        """All documents in the order of insertion, read page by page so that writers may come between."""
        last = -1
        while True:
            rows = self.sql.execute(
                f"SELECT number, document FROM {collection.table} WHERE number>? ORDER BY number LIMIT {_PAGE}",
                (last,),
            ).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def count(self, collection: Collection) -> int:
        """Count the documents."""
        row = self.sql.execute(f"SELECT count(*) FROM {collection.table}").fetchone()
        return int(row[0])

    def size(self, collection: Collection) -> int:
        """Bytes of all documents."""
        row = self.sql.execute(f"SELECT coalesce(sum(length(document)), 0) FROM {collection.table}").fetchone()
        return int(row[0])


def _duplicate(collection: Collection, name: str, pattern: dict[str, Any], document: dict[str, Any]) -> CommandError:
    found = {path: _first(keys.path_values(document, path.split("."))) for path in pattern}
    shown = ", ".join(f"{path}: {value!r:.200}" for path, value in found.items())
    message = f"E11000 duplicate key error collection: {collection.full_name} index: {name} dup key: {{ {shown} }}"
    return CommandError(DUPLICATE_KEY, message, {"keyPattern": pattern, "keyValue": found})


def _first(values: list[Any]) -> Any:
    # Only what BSON can carry may be shown: a missing field is shown as null.
    return values[0] if isinstance(values[0], _SHOWN) else None


_SHOWN: Final = (str, int, float, bool, bytes, dict, bson.ObjectId, dt.datetime, bson.Decimal128)
