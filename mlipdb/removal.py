"""Removing documents, and the files nobody names any more."""

from __future__ import annotations

from collections.abc import Sequence

from mlipdb.artifacts import Artifacts
from mlipdb.checking import artifact_refs
from mlipdb.stores import COLLECTIONS, Database, spec

__all__ = ["remove_documents"]


def remove_documents(database: Database, collection: str, keys: Sequence[str]) -> tuple[int, int]:
    """Remove documents by key, and the files that no other document names.

    Parameters
    ----------
    database
        Open database.
    collection
        Their collection.
    keys
        Their keys.

    Returns
    -------
    tuple of int
        Documents and files removed.
    """
    key = spec(collection).key
    documents = database.collection(collection)
    candidates: set[str] = set()
    for document in documents.find({key: {"$in": list(keys)}}, {"raw": 0, "_id": 0}):
        candidates |= {ref.sha256 for ref in artifact_refs(document)}
    # Documents first: a cut after this leaves files without a document, never the other way round.
    removed = documents.delete_many({key: {"$in": list(keys)}}).deleted_count
    database.touch(collection)
    for item in COLLECTIONS.values():
        if not candidates:
            break
        for document in database.collection(item.name).find({}, {"raw": 0, "_id": 0}):
            candidates -= {ref.sha256 for ref in artifact_refs(document)}
    artifacts = Artifacts(database)
    for sha256 in candidates:
        artifacts.delete(sha256)
    return removed, len(candidates)
