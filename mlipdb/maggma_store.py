"""A maggma store that finds its database through a project."""

from __future__ import annotations

from typing import Any

from maggma.stores import MongoStore

from mlipdb.stores import Database, open_database, spec

__all__ = ["ProjectStore"]


class ProjectStore(MongoStore):  # type: ignore[misc]  # maggma ships no types
    """One collection of a project's database, with the collection's own key.

    maggma's ``MongoStore(uri=...)`` gives the whole address, password included, as its name, and
    writes it into reports and serialised builders; this one names the project's folder instead and
    reads the address where it connects.

    Parameters
    ----------
    project
        Folder of the project.
    collection_name
        One of `mlipdb.stores.COLLECTIONS`.
    """

    _coll: Any

    def __init__(self, project: str, collection_name: str, **kwargs: Any) -> None:
        kwargs.setdefault("key", spec(collection_name).key)
        super().__init__(database="mlipdb", collection_name=collection_name, **kwargs)
        self.project = project
        self._opened: Database | None = None

    @property
    def name(self) -> str:
        """Readable name without any address."""
        return f"mlipdb://{self.collection_name}"

    def __eq__(self, other: object) -> bool:
        """Whether another store is the same collection of the same project; maggma's forgets the project."""
        mine = (self.project, self.collection_name, self.last_updated_field)
        return isinstance(other, ProjectStore) and mine == (
            other.project,
            other.collection_name,
            other.last_updated_field,
        )

    def __hash__(self) -> int:
        return hash((self.project, self.collection_name, self.last_updated_field))

    def connect(self, force_reset: bool = False) -> None:
        """Open the project's database."""
        if self._coll is None or force_reset:
            self._opened = open_database(self.project)
            self._coll = self._opened.collection(self.collection_name)

    def attach(self, database: Database) -> None:
        """Share an open database instead of opening another connection."""
        self._coll = database.collection(self.collection_name)

    def close(self) -> None:
        """Close the connection this store opened; a shared one stays open."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        self._coll = None
