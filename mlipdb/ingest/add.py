"""Taking raw tasks into the database, exactly as they came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlipdb.artifacts import Artifacts
from mlipdb.errors import IngestError
from mlipdb.ingest.files import Record, count_others, find_files, read_records
from mlipdb.ingest.interpret import recognise
from mlipdb.schemas.common import ArtifactRef, Failure, utc_now
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.task import Task, TaskSource
from mlipdb.stores import Database

__all__ = ["AddReport", "add_paths", "raw_hash"]

#: A raw task above this becomes a file: MongoDB takes documents up to 16 MB.
MAX_INLINE = 15 * 1024 * 1024
#: MongoDB nests documents up to 100 levels; a task adds some of its own.
MAX_DEPTH = 90


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
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)
    formats: dict[str, int] = field(default_factory=dict)
    others: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": len(self.problems),
            "formats": self.formats,
            "problems": self.problems,
            "other_files": self.others,
        }


def raw_hash(raw: dict[str, Any]) -> str:
    """SHA-256 of a raw task; unlike keys it may hold NaN, which a producer did write."""
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def add_paths(
    database: Database,
    paths: Iterable[Path],
    *,
    group: str | None = None,
    replace: bool = False,
    advance: Callable[[int], None] | None = None,
) -> AddReport:
    """Read every task below some paths and keep it.

    A task that is there already with the same content is left alone; one with new content replaces
    the old if it comes from the same file, and is refused if it comes from another one.  What cannot
    be read becomes a failed entry that names its file, and goes away when that file is read without a
    problem.

    Parameters
    ----------
    database
        Open database.
    paths
        Files and folders.
    group
        Owner written into the tasks.
    replace
        Let new content replace the old whichever file it comes from.
    advance
        Called with the number of items just finished.
    """
    report = AddReport()
    writer = _Writer(database, group, report, replace)
    try:
        for path in paths:
            _add_path(writer, path, advance)
    finally:
        if report.added or report.updated:
            database.touch("tasks")
    return report


def _add_path(writer: _Writer, path: Path, advance: Callable[[int], None] | None) -> None:
    try:
        files = find_files(path)
    except IngestError as error:
        writer.reject(Record(path, "", None, error))
        return
    writer.accept(path)
    writer.leave(count_others(path))
    for file in files:
        for record in read_records(file):
            writer.take(record)
            if advance is not None:
                advance(1)
        writer.forget(file)


class _Writer:
    def __init__(self, database: Database, group: str | None, report: AddReport, replace: bool) -> None:
        self._tasks = database.collection("tasks")
        self._artifacts = Artifacts(database)
        self._database = database
        self._group = group
        self._report = report
        self._replace = replace
        self._seen: dict[str, tuple[str, str]] = {}
        self._rejected: set[str] = set()

    def take(self, record: Record) -> None:
        if record.problem is not None or record.raw is None:
            self.reject(record)
            return
        try:
            self._store(record, record.raw)
        except IngestError as error:
            self.reject(Record(record.path, record.item, None, error))

    def _store(self, record: Record, raw: dict[str, Any]) -> None:
        place = f"{_text(record.path.name)} item {record.item}"
        try:
            source_format, task_id = recognise(raw)
        except IngestError as error:
            raise IngestError(f"{place}: {error.message}", reason=error.reason) from None
        size = _stored_size(raw, place)
        digest = raw_hash(raw)
        if task_id in self._seen and self._seen[task_id][0] != digest:
            raise IngestError(
                f"{place}: the task_id {task_id!r} stands already in {self._seen[task_id][1]} with other content; "
                "give one of the two its own task_id",
                reason="duplicate_id",
            )
        old = self._tasks.find_one({"task_id": task_id}, {"content_hash": 1, "source": 1})
        same = old is not None and old.get("content_hash") == digest
        if old is not None and not same and not self._replace:
            _require_same_file(place, task_id, record.path, old["source"])
        self._seen[task_id] = (digest, place)
        if same:
            self._report.unchanged += 1
            return
        task = Task(
            task_id=task_id,
            source=TaskSource(format=source_format, path=_address(record.path), item=record.item),
            content_hash=digest,
            group=self._group,
            **({"raw": raw} if size <= MAX_INLINE else {"raw_artifact": self._as_file(raw)}),
        )
        self._database.replace("tasks", task.to_bson())
        self._report.formats[source_format] = self._report.formats.get(source_format, 0) + 1
        if old is None:
            self._report.added += 1
        else:
            self._report.updated += 1

    def _as_file(self, raw: dict[str, Any]) -> ArtifactRef:
        return self._artifacts.put("task.json", json.dumps(raw).encode())

    def reject(self, record: Record) -> None:
        """Keep a failed entry for an item that could not be taken."""
        problem = record.problem or IngestError(f"{record.path.name} holds nothing")
        message = _text(problem.message)
        self._report.problems.append(message)
        entry = Task(
            task_id=_rejection_id(record.path, record.item),
            state="failed",
            source=TaskSource(format="unknown", path=_address(record.path), item=record.item or None),
            failure=Failure(reason=problem.reason, message=message),
            group=self._group,
            last_updated=utc_now(),
        )
        self._rejected.add(entry.task_id)
        self._database.replace("tasks", entry.to_bson())

    def accept(self, path: Path) -> None:
        """Forget that a path was missing or empty."""
        self._tasks.delete_one({"task_id": _rejection_id(path, ""), "state": "failed"})

    def leave(self, number: int) -> None:
        """Count files that are not read."""
        self._report.others += number

    def forget(self, file: Path) -> None:
        """Forget earlier failures in a file that has just been read, but for those of this time."""
        query = {"source.path": _address(file), "state": "failed"}
        old = {entry["task_id"] for entry in self._tasks.find(query, {"task_id": 1})}
        for task_id in sorted(old - self._rejected):
            self._tasks.delete_one({"task_id": task_id})


def _require_same_file(place: str, task_id: str, path: Path, source: dict[str, Any]) -> None:
    """Raise unless a task with new content comes from the file that its old content came from."""
    if source["path"] != _address(path):
        raise IngestError(
            f"{place}: the task_id {task_id!r} came first from {source['path']} item {source.get('item')} with other "
            "content; give one of the two its own task_id, or say `--replace` to take this one",
            reason="duplicate_id",
        )


def _stored_size(raw: dict[str, Any], place: str) -> int:
    """Bytes of a raw task in MongoDB.

    Raises
    ------
    IngestError
        If MongoDB could not keep it as it is.
    """
    import bson
    from bson.errors import BSONError

    try:
        size = len(bson.encode(raw))
    except (BSONError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise IngestError(f"{place}: cannot be stored in MongoDB: {error}", reason="not_storable") from None
    if _depth(raw) > MAX_DEPTH:
        raise IngestError(
            f"{place}: is nested more than {MAX_DEPTH} levels deep, which MongoDB does not store", reason="not_storable"
        )
    return size


def _depth(value: Any) -> int:
    """Levels of mappings and lists."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _text(value: object) -> str:
    """Text that can be stored: what is no Unicode (file names may be any bytes) is written as an escape."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _address(path: Path) -> str:
    """Absolute path: two files of one name in two folders are not the same file."""
    return _text(path.absolute())


def _rejection_id(path: Path, item: str) -> str:
    return make_key("rejected", {"path": _address(path), "item": item})
