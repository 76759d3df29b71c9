"""Copying a whole database into another one, such as the embedded one into MongoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bson

from mlipdb.artifacts import Artifacts
from mlipdb.errors import DatabaseError
from mlipdb.stores import COLLECTIONS, Database

__all__ = ["CopyReport", "copy_database"]

Raw = dict[str, Any]
BATCH = 100


@dataclass
class CopyReport:
    """What `copy_database` did.

    Attributes
    ----------
    copied, present
        Documents written, and documents found there already with the same content.
    files
        Artifacts written.
    """

    copied: int = 0
    present: int = 0
    files: int = 0


def copy_database(source: Database, target: Database, advance: Callable[[str], None] | None = None) -> CopyReport:
    """Copy every document and file; what is there already is left alone, so a copy that was cut off goes on.

    Files come first, each verified by its SHA-256, and each document is read back and compared.

    Parameters
    ----------
    source, target
        Open databases; the target gets the indexes.
    advance
        Told the collection of each document just copied.

    Raises
    ------
    DatabaseError
        If the target holds a document of the same key with other content, or gives back something else.
    ArtifactError
        If a file of the source is damaged.
    """
    report = CopyReport()
    target.ensure_indexes()
    _copy_files(source, target, report)
    for name, item in COLLECTIONS.items():
        batch: list[Raw] = []
        for document in source.collection(name).find({}, {"_id": 0}).sort(item.key, 1):
            batch.append(document)
            if len(batch) == BATCH:
                _copy_batch(target, name, batch, report, advance)
                batch = []
        _copy_batch(target, name, batch, report, advance)
        target.touch(name)
    return report


def _copy_files(source: Database, target: Database, report: CopyReport) -> None:
    there, here = Artifacts(target), Artifacts(source)
    for ref in here.references():
        if not there.exists(ref.sha256):
            there.put(ref.name, here.get(ref))
            there.get(ref)
            report.files += 1


def _copy_batch(
    target: Database, name: str, batch: list[Raw], report: CopyReport, advance: Callable[[str], None] | None
) -> None:
    key = COLLECTIONS[name].key
    collection = target.collection(name)
    query = {key: {"$in": [document[key] for document in batch]}}
    present = {document[key]: document for document in collection.find(query, {"_id": 0})}
    for document in batch:
        old = present.get(document[key])
        if old is not None and not _same(old, document):
            raise DatabaseError(
                f"{name} {document[key]} is in {target.shown} already with other content; copy into an empty "
                "database, or remove it there",
                reason="different_content",
            )
        if old is None:
            collection.insert_one(dict(document))
            report.copied += 1
        else:
            report.present += 1
        if advance is not None:
            advance(name)
    written = {document[key]: document for document in collection.find(query, {"_id": 0})}
    wrong = [document[key] for document in batch if not _same(written.get(document[key], {}), document)]
    if wrong:
        raise DatabaseError(f"{target.shown} gives back other content than was written for {name} {wrong[0]}")


def _same(first: Raw, second: Raw) -> bool:
    """Whether two documents are the same to the byte: as Python values a NaN would differ from itself."""
    return bson.encode(first) == bson.encode(second)
