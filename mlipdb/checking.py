"""Verifying a database: every document, key, parent, artifact and checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mlipdb.artifacts import Artifacts
from mlipdb.derive.near_duplicates import FIELDS, Labelled, NearDuplicate, near_duplicates
from mlipdb.errors import ArtifactError
from mlipdb.ingest.add import raw_hash
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import make_key
from mlipdb.stores import COLLECTIONS, CollectionSpec, Database

__all__ = ["CheckReport", "artifact_refs", "check_database"]

Raw = dict[str, Any]


@dataclass
class CheckReport:
    """What was verified, and what is wrong.

    Attributes
    ----------
    documents, parents, artifacts
        Numbers verified.
    problems
        One sentence each.
    unused_artifacts
        Stored files that no document names, by SHA-256; not wrong, only space.
    orphaned_chunks
        Pieces of uploads that were cut off; not wrong, only space.
    near_duplicates
        Pairs of configurations with one structure and different labels: one of the two may be wrong.
    """

    documents: int = 0
    parents: int = 0
    artifacts: int = 0
    problems: list[str] = field(default_factory=list)
    unused_artifacts: list[str] = field(default_factory=list)
    orphaned_chunks: int = 0
    near_duplicates: list[NearDuplicate] = field(default_factory=list)

    def as_dict(self) -> Raw:
        """Plain values for `--json`."""
        return {**self.__dict__, "near_duplicates": [pair.as_dict() for pair in self.near_duplicates]}


def artifact_refs(document: Any) -> Iterator[ArtifactRef]:
    """Every file that a document names, however deep."""
    if isinstance(document, dict):
        if set(document) == {"name", "sha256", "size"}:
            # One that is no reference makes its document invalid, which the check of the document says.
            with suppress(ValidationError):
                yield ArtifactRef.model_validate(document)
            return
        for value in document.values():
            yield from artifact_refs(value)
    elif isinstance(document, list):
        for value in document:
            yield from artifact_refs(value)


def check_database(database: Database, advance: Callable[[str], None] | None = None) -> CheckReport:
    """Verify everything that can be verified without building it again.

    Parameters
    ----------
    database
        Open database.
    advance
        Told the collection of each document just verified.
    """
    report = CheckReport()
    artifacts = Artifacts(database)
    named: dict[str, str] = {}
    for item in COLLECTIONS.values():
        for document in database.collection(item.name).find({}, {"_id": 0}).sort(item.key, 1):
            _check_document(database, item, document, report)
            for ref in _refs(item, document):
                _check_artifact(artifacts, ref, f"{item.name} {document.get(item.key)}", named, report)
            if advance is not None:
                advance(item.name)
    report.unused_artifacts = sorted(set(artifacts.hashes()) - set(named))
    report.orphaned_chunks = artifacts.orphaned_chunks()
    report.near_duplicates = _near_duplicates(database)
    return report


def _near_duplicates(database: Database) -> list[NearDuplicate]:
    collection = database.collection("configurations")
    # Without labels or of the wrong form it is told of above.
    query = {"state": "complete", **{name: {"$exists": True} for name in Labelled.fields}}

    def load(keys: list[str]) -> dict[str, Labelled]:
        fields = dict.fromkeys(Labelled.fields, 1)
        found = [
            doc
            for start in range(0, len(keys), 500)
            for doc in collection.find({**query, "configuration_id": {"$in": keys[start : start + 500]}}, fields)
        ]
        return {doc["configuration_id"]: Labelled(doc) for doc in found}

    docs = collection.find(query, dict.fromkeys(FIELDS, 1)).sort("configuration_id", 1)
    return list(near_duplicates(docs, load))


def _refs(item: CollectionSpec, document: Raw) -> Iterator[ArtifactRef]:
    # What producers wrote is theirs: a mapping in it that looks like a reference is none of ours.
    yield from artifact_refs({k: v for k, v in document.items() if not (item.name == "tasks" and k == "raw")})


def _check_document(database: Database, item: CollectionSpec, document: Raw, report: CheckReport) -> None:
    name = f"{item.name} {document.get(item.key)}"
    report.documents += 1
    try:
        model = item.document_class().model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        report.problems.append(f"{name}: {path}: {first['msg']}")
        return
    if document.get("state") != "failed":
        try:
            expected = _expected_key(item, model.identity(), document)
        except (TypeError, ValueError) as error:
            changed = f"its key cannot be computed again ({error})"
        else:
            same = expected is None or expected == document.get(item.key)
            changed = "" if same else f"its content hashes to the key {expected}"
        if changed:
            report.problems.append(f"{name}: it was changed after it was made: {changed}")
        _check_parents(database, item, document, name, report)


def _expected_key(item: CollectionSpec, identity: Any, document: Raw) -> str | None:
    """The key (or, for a task, its content hash) that a document's content gives."""
    if item.name == "tasks":
        raw, digest = document.get("raw"), document.get("content_hash")
        if raw is None:
            return None
        # What a source read is hashed without the names of its files.
        read = {key: value for key, value in raw.items() if key != "source_files"}
        same = digest in (raw_hash(raw), raw_hash(read))
        return None if same else f"{document[item.key]} with hash {raw_hash(raw)[:12]}"
    return None if identity is None else make_key(item.document_class().prefix, identity)


def _check_parents(database: Database, item: CollectionSpec, document: Raw, name: str, report: CheckReport) -> None:
    for parent_field, parent_collection in item.parents.items():
        value = document.get(parent_field)
        keys = [key for key in (value if isinstance(value, list) else [value]) if key is not None]
        report.parents += len(keys)
        parent_key = COLLECTIONS[parent_collection].key
        found = database.collection(parent_collection).find({parent_key: {"$in": keys}}, {parent_key: 1})
        missing = sorted(set(keys) - {doc[parent_key] for doc in found})
        if missing and document.get("state") != "withdrawn":
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            report.problems.append(f"{name}: its {parent_field} {shown} are not in {parent_collection}")


def _check_artifact(
    artifacts: Artifacts, ref: ArtifactRef, name: str, named: dict[str, str], report: CheckReport
) -> None:
    if ref.sha256 in named:
        if named[ref.sha256]:
            report.problems.append(f"{name}: {named[ref.sha256]}")
        return
    report.artifacts += 1
    named[ref.sha256] = ""
    try:
        data = artifacts.get(ref)
    except ArtifactError as error:
        named[ref.sha256] = error.message
        report.problems.append(f"{name}: {error.message}")
        return
    if len(data) != ref.size:
        report.problems.append(f"{name}: the file {ref.name} has {len(data)} bytes where the document says {ref.size}")
