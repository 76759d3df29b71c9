"""Documents of jobflow's additional stores: parts of other documents, joined to them while files are read.

`mlipdb.ingest.jobflow_blobs` puts a part into its place; this is how files give the parts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.files import Record
from mlipdb.ingest.jobflow_blobs import blob_ids, resolve

__all__ = ["NAME", "interpret", "join_blobs", "recognises", "task_id_of"]

NAME = "jobflow_data"
Raw = dict[str, Any]


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a record is a part that another document refers to."""
    return isinstance(raw.get("blob_uuid"), str) and "data" in raw


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """``blob-`` and its uuid: it is no task, and is written as one only where nothing joins it."""
    return f"blob-{raw['blob_uuid']}" if raw["blob_uuid"] else None


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Say that it is a part of another document.

    Raises
    ------
    ConfigurationError
        Always, with the reason ``not_a_calculation``.
    """
    raise ConfigurationError(
        f"task {task_id}: is a part of job {raw.get('job_uuid')!s:.60} from an additional store of jobflow; add it "
        "together with the documents of the store's main collection",
        reason="not_a_calculation",
    )


def join_blobs(results: Generator[Raw], folder: Path, leave: Callable[[int], None]) -> Generator[Raw]:
    """Results of reading, with the parts from additional stores in their documents, which come last.

    Documents and parts may stand in any files of one call, in any order; they wait on disk.  A document
    whose part is not there goes on as it came, and is refused where it would become a configuration.

    Parameters
    ----------
    results
        Of `mlipdb.ingest.reading.read_work`; they are closed when this is.
    folder
        A temporary folder.
    leave
        Told the number of parts that no document asked for.
    """
    with closing(results), _Spool(folder / "blobs.sqlite") as spool:
        for result in results:
            result["prepared"] = [item for item in result["prepared"] if not _waits(item, spool)]
            yield result
        for record, content in spool.documents():
            yield {"prepared": [_joined(record, content, spool)]}
        leave(spool.unused())


def _waits(item: Any, spool: _Spool) -> bool:
    """Keep a part, or a document that needs some, for later."""
    if item.format == NAME and item.record.problem is None:
        spool.put_part(item.task_id.removeprefix("blob-"), item.content)
        return True
    if item.format != "jobflow" or b"blob_uuid" not in item.content or not blob_ids(_decode(item.content)):
        return False
    spool.put_document(item.record, item.content)
    return True


def _joined(record: Record, content: bytes, spool: _Spool) -> Any:
    from mlipdb.ingest.prepare import prepare

    raw = _decode(content)
    try:
        raw["output"] = resolve(raw["output"], spool.part)
    except IngestError as error:
        if error.reason != "blob_missing":
            return prepare(replace(record, problem=error))
    return prepare(replace(record, raw=raw))


def _decode(content: bytes) -> Raw:
    import bson

    return bson.decode(content)


class _Spool:
    """Parts and documents on disk; the file is made when the first comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None
        self._records: list[Record] = []
        self._used: set[str] = set()

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def _database(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = sqlite3.connect(self._path)
            self._file.execute("PRAGMA journal_mode = OFF")
            self._file.execute("CREATE TABLE parts (id TEXT PRIMARY KEY, content BLOB)")
            self._file.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, content BLOB)")
        return self._file

    def put_part(self, name: str, content: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO parts VALUES (?, ?)", (name, content))

    def put_document(self, record: Record, content: bytes) -> None:
        self._database.execute("INSERT INTO documents VALUES (?, ?)", (len(self._records), content))
        self._records.append(record)

    def documents(self) -> Generator[tuple[Record, bytes]]:
        for number, record in enumerate(self._records):
            (content,) = self._database.execute("SELECT content FROM documents WHERE number = ?", (number,)).fetchone()
            yield record, content

    def part(self, name: str) -> Any:
        """The ``data`` of a part; raises KeyError where it is not there."""
        found = None if self._file is None else self._one(name)
        if found is None:
            raise KeyError(name)
        self._used.add(name)
        return _decode(found)["data"]

    def _one(self, name: str) -> bytes | None:
        row = self._database.execute("SELECT content FROM parts WHERE id = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def unused(self) -> int:
        if self._file is None:
            return 0
        (number,) = self._database.execute("SELECT COUNT(*) FROM parts").fetchone()
        return int(number) - len(self._used)
