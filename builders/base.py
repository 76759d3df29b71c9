"""What all builders share: what is stale, how a result is written, what a failure leaves.

A builder plans light work items, each with a hash of everything its document depends on (keys of
parents, settings, the builder's version).  An item is stale unless a document with that hash
exists, so dates play no part, and a changed builder rebuilds.  `process_item` calls one pure
function and touches no database; it may run in any process.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from maggma.core import Builder

from mlipdb.artifacts import Artifacts
from mlipdb.builders.items import Counts, WorkItem, batched, describe, run_item
from mlipdb.builders.versions import package_versions
from mlipdb.derive import Built
from mlipdb.errors import DatabaseError
from mlipdb.maggma_store import ProjectStore
from mlipdb.schemas.common import BuilderMeta, Document, Failure, utc_now
from mlipdb.schemas.keys import content_hash
from mlipdb.settings import Project, load_project
from mlipdb.stores import Database, open_database, spec

__all__ = ["DocumentBuilder"]

Raw = dict[str, Any]

#: A run may withdraw this share of a collection, and always this many, without `force`.
WITHDRAW_SHARE = 0.25
WITHDRAW_FREE = 5
#: What people add to a document by hand, kept when it is rebuilt.
KEPT = ("visibility", "embargo_until", "license", "references", "group")


class DocumentBuilder(Builder):  # type: ignore[misc]  # maggma ships no types
    """Base of all builders.

    Parameters
    ----------
    project
        Folder of the project; the address of its database is read there.
    retry_failed
        Build again what failed before.
    force
        Withdraw documents beyond the guard.
    chunk_size
        Items written at once.
    """

    name: ClassVar[str]
    #: Raised whenever the builder gives other results for the same inputs.
    version: ClassVar[str]
    source_names: ClassVar[tuple[str, ...]]
    target_name: ClassVar[str]
    #: Distributions whose versions the documents record.
    packages: ClassVar[tuple[str, ...]] = ()
    #: Items that keep a core busy for a second or more: run in worker processes.
    heavy: ClassVar[bool] = False
    #: Parts of the settings the builder depends on.
    settings_used: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, project: str = ".", retry_failed: bool = False, force: bool = False, chunk_size: int = 50, **_: Any
    ) -> None:
        self.project = str(project)
        self.retry_failed = retry_failed
        self.force = force
        super().__init__(
            sources=[ProjectStore(self.project, name) for name in self.source_names],
            targets=[ProjectStore(self.project, self.target_name)],
            chunk_size=chunk_size,
        )
        self.counts = Counts()
        #: Worker processes of this run, where they differ from the project's.
        self.workers: int | None = None
        #: Changes of the target that this run made itself.
        self.touches = 0
        self._database: Database | None = None
        self._loaded: Project | None = None
        self._owns_database = False

    # What a builder adds ---------------------------------------------------------------------------

    @abstractmethod
    def plan(self) -> Iterator[WorkItem]:
        """Every document there should be, as light items."""

    @abstractmethod
    def fetch(self, item: WorkItem) -> Raw:
        """Everything `build` needs, read from the database."""

    @staticmethod
    @abstractmethod
    def build(inputs: Raw) -> Built | None:
        """Make one document from its inputs (None: there is none to make); no database, no project."""

    def withdrawable(self) -> Iterator[str]:
        """Keys of documents whose parents are gone; called after all items are written."""
        return iter(())

    # Database --------------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """The open database."""
        if self._database is None:
            self.connect()
        assert self._database is not None
        return self._database

    @property
    def settings(self) -> Project:
        """The project with its settings."""
        if self._loaded is None:
            from pathlib import Path

            self._loaded = load_project(Path(self.project))
        return self._loaded

    @property
    def n_workers(self) -> int:
        """Worker processes that items of this run may share."""
        return self.workers or self.settings.settings.workers

    def attach(self, database: Database, project: Project | None = None) -> None:
        """Use a database (and project) that is open already."""
        self._database, self._owns_database = database, False
        self._loaded = project or self._loaded
        for store in (*self.sources, *self.targets):
            store.attach(database)

    def connect(self) -> None:
        """Open the project's database, once for all stores."""
        if self._database is None:
            self.attach(open_database(self.settings), self._loaded)
            self._owns_database = True

    def finalize(self) -> None:
        """Withdraw what lost its parents, and close what this builder opened."""
        self.withdraw(list(self.withdrawable()))
        if self._owns_database and self._database is not None:
            self._database.close()
            self._database = None

    def run(self, log_level: int | None = None, dry_run: bool = False) -> None:
        """Run in this process, leaving the root logger alone (maggma's own run resets it).

        `log_level` is taken for compatibility and sets this builder's own logger.
        """
        if log_level is not None:
            self.logger.setLevel(log_level)
        self.connect()
        for batch in batched(self.get_items(), self.chunk_size):
            if not dry_run:
                self.update_targets([self.process_item(item) for item in batch])
        if not dry_run:
            self.finalize()

    # Items -----------------------------------------------------------------------------------------

    def hash_inputs(self, **inputs: Any) -> str:
        """Hash of inputs together with the builder's name and version."""
        return content_hash({"builder": self.name, "version": self.version, **inputs})

    def stale_items(self) -> list[WorkItem]:
        """Planned items that have no up-to-date document; counts the others."""
        self.counts = Counts()
        stale: list[WorkItem] = []
        for batch in batched(self.plan(), 500):
            done = self.finished([item.inputs_hash for item in batch])
            fresh = [item for item in batch if item.inputs_hash not in done]
            self.counts.unchanged += len(batch) - len(fresh)
            stale += fresh
        return stale

    def finished(self, hashes: list[str]) -> set[str]:
        """Those of some inputs hashes that need no work: built, or failed before and not to be retried."""
        collection = self.database.collection(self.target_name)
        query: Raw = {"inputs_hash": {"$in": hashes}, "state": {"$in": ["complete", "incomplete"]}}
        found = {doc["inputs_hash"] for doc in collection.find(query, {"inputs_hash": 1})}
        if not self.retry_failed:
            failed = {"inputs_hash": {"$in": hashes}, "state": "failed"}
            found |= {doc["inputs_hash"] for doc in collection.find(failed, {"inputs_hash": 1})}
            tried = {"rebuild_failure.inputs_hash": {"$in": hashes}}
            found |= {
                doc["rebuild_failure"]["inputs_hash"]
                for doc in collection.find(tried, {"rebuild_failure.inputs_hash": 1})
            }
        return found

    def get_items(self) -> Iterator[Raw]:
        """Stale items with their inputs."""
        for item in self.stale_items():
            yield self.prepared(item)

    def prepared(self, item: WorkItem) -> Raw:
        """An item ready for any process: label, hash, key, skeleton and inputs.

        A problem with the inputs (a missing artifact, a task gone meanwhile) belongs to this item alone,
        so it travels along as a failure.
        """
        ready: Raw = {
            "label": item.label,
            "inputs_hash": item.inputs_hash,
            "key": item.key,
            "skeleton": item.skeleton,
            "supersedes": item.supersedes,
        }
        try:
            ready["inputs"] = self.fetch(item)
        except DatabaseError:
            raise  # no item's fault: without the database none can be built
        except Exception as error:  # noqa: BLE001 - one item's inputs must never end the run of the others
            ready["failure"] = describe(error)
        return ready

    def process_item(self, item: Raw) -> Raw:
        """Build one document; an error becomes a failure in the result, never an exception."""
        return run_item(self.build, item)

    def update_targets(self, items: list[Raw]) -> None:
        """Write results: files first, then the document that names them."""
        for item in items:
            if "failure" in item:
                self._write_failure(item)
            elif item["built"] is None:
                self.counts.unchanged += 1
            else:
                self._write(item)
        if items:
            self._touch()

    def _write(self, item: Raw) -> None:
        artifacts = Artifacts(self.database)
        built: Built = item["built"]
        for name, data in built.files.items():
            artifacts.put(name, data)
        document = built.document.model_copy(
            update={
                "inputs_hash": item["inputs_hash"],
                "last_updated": utc_now(),
                "builder_meta": self.stamp(),
                "group": built.document.group or self.settings.settings.group,
            }
        )
        self.save(document, item)
        self._supersede(item, getattr(document, spec(self.target_name).key))
        if document.state == "failed":
            self._count_failure(item["label"], document.failure)
        else:
            self.counts.built += 1

    def save(self, document: Document, item: Raw) -> None:
        """Put a document in place of the one with its key, keeping what people added by hand."""
        content = document.to_bson()
        key = spec(self.target_name).key
        collection = self.database.collection(self.target_name)
        old = collection.find_one({key: content[key]}, dict.fromkeys((*KEPT, "state"), 1))
        if old is not None and document.state == "failed" and old.get("state") in ("complete", "incomplete"):
            assert document.failure is not None
            failure = document.failure.model_copy(update={"inputs_hash": item["inputs_hash"]})
            collection.update_one({key: content[key]}, {"$set": {"rebuild_failure": failure.model_dump()}})
            return
        content.update({name: old[name] for name in KEPT if old is not None and old.get(name)})
        self.database.replace(self.target_name, content)

    def stamp(self) -> BuilderMeta:
        """Builder, versions and date for a document."""
        versions = package_versions(("mlipdb", *self.packages))
        return BuilderMeta(builder=self.name, builder_version=self.version, versions=versions)

    # Failures --------------------------------------------------------------------------------------

    def _count_failure(self, label: str, failure: Failure | None) -> None:
        self.counts.failed += 1
        entry = {"item": label, **(failure.model_dump() if failure is not None else {})}
        if len(self.counts.failures) < 100:
            self.counts.failures.append(entry)

    def _write_failure(self, item: Raw) -> None:
        """Leave a failed document where there is no good one, else a note on the good one."""
        key_field = spec(self.target_name).key
        key = item["key"] or f"failed-{item['inputs_hash'][:20]}"
        collection = self.database.collection(self.target_name)
        old = collection.find_one({key_field: key}, {"state": 1, "failure": 1, "rebuild_failure": 1})
        earlier = (old or {}).get("rebuild_failure") or (old or {}).get("failure") or {}
        failure = Failure.model_validate(
            {**item["failure"], "attempts": earlier.get("attempts", 0) + 1, "inputs_hash": item["inputs_hash"]}
        )
        self._count_failure(item["label"], failure)
        if old is not None and old.get("state") in ("complete", "incomplete"):
            collection.update_one({key_field: key}, {"$set": {"rebuild_failure": failure.model_dump()}})
            return
        model = spec(self.target_name).document_class()
        document = model.model_validate(
            {
                **item["skeleton"],
                key_field: key,
                "state": "failed",
                "failure": failure,
                "inputs_hash": item["inputs_hash"],
                "builder_meta": self.stamp(),
                "group": self.settings.settings.group,
            }
        )
        self.database.replace(self.target_name, document.to_bson())
        self._supersede(item, key)

    def _supersede(self, item: Raw, key: str) -> None:
        """Forget earlier failures of the same thing: they were of inputs that are no more."""
        if item.get("supersedes"):
            query = {**item["supersedes"], "state": "failed", spec(self.target_name).key: {"$ne": key}}
            self.database.collection(self.target_name).delete_many(query)

    # Withdrawal ------------------------------------------------------------------------------------

    def withdraw(self, keys: list[str], *, guarded: bool = True) -> None:
        """Mark documents whose parents are gone; they stay for provenance and come back with their parents.

        A wrong or empty source must not empty a collection: beyond a quarter of it (and five
        documents) nothing is withdrawn, and the run counts a failure that says how to go on.  Documents
        that others have taken the place of need no such guard.
        """
        if not keys:
            return
        key = spec(self.target_name).key
        collection = self.database.collection(self.target_name)
        standing = collection.count_documents({"state": {"$in": ["complete", "incomplete"]}})
        if guarded and len(keys) > max(WITHDRAW_FREE, WITHDRAW_SHARE * standing) and not self.force:
            message = (
                f"{len(keys)} of {standing} {self.target_name} have lost what they were made from; that many are "
                "withdrawn only by `mlipdb build --force`"
            )
            self._count_failure(self.target_name, Failure(reason="withdraw_guard", message=message))
            return
        for batch in batched(keys, 500):
            collection.update_many(
                {key: {"$in": batch}}, {"$set": {"state": "withdrawn", "last_updated": utc_now(), "inputs_hash": ""}}
            )
        self._touch()
        self.counts.withdrawn += len(keys)

    # Watermarks ------------------------------------------------------------------------------------

    def _touch(self) -> None:
        """Count a change of the target, in the database and for this run."""
        self.database.touch(self.target_name)
        self.touches += 1

    def watermarks(self) -> Raw:
        """State of sources, target and settings in a few numbers; equal means nothing to do."""
        used = self.settings.settings.model_dump(mode="json", include=set(self.settings_used))
        return {
            "builder_version": self.version,
            "settings": content_hash(used),
            **{name: self.watermark(name) for name in dict.fromkeys((*self.source_names, self.target_name))},
        }

    def watermark(self, name: str) -> Raw:
        """Number of documents in a collection and the date of the newest."""
        collection = self.database.collection(name)
        newest = collection.find_one({}, {"last_updated": 1}, sort=[("last_updated", -1)])
        date = None if newest is None else newest.get("last_updated")
        return {
            "count": collection.estimated_document_count(),
            "newest": None if date is None else date.isoformat(),
            "revision": self.database.revision(name),
        }
