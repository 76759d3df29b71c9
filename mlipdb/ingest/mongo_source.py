"""Tasks straight from a collection of another MongoDB database, in batches; the next run takes what is new."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.ingest.bson_values import plain, text_of_id
from mlipdb.ingest.files import Record
from mlipdb.ingest.gridfs_values import atomate_parts, blobs_in
from mlipdb.ingest.jobflow_blobs import blob_ids, resolve
from mlipdb.ingest.mongo_watermark import DATE_FIELDS, Watermark, changed_at
from mlipdb.ingest.prepare import prepare
from mlipdb.ingest.writer import AddReport, TaskWriter
from mlipdb.stores import Database

if TYPE_CHECKING:
    from pymongo.database import Database as MongoDatabase

__all__ = ["add_collection", "is_address", "source_name"]

Raw = dict[str, Any]
ADDRESS = re.compile(r"^(?P<scheme>mongodb(?:\+srv)?)://(?:.*@)?(?P<hosts>[^/@]*)(?:/(?P<name>[^?]*))?(?:\?.*)?$", re.S)
#: Documents whose ids and dates are looked at together.
PAGE = 200
#: Documents in memory together: each has up to 16 MB, and its blobs.
CHUNK = 8


def is_address(text: str) -> bool:
    """Whether a text is the address of a MongoDB database."""
    return text.startswith(("mongodb://", "mongodb+srv://"))


def source_name(address: str, collection: str) -> str:
    """How a collection of a database is called in documents: hosts, database and collection, nothing secret.

    Raises
    ------
    UsageError
        If the address does not name a database.
    """
    found = ADDRESS.match(address)
    if found is None or not found["name"]:
        raise UsageError("the address names no database; write mongodb://host:port/name, the name at the end")
    return f"{found['scheme']}://{found['hosts']}/{found['name']}.{collection}"


def add_collection(
    database: Database,
    address: str,
    collection: str | None,
    *,
    query: str | None = None,
    data_collection: str | None = None,
    group: str | None = None,
    replace_others: bool = False,
    from_start: bool = False,
    report: AddReport | None = None,
    advance: Callable[[int], None] | None = None,
) -> AddReport:
    """Take the documents of a collection that are new, or have changed, since the last time.

    Documents are read in the order of ``_id``, a few in memory at a time.  Every document is written
    before the watermark moves, and the tasks tell which documents are in: a run that is cut off goes on
    where it was, and neither loses nor doubles one.

    Parameters
    ----------
    database
        Where tasks are written.
    address
        ``mongodb://user:password@host:port/name``; its user and password are stored and shown nowhere.
    collection
        Collection of task documents.
    query
        MongoDB filter as (Extended) JSON; it has a watermark of its own.
    data_collection
        Collection, or GridFS bucket, of jobflow's additional store.
    group
        Owner written into the tasks.
    replace_others
        Let new content replace tasks that came from elsewhere.
    from_start
        Read everything again: also what carries no date and was changed in place, or was refused before.
    report
        Counts to go on with; new ones by default.
    advance
        Called with the number of documents just finished.

    Raises
    ------
    UsageError
        If the address names no database, the query is no filter, or there is no such collection.
    DatabaseError
        If the other database does not answer, or refuses.
    """
    wanted = _filter(query)
    name = source_name(address, collection or "")
    report = report if report is not None else AddReport()
    with Database(address) as other:
        with other.errors():
            chosen = _chosen(other, collection, data_collection)
            lookup = blobs_in(other.db, data_collection) if data_collection else None
        name = source_name(address, chosen)
        watermark = Watermark(database, name, _text(wanted), data_collection, rereads=from_start)
        reader = _Reader(other, chosen, name, lookup)
        writer = TaskWriter(database, group, report, replace_others)
        if watermark.resumed:
            # A run that was killed may have written tasks without saying so.
            database.touch("tasks")
        try:
            _pass(database, reader, writer, watermark, wanted, advance)
        finally:
            if report.added or report.updated:
                database.touch("tasks")
    return report


def _filter(query: str | None) -> Raw:
    from bson import json_util
    from bson.errors import BSONError

    if query is None:
        return {}
    try:
        # Dates as the server keeps them; a wrong $oid or $date is told by the class of its error alone.
        loaded = json_util.loads(query, json_options=json_util.JSONOptions(tz_aware=False))
    except (ValueError, TypeError, BSONError) as error:
        raise UsageError(f"{query!r:.200} is no JSON: {error}; write a MongoDB filter in JSON") from None
    if not isinstance(loaded, dict):
        raise UsageError(f"{query!r:.200} is no MongoDB filter; an object is needed")
    return loaded


def _text(wanted: Raw) -> str:
    from bson import json_util

    return str(json_util.dumps(wanted, json_options=json_util.CANONICAL_JSON_OPTIONS, sort_keys=True))


def _chosen(other: Database, collection: str | None, data_collection: str | None) -> str:
    """The collection to read, if it and the one of the blobs are there."""
    names = sorted(other.db.list_collection_names())
    listed = ", ".join(names[:20]) or "none at all"
    if collection is None:
        raise UsageError(f"say which collection holds the tasks with `--collection NAME`; there are {listed}")
    if collection not in names:
        raise UsageError(f"there is no collection {collection!r} in that database; there are {listed}")
    if data_collection is not None and not {data_collection, f"{data_collection}.files"} & set(names):
        raise UsageError(f"there is no collection or bucket {data_collection!r} in that database; there are {listed}")
    return collection


def _pass(
    database: Database,
    reader: _Reader,
    writer: TaskWriter,
    watermark: Watermark,
    wanted: Raw,
    advance: Callable[[int], None] | None,
) -> None:
    for page in reader.stubs(watermark.query(wanted)):
        known, refused = _known(database, reader.name, page)
        if watermark.first:  # what was refused is tried again
            known = {item: date for item, date in known.items() if item not in refused}
        if watermark.state.pass_rereads:
            known = {}
        fresh = [stub for stub in page if _item(stub) not in known or known[_item(stub)] != changed_at(stub)]
        writer.report.unchanged += len(page) - len(fresh)
        for records in reader.records(fresh):
            for record in records:
                if record.item in refused:
                    writer.recovered(record)
            writer.write([prepare(record) for record in records])
            if advance is not None:
                for _ in records:
                    advance(1)
        dates = [date for date in map(changed_at, page) if date is not None]
        watermark.advance([stub["_id"] for stub in page], max(dates, default=None))
    watermark.finish()


def _item(stub: Raw) -> str:
    return text_of_id(stub["_id"])


def _known(database: Database, name: str, page: list[Raw]) -> tuple[dict[str, datetime | None], set[str]]:
    """Documents of a page that were read before, with the date they had, and those of them that were refused."""
    query: Raw = {"source.path": name, "source.item": {"$in": [_item(stub) for stub in page]}}
    found = list(database.collection("tasks").find(query, {"source": 1, "state": 1, "_id": 0}))
    known = {task["source"]["item"]: task["source"].get("changed") for task in found}
    return known, {task["source"]["item"] for task in found if task["state"] == "failed"}


class _Reader:
    """Reads one collection of another database."""

    def __init__(
        self, other: Database, collection: str, name: str, lookup: Callable[[list[str]], dict[str, Any]] | None
    ) -> None:
        from bson.codec_options import CodecOptions, DatetimeConversion

        # One document with a broken text, or a date out of all bounds, must not end the reading of all.
        options: CodecOptions[Raw] = CodecOptions(
            tz_aware=True, unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
        )
        self._other = other
        self._database: MongoDatabase[Raw] = other.db.with_options(codec_options=options)
        self._collection = self._database[collection]
        self._lookup = lookup
        self.name = name

    def stubs(self, query: Raw) -> Iterator[list[Raw]]:
        """Ids and dates of the documents of a query in the order of their ids, a page at a time."""
        fields = {"_id": 1, **dict.fromkeys(DATE_FIELDS, 1)}
        with self._other.errors():
            cursor = self._collection.find(query, fields, batch_size=PAGE).sort("_id", 1)
        with closing(cursor):
            while True:
                with self._other.errors():
                    page = list(islice(cursor, PAGE))
                if not page:
                    return
                yield page

    def records(self, stubs: Iterable[Raw]) -> Iterator[list[Record]]:
        """The documents of some stubs, with their blobs, in JSON's words; a few at a time."""
        stubs = iter(stubs)
        while chunk := list(islice(stubs, CHUNK)):
            ids = [stub["_id"] for stub in chunk]
            with self._other.errors():
                found = list(self._collection.find({"_id": {"$in": ids}}, batch_size=CHUNK).sort("_id", 1))
                blobs = self._blobs([name for document in found for name in blob_ids(document)])
            yield [self._record(document, blobs) for document in found]

    def _blobs(self, names: list[str]) -> dict[str, Any]:
        if self._lookup is None or not names:
            return {}
        return self._lookup(names)

    def _record(self, document: Raw, blobs: dict[str, Any]) -> Record:
        item, changed = text_of_id(document.pop("_id")), changed_at(document)
        record = Record(Path(self.name), item, None, address=self.name, changed=changed)

        def find_blob(name: str) -> Any:
            if name not in blobs:  # a blob inside a blob
                with self._other.errors():
                    blobs.update(self._blobs([name]))
            return blobs[name]

        try:
            with self._other.errors():
                atomate_parts(self._database, document)
            return replace(record, raw=plain(resolve(document, find_blob)))
        except IngestError as error:
            problem = IngestError(f"{self.name} item {item}: {error.message}", reason=error.reason)
            return replace(record, problem=problem)
