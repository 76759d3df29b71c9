"""What users import: ask a database, walk its provenance, load its potentials."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.artifacts import Artifacts
from mlipdb.errors import NotFoundError
from mlipdb.query import check_field, parse_conditions, parse_sort
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import COLLECTIONS, Database, open_database, spec

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["Collection", "MlipDB"]

Raw = dict[str, Any]


class Collection:
    """One kind of document.

    Parameters
    ----------
    database
        Open database.
    name
        One of `mlipdb.stores.COLLECTIONS`.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name
        self.key = spec(name).key

    def __repr__(self) -> str:
        return f"Collection({self.name!r})"

    def find(
        self,
        *conditions: str,
        where: Raw | None = None,
        fields: Sequence[str] = (),
        sort: str | Sequence[str] = (),
        limit: int = 0,
        failed: bool = False,
    ) -> list[Raw]:
        """Documents that meet all conditions.

        Parameters
        ----------
        *conditions
            Such as ``"n_sparse>=100"`` (see `mlipdb.query.parse_conditions`).
        where
            A MongoDB filter besides.
        fields
            Dotted paths to return; none returns whole documents.
        sort
            Fields; a leading minus sorts downwards.
        limit
            Most documents; 0 returns all.
        failed
            Include failed and withdrawn documents, which are left out unless a condition names `state`.

        Raises
        ------
        UsageError
            If a field is unknown; the message names the nearest.
        """
        return list(self.iterate(*conditions, where=where, fields=fields, sort=sort, limit=limit, failed=failed))

    def iterate(
        self,
        *conditions: str,
        where: Raw | None = None,
        fields: Sequence[str] = (),
        sort: str | Sequence[str] = (),
        limit: int = 0,
        failed: bool = False,
    ) -> Iterator[Raw]:
        """As `find`, one document at a time."""
        for field in fields:
            check_field(self.name, field)
        order = parse_sort(self.name, [sort] if isinstance(sort, str) else sort)
        projection = {"_id": 0, **dict.fromkeys(fields, 1)} if fields else {"_id": 0}
        query = self.filter(*conditions, where=where, failed=failed)
        with self._database.errors():
            cursor = self._database.collection(self.name).find(query, projection)
            if order:
                cursor = cursor.sort([*order, (self.key, 1)])
            yield from cursor.limit(limit)

    def filter(self, *conditions: str, where: Raw | None = None, failed: bool = False) -> Raw:
        """The MongoDB filter behind `find`."""
        query = parse_conditions(self.name, conditions)
        parts = [part for part in (query, where or {}) if part]
        if not failed and not any(_names_state(part) for part in parts):
            parts.append({"state": {"$nin": ["failed", "withdrawn"]}})
        return {"$and": parts} if len(parts) > 1 else (parts[0] if parts else {})

    def count(self, *conditions: str, where: Raw | None = None, failed: bool = False) -> int:
        """Number of documents that meet all conditions."""
        with self._database.errors():
            query = self.filter(*conditions, where=where, failed=failed)
            return self._database.collection(self.name).count_documents(query)

    def get(self, key: str) -> Raw:
        """The document with a key.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        with self._database.errors():
            found = self._database.collection(self.name).find_one({self.key: key}, {"_id": 0})
        if found is None:
            raise NotFoundError(f"no document in {self.name} has the {self.key} {key!r}")
        return found


def _where(document: Raw) -> str:
    return f" ({', '.join(document['references'])})" if document.get("references") else ""


def _names_state(query: Any) -> bool:
    if isinstance(query, dict):
        return "state" in query or any(_names_state(value) for value in query.values())
    return isinstance(query, list) and any(_names_state(value) for value in query)


class MlipDB:
    """A database of potentials and their phonons.

    Parameters
    ----------
    source
        Folder of a project, a ``mongodb://`` address, or None for the nearest project upwards.

    Examples
    --------
    >>> with MlipDB("my-project") as db:  # doctest: +SKIP
    ...     best = db.phonon_benchmarks.find(sort="mesh.rmse", limit=1)[0]
    ...     calculator = db.calculator(best["potential_id"])
    """

    tasks: Collection
    materials: Collection
    levels_of_theory: Collection
    configurations: Collection
    phonons: Collection
    training_sets: Collection
    potentials: Collection
    phonon_benchmarks: Collection
    build_runs: Collection

    def __init__(self, source: str | Path | None = None) -> None:
        if isinstance(source, str) and source.startswith(("mongodb://", "mongodb+srv://")):
            self.database = Database(source)
            self.database.ping()
        else:
            self.database = open_database(None if source is None else Path(source))
        for name in COLLECTIONS:
            setattr(self, name, Collection(self.database, name))
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    @classmethod
    def of(cls, database: Database) -> MlipDB:
        """A client on a database that is open already."""
        client = cls.__new__(cls)
        client.database = database
        for name in COLLECTIONS:
            setattr(client, name, Collection(database, name))
        client._folders = []
        return client

    def __enter__(self) -> MlipDB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MlipDB({self.database.shown!r})"

    def close(self) -> None:
        """Close the connection; calculators that were loaded go on working."""
        self.database.close()

    def find_id(self, text: str) -> tuple[str, str]:
        """Collection and key of a document given by its key, an unmistakable beginning of it, or a material's name.

        Raises
        ------
        NotFoundError
            If nothing or more than one thing is meant; the message lists what is.
        """
        with self.database.errors():
            found = self.database.ids_like(text)
            if not found:
                names = {"$or": [{"names": text}, {"foreign_ids": text}]}
                materials = self.database.collection("materials").find(names, {"material_id": 1})
                found = [("materials", doc["material_id"]) for doc in materials]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{key} ({name})" for name, key in found[:6])
            raise NotFoundError(f"{text!r} may be any of {listed}; give more of the id")
        raise NotFoundError(f"nothing is called {text!r}; look with `mlipdb find COLLECTION`")

    def get(self, text: str) -> Raw:
        """A document of any kind by its key (or beginning of it, or material name)."""
        name, key = self.find_id(text)
        return Collection(self.database, name).get(key)

    def file(self, ref: Raw | ArtifactRef) -> bytes:
        """The bytes of a file that a document names, verified by SHA-256.

        Raises
        ------
        ArtifactError
            If it is missing or damaged.
        """
        artifacts = Artifacts(self.database)
        return artifacts.get(ref if isinstance(ref, ArtifactRef) else ArtifactRef.model_validate(ref))

    def files(self, potential_id: str, directory: str | Path) -> Path:
        """Write the files of a potential, verified, into a folder and return the one to load."""
        potential = self.potentials.get(self.find_id(potential_id)[1])
        if potential.get("origin") == "external":
            raise NotFoundError(
                f"potential {potential['potential_id']} ({potential.get('name')}) is external: only forces that it "
                "gave are here, not its files; ask its makers for them" + _where(potential)
            )
        refs = [ArtifactRef.model_validate(ref) for ref in potential.get("files", [])]
        if not refs or not potential.get("main_file"):
            raise NotFoundError(f"potential {potential_id} has no files (state: {potential.get('state')})")
        Artifacts(self.database).write(refs, Path(directory))
        return Path(directory) / str(potential["main_file"])

    def calculator(self, potential_id: str) -> Calculator:
        """A potential as an ASE calculator.

        Raises
        ------
        NotFoundError
            If there is no such potential.
        ArtifactError
            If its files are missing or damaged.
        CalculatorError
            If they are no usable potential.
        """
        from mlipdb.frameworks import get_framework

        potential = self.potentials.get(self.find_id(potential_id)[1])
        # The calculator reads its files again when it is pickled, so the folder lives as long as the client.
        folder = tempfile.TemporaryDirectory(prefix="mlipdb-potential-")
        self._folders.append(folder)
        main_file = self.files(potential["potential_id"], folder.name)
        return get_framework(potential["framework"]).calculator(Path(folder.name), main_file.name)
