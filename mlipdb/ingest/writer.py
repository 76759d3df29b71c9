"""Writing tasks in batches, and counting what became of each item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlipdb.artifacts import Artifacts
from mlipdb.errors import IngestError
from mlipdb.ingest.files import Record
from mlipdb.ingest.phonopy_file import EXTERNAL
from mlipdb.ingest.prepare import (
    MAX_INLINE,
    Prepared,
    Understood,
    address_of,
    path_address,
    place_of,
    prepare,
    refused,
    storable,
)
from mlipdb.ingest.sources import is_source
from mlipdb.schemas.common import ArtifactRef, Failure, utc_now
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.task import Task, TaskSource
from mlipdb.stores import Database

__all__ = ["AddReport", "TaskWriter"]

Raw = dict[str, Any]
#: MongoDB's code for a key that is there already.
DUPLICATE_KEY = 11000
#: An id that is a hash of what was calculated: such a task has no name that stays when its content is corrected.
CONTENT_ID = re.compile(r"[a-z_]+-[0-9a-f]{20}")
#: Reasons after which some of a file was not read, so that nobody knows which of its tasks are in it no more.
NOT_WHOLE = frozenset({"truncated", "worker_died", "unreadable", "no_file", "bad_extxyz", "no_json", "too_large"})


@dataclass
class AddReport:
    """What `add_paths` did.

    Attributes
    ----------
    added, updated, unchanged
        Numbers of tasks.
    problems
        One sentence for each item that was not taken.
    formats
        Number of tasks taken of each format.
    others
        Number of other files in the folders, left alone.
    understood
        What each of the first items was taken for, or all.
    groups
        Number of items of each format, formula, kind, level and problem.
    keep
        Number of items of which `understood` tells; None for all.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    formats: dict[str, int] = field(default_factory=dict)
    others: int = 0
    understood: list[Understood] = field(default_factory=list)
    groups: dict[tuple[str | int | None, ...], int] = field(default_factory=dict)
    keep: int | None = 40

    def note(self, item: Understood, *, refused: bool = False) -> None:
        """Count what an item was taken for."""
        if self.keep is None or len(self.understood) <= self.keep:  # one more than fits tells that there are more
            self.understood.append(item)
        # Refused items are told one by one; a group of each sentence would grow with their number.
        problem = "not taken" if refused else "no configuration as it is" if item.problem else None
        group = (item.format, item.formula, item.n_atoms, item.kind, item.level, problem)
        self.groups[group] = self.groups.get(group, 0) + 1

    def told(self) -> list[Raw]:
        """What was understood: each item, or each group of equal ones where there are too many."""
        names = ("format", "formula", "n_atoms", "kind", "level", "problem")
        if self.keep is None or len(self.understood) <= self.keep:
            return [
                {"place": item.place, **{name: getattr(item, name) for name in names}, "count": 1}
                for item in self.understood
            ]
        return [
            {"place": None, **dict(zip(names, group, strict=True)), "count": count}
            for group, count in self.groups.items()
        ]

    def as_dict(self) -> Raw:
        """Plain values for `--json`."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": len(self.problems),
            "formats": self.formats,
            "problems": self.problems,
            "other_files": self.others,
            "understood": self.told(),
        }


class TaskWriter:
    """Writes records into `tasks` and counts what became of each.

    Parameters
    ----------
    database
        Open database.
    group
        Owner written into the tasks.
    report
        Where everything is counted.
    replace
        Let new content replace the old wherever it comes from.
    """

    def __init__(self, database: Database, group: str | None, report: AddReport, replace: bool) -> None:
        self.report = report
        self._tasks = database.collection("tasks")
        self._artifacts = Artifacts(database)
        self._group = group
        self._replace = replace
        self._seen: dict[str, tuple[str, str]] = {}
        self._rejected: set[str] = set()
        self._corrected: dict[str, dict[str, tuple[str, bool]]] = {}
        self._not_whole: set[str] = set()

    def take(self, record: Record) -> None:
        """Write one record; `write` takes many at once, which is much faster."""
        self.write([prepare(record)])

    def reject(self, record: Record) -> None:
        """Keep a failed entry for an item that could not be taken."""
        self.write([refused(record, record.problem or IngestError(f"{place_of(record)} holds nothing"))])

    def write(self, batch: Sequence[Prepared]) -> None:
        """Write items together: one look at what is there, and one write."""
        from pymongo import InsertOne, ReplaceOne, UpdateOne

        wanted = sorted({item.task_id for item in batch if item.record.problem is None})
        fields = {"task_id": 1, "content_hash": 1, "source": 1}
        there = (
            {doc["task_id"]: doc for doc in self._tasks.find({"task_id": {"$in": wanted}}, fields)} if wanted else {}
        )
        operations: list[InsertOne[Raw] | ReplaceOne[Raw] | UpdateOne] = []
        self._note_corrected(batch, there)
        for item in batch:
            # To insert is faster than to look for what might be replaced.
            new = item.record.problem is None and item.task_id not in there
            try:
                document, touched = self._decide(item, there)
            except IngestError as error:
                document, touched, new = self._rejection(refused(item.record, error)), None, False
            if document is not None and new:
                operations.append(InsertOne(document))
            elif document is not None:
                operations.append(ReplaceOne({"task_id": document["task_id"]}, document, upsert=True))
            elif touched is not None:
                operations.append(UpdateOne({"task_id": item.task_id}, {"$set": touched}))
        if operations:
            self._apply(operations)

    def _apply(self, operations: list[Any]) -> None:
        """Write all; what somebody else inserted in between is written over, as it was a moment before."""
        from pymongo import InsertOne, ReplaceOne
        from pymongo.errors import BulkWriteError

        try:
            self._tasks.bulk_write(operations)
            return
        except BulkWriteError as error:
            if any(failure.get("code") != DUPLICATE_KEY for failure in (error.details or {}).get("writeErrors", [{}])):
                raise
        documents = [(each, each._doc) for each in operations if isinstance(each, InsertOne)]
        by_id = {id(each): ReplaceOne({"task_id": doc["task_id"]}, _fresh(doc), upsert=True) for each, doc in documents}
        self._tasks.bulk_write([by_id.get(id(each), each) for each in operations])

    def _note_corrected(self, batch: Sequence[Prepared], there: Mapping[str, Raw]) -> None:
        """Note the tasks that stand where these items now stand, under the hash of what stood there before.

        They go once the whole file was read (`forget`), but for those that are still somewhere in it.
        """
        made = [item for item in batch if item.record.problem is None and _has_content_id(item)]
        if not made:
            return
        places = [
            # A file holds one task of a potential, whichever row of a manifest names it.
            {"source.path": address_of(item.record), "source.format": item.format}
            | ({} if item.format == EXTERNAL else {"source.item": item.record.item})
            for item in made
        ]
        fields = {"task_id": 1, "source": 1, "raw.potential.potential_id": 1, "raw_artifact": 1}
        found: dict[Any, list[Raw]] = {}
        for task in self._tasks.find({"state": "complete", "$or": places}, fields):
            if CONTENT_ID.fullmatch(task["task_id"]):
                found.setdefault(_spot(task["source"]), []).append(task)
        for item in made:
            record = item.record
            spot = _spot({"path": address_of(record), "item": record.item, "format": item.format})
            for old in found.get(spot, ()):
                if old["task_id"] != item.task_id and self._is_same_potential(item, old):
                    noted = self._corrected.setdefault(address_of(record), {})
                    noted[old["task_id"]] = (item.task_id, item.task_id not in there)

    def _is_same_potential(self, item: Prepared, old: Raw) -> bool:
        """Whether two tasks at one place are of one potential, or of none."""
        from bson.raw_bson import RawBSONDocument

        if item.format != EXTERNAL:
            return True
        raw = old.get("raw") or {}
        if old.get("raw_artifact"):
            raw = json.loads(self._artifacts.get(ArtifactRef.model_validate(old["raw_artifact"])))
        new = RawBSONDocument(item.content)["potential"]["potential_id"]
        return bool((raw.get("potential") or {}).get("potential_id") == new)

    def _replace_corrected(self, address: str) -> None:
        """Remove the tasks that a file held before it was corrected."""
        noted = self._corrected.pop(address, {})
        gone = {old: new for old, new in noted.items() if old not in self._seen and new[0] in self._seen}
        if not gone or address in self._not_whole:
            return
        query = {"task_id": {"$in": sorted(gone)}}
        files = {task["raw_artifact"]["sha256"] for task in self._tasks.find({**query, "raw_artifact": {"$ne": None}})}
        self._tasks.delete_many(query)
        for sha256 in sorted(files):
            if self._tasks.find_one({"raw_artifact.sha256": sha256}, {"task_id": 1}) is None:
                self._artifacts.delete(sha256)
        for _, added in set(gone.values()):
            if added:
                self.report.added -= 1
            else:
                self.report.unchanged -= 1
            self.report.updated += 1

    def _decide(self, item: Prepared, there: dict[str, Raw]) -> tuple[Raw | None, Raw | None]:
        """The document to write for an item, or what to set in one that is there already; and count it."""
        if item.record.problem is not None:
            return self._rejection(item), None
        record, old = item.record, there.get(item.task_id)
        same = old is not None and old.get("content_hash") == item.digest
        self._require_own_id(item, old, same)
        first = item.task_id not in self._seen
        if record.address is None:  # a database may hold too many to remember: there the item must be the same
            self._seen.setdefault(item.task_id, (item.digest, place_of(record)))
        self.report.note(item.understood)
        if same and old is not None:
            self.report.unchanged += 1
            return None, _new_source(item, old["source"], first=first)
        document = self._task(item)
        there[item.task_id] = {"content_hash": item.digest, "source": document["source"]}
        self.report.formats[item.format] = self.report.formats.get(item.format, 0) + 1
        if old is None:
            self.report.added += 1
        else:
            self.report.updated += 1
        return document, None

    def _require_own_id(self, item: Prepared, old: Raw | None, same: bool) -> None:
        """Raise unless new content under a known id comes from the file, or the document, of the old."""
        record, place = item.record, place_of(item.record)
        if record.address is None and self._seen.get(item.task_id, (item.digest,))[0] != item.digest:
            raise IngestError(
                f"{place}: the task_id {item.task_id!r} stands already in {self._seen[item.task_id][1]} with other "
                "content; give one of the two its own task_id",
                reason="duplicate_id",
            )
        if old is None or same or self._replace:
            return
        source = old["source"]
        other_item = record.address is not None and source.get("item") != record.item
        if source["path"] != address_of(record) or other_item:
            raise IngestError(
                f"{place}: the task_id {item.task_id!r} came first from {source['path']} item {source.get('item')} "
                "with other content; give one of the two its own task_id, or say `--replace` to take this one",
                reason="duplicate_id",
            )

    def _task(self, item: Prepared) -> Raw:
        from bson import decode
        from bson.raw_bson import RawBSONDocument

        record, large = item.record, len(item.content) > MAX_INLINE
        source = TaskSource(format=item.format, path=address_of(record), item=record.item, changed=record.changed)
        content: Raw = {"raw": {}}
        if large:
            text = json.dumps(decode(item.content), default=str)
            content = {"raw_artifact": self._artifacts.put("task.json", text.encode())}
        task = Task(task_id=item.task_id, source=source, content_hash=item.digest, group=self._group, **content)
        document = task.to_bson()
        if not large:
            document["raw"] = RawBSONDocument(item.content)  # encoded once, in the process that read it
        return document

    def _rejection(self, item: Prepared) -> Raw:
        record, problem = item.record, item.record.problem
        assert problem is not None
        message = storable(problem.message)
        self.report.problems.append(message)
        self.report.note(item.understood, refused=True)
        entry = Task(
            task_id=_rejection_id(address_of(record), record.item),
            state="failed",
            source=TaskSource(
                format="unknown", path=address_of(record), item=record.item or None, changed=record.changed
            ),
            failure=Failure(reason=problem.reason, message=message),
            group=self._group,
            last_updated=utc_now(),
        )
        self._rejected.add(entry.task_id)
        if problem.reason in NOT_WHOLE:
            self._not_whole.add(entry.source.path)
        return entry.to_bson()

    def recovered(self, record: Record) -> None:
        """Forget that an item of a database could not be taken before."""
        self._tasks.delete_one({"task_id": _rejection_id(address_of(record), record.item), "state": "failed"})

    def accept(self, path: Path) -> None:
        """Forget that a path was missing or empty."""
        self._tasks.delete_one({"task_id": _rejection_id(path_address(path), ""), "state": "failed"})

    def leave(self, number: int) -> None:
        """Count files that are not read."""
        self.report.others += number

    def forget(self, *files: Path) -> None:
        """Files have been read to their end: forget earlier failures in them, and the tasks of corrected items.

        Failures of this time stay.
        """
        addresses = sorted({path_address(file) for file in files})
        for address in addresses:
            self._replace_corrected(address)
        self.forget_addresses(addresses)

    def forget_addresses(self, addresses: Iterable[str]) -> None:
        """The same by what `source.path` says."""
        query = {"source.path": {"$in": sorted(set(addresses))}, "state": "failed"}
        old = {entry["task_id"] for entry in self._tasks.find(query, {"task_id": 1})}
        gone = sorted(old - self._rejected)
        if gone:
            self._tasks.delete_many({"task_id": {"$in": gone}})


def _fresh(document: Any) -> Raw:
    """A document without the key that inserting it has added."""
    return {key: value for key, value in document.items() if key != "_id"}


def _new_source(item: Prepared, source: Raw, *, first: bool) -> Raw | None:
    """What to set in a task whose content is the same: the date it was touched, or its new place in its file."""
    record = item.record
    if source["path"] != address_of(record):
        return None
    if source.get("item") == record.item:
        return {"source.changed": record.changed} if source.get("changed") != record.changed else None
    # Frames before it may have come or gone; of several equal ones the first is the task's place.
    return {"source.item": record.item} if first and _has_content_id(item) else None


def _has_content_id(item: Prepared) -> bool:
    """Whether a task of a file is named by the hash of its content, so that a correction gives it another name."""
    from_file = item.record.address is None and (is_source(item.format) or item.format == EXTERNAL)
    return from_file and CONTENT_ID.fullmatch(item.task_id) is not None


def _spot(source: Raw) -> tuple[str, str | None, str]:
    """Where a task stands: file, item and format."""
    item = None if source["format"] == EXTERNAL else source.get("item")
    return source["path"], item, source["format"]


def _rejection_id(source: str, item: str) -> str:
    return make_key("rejected", {"path": source, "item": item})
