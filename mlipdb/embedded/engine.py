"""Carrying out commands: one at a time, each that writes as one transaction."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

from mlipdb.embedded.adapter import Matcher, translate
from mlipdb.embedded.commands_admin import ADMIN_COMMANDS, LOCK_FREE_COMMANDS, SCHEMA_COMMANDS
from mlipdb.embedded.commands_read import READ_COMMANDS, aggregate
from mlipdb.embedded.commands_write import WRITE_COMMANDS
from mlipdb.embedded.cursors import Cursors
from mlipdb.embedded.failures import (
    COMMAND_NOT_FOUND,
    ILLEGAL_OPERATION,
    INTERNAL,
    OUT_OF_DISK_SPACE,
    CommandError,
    unsupported,
)
from mlipdb.embedded.search import matching
from mlipdb.embedded.storage import Collection, Storage
from mlipdb.embedded.wire import Message

__all__ = ["Engine"]

_log = logging.getLogger(__name__)


class Engine:
    """The database behind the sockets.

    Parameters
    ----------
    directory
        Data folder.
    """

    def __init__(self, directory: Path) -> None:
        self.storage = Storage(directory)
        self.cursors = Cursors()
        self._lock = threading.Lock()
        self._closed = False

    def execute(self, message: Message) -> dict[str, Any]:
        """Reply to a message; every failure is a reply, too.

        Raises
        ------
        ConnectionAbortedError
            The server is ending; the connection should be closed.
        """
        name = next(iter(message.command), "")
        if name in LOCK_FREE_COMMANDS:
            # Answered at once however long another command takes, or clients would think the server dead.
            return ADMIN_COMMANDS[name](self, message.command)
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("the server is ending")
            try:
                return self._dispatch(name, message)
            except sqlite3.Error as error:
                _log.exception("%s failed on the database file", name)
                return _file_error(error).reply()
            except MemoryError:
                return CommandError(INTERNAL, f"{name} needs more memory than there is").reply()
            except Exception as error:  # noqa: BLE001 - the client is told, the server lives on
                if not isinstance(error, CommandError):
                    _log.warning("%s failed: %r", name, error)
                return translate(error).reply()

    def _dispatch(self, name: str, message: Message) -> dict[str, Any]:
        command = message.command
        if command.get("startTransaction") or "autocommit" in command:
            text = "Transaction numbers are only allowed on a replica set member or mongos"
            raise CommandError(ILLEGAL_OPERATION, text)
        if name in READ_COMMANDS:
            return READ_COMMANDS[name](self, command)
        if name in ADMIN_COMMANDS:
            return ADMIN_COMMANDS[name](self, command)
        if name == "aggregate":
            return self._aggregate(command)
        if name in WRITE_COMMANDS:
            with self.storage.transaction():
                return WRITE_COMMANDS[name](self, command, message.raw)
        if name in SCHEMA_COMMANDS:
            with self.storage.transaction():
                return SCHEMA_COMMANDS[name](self, command)
        if name in ("commitTransaction", "abortTransaction"):
            raise CommandError(ILLEGAL_OPERATION, "transactions need a replica set; this is a single server")
        if name in ("mapReduce", "getLog", "validate", "collMod", "fsync", "bulkWrite"):
            raise unsupported(f"the command {name}")
        raise CommandError(COMMAND_NOT_FOUND, f"no such command: '{name}'")

    def _aggregate(self, command: dict[str, Any]) -> dict[str, Any]:
        pipeline = command.get("pipeline")
        last = pipeline[-1] if isinstance(pipeline, list) and pipeline else {}
        if isinstance(last, dict) and ("$out" in last or "$merge" in last):
            with self.storage.transaction():
                return aggregate(self, command)
        return aggregate(self, command)

    def tick(self) -> None:
        """Close forgotten cursors and delete expired documents; to be called every minute or so."""
        with self._lock:
            self.cursors.expire()
            for database, name in self.storage.names():
                collection = self.storage.collection(database, name)
                if collection is not None and any(
                    "expireAfterSeconds" in i.options for i in collection.indexes.values()
                ):
                    with self.storage.transaction():
                        self._expire(collection)

    def _expire(self, collection: Collection) -> None:
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        for index in list(collection.indexes.values()):
            seconds = index.options.get("expireAfterSeconds")
            if seconds is None or len(index.fields) != 1:
                continue
            path = index.fields[0][0]
            matcher = Matcher({path: {"$lte": now - dt.timedelta(seconds=float(seconds))}})
            for number, document, _ in list(matching(self.storage, collection, matcher)):
                if index.partial is None or index.partial(document):
                    self.storage.delete(collection, number, document)

    def close(self) -> None:
        """Finish the command that runs, and close the file."""
        with self._lock:
            self._closed = True
            self.storage.close()


def _file_error(error: sqlite3.Error) -> CommandError:
    text = str(error)
    if "full" in text:
        return CommandError(
            OUT_OF_DISK_SPACE, f"the database file cannot grow ({text}); nothing of the command was kept"
        )
    if isinstance(error, sqlite3.DataError) or "too big" in text:
        return CommandError(INTERNAL, f"the database file cannot hold this: {text}")
    return CommandError(INTERNAL, f"the database file cannot be used ({text}); nothing of the command was kept")
