"""The only file that names collections, keys and indexes, and opens databases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlipdb.errors import DatabaseError, DatabaseUnreachableError, NotFoundError
from mlipdb.settings import Project, load_project

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.collection import Collection

    from mlipdb.schemas.common import Document

__all__ = [
    "ARTIFACT_BUCKET",
    "COLLECTIONS",
    "CollectionSpec",
    "Database",
    "database_errors",
    "open_database",
    "redact",
    "spec",
]

Raw = dict[str, Any]
ARTIFACT_BUCKET = "artifacts"
LOCKS = "build_locks"
REVISIONS = "revisions"
WATERMARKS = "ingest_watermarks"
DEFAULT_DATABASE = "mlipdb"


@dataclass(frozen=True)
class CollectionSpec:
    """One collection: its key, its model and what it is asked for.

    Attributes
    ----------
    name, key
        Collection and its unique key field.
    model
        ``module:class`` of the document, imported when needed.
    parents
        Fields that hold keys of other collections: field -> collection.
    indexes
        Dotted paths, compound ones as tuples; ascending, not unique.
    columns
        Fields that a table shows first.
    """

    name: str
    key: str
    model: str
    parents: Mapping[str, str]
    indexes: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]

    def document_class(self) -> type[Document]:
        """Import the pydantic model."""
        module, name = self.model.split(":")
        return cast("type[Document]", getattr(import_module(module), name))


def _spec(
    name: str,
    key: str,
    model: str,
    *,
    parents: Mapping[str, str] | None = None,
    indexes: tuple[tuple[str, ...], ...] = (),
    columns: tuple[str, ...] = (),
) -> CollectionSpec:
    common = (("last_updated",), ("state",), ("inputs_hash",), ("rebuild_failure.inputs_hash",))
    return CollectionSpec(name, key, model, parents or {}, (*common, *indexes), (key, *columns))


_SPECS = (
    _spec(
        "tasks",
        "task_id",
        "mlipdb.schemas.task:Task",
        indexes=(("content_hash",), ("source.path", "source.item")),
        columns=("state", "source.format", "source.path", "last_updated"),
    ),
    _spec(
        "levels_of_theory",
        "level_id",
        "mlipdb.schemas.level_of_theory:LevelOfTheory",
        columns=("label",),
    ),
    _spec(
        "materials",
        "material_id",
        "mlipdb.schemas.material:Material",
        parents={"task_ids": "tasks", "level_id": "levels_of_theory"},
        indexes=(("chemsys",), ("names",), ("foreign_ids",), ("task_ids",)),
        columns=("names", "formula", "space_group_symbol", "n_sites", "volume_per_atom"),
    ),
    _spec(
        "configurations",
        "configuration_id",
        "mlipdb.schemas.configuration:Configuration",
        parents={"task_ids": "tasks", "material_id": "materials", "level_id": "levels_of_theory"},
        indexes=(
            ("task_ids",),
            ("sources.inputs_hash",),
            ("sources.content_hash",),
            ("material_id", "level_id", "config_type"),
            ("config_type",),
            ("chemsys",),
            ("level_id",),
            ("quality.reason",),
        ),
        columns=("config_type", "material_name", "n_atoms", "energy_per_atom", "max_force", "level_label"),
    ),
    _spec(
        "phonons",
        "phonon_id",
        "mlipdb.schemas.phonon:Phonon",
        parents={
            "material_id": "materials",
            "level_id": "levels_of_theory",
            "configuration_ids": "configurations",
            "task_ids": "tasks",
        },
        indexes=(("material_id",), ("level_id",), ("configuration_ids",), ("max_frequency",)),
        columns=("material_name", "state", "n_atoms_supercell", "max_frequency", "min_frequency", "missing"),
    ),
    _spec(
        "training_sets",
        "training_set_id",
        "mlipdb.schemas.training_set:TrainingSet",
        parents={"configuration_ids": "configurations", "level_id": "levels_of_theory"},
        indexes=(("name",), ("configuration_ids",)),
        columns=("name", "current", "train.n_configurations", "train.n_atoms", "test.n_configurations"),
    ),
    _spec(
        "potentials",
        "potential_id",
        "mlipdb.schemas.potential:Potential",
        parents={"training_set_id": "training_sets", "level_id": "levels_of_theory"},
        indexes=(("training_set_id",), ("framework",), ("chemsys",), ("n_sparse",)),
        columns=(
            "framework",
            "training_set",
            "n_sparse",
            "delta",
            "f",
            "errors.test.overall.energy_rmse",
            "errors.test.overall.force_rmse",
            "state",
        ),
    ),
    _spec(
        "phonon_benchmarks",
        "benchmark_id",
        "mlipdb.schemas.phonon_benchmark:PhononBenchmark",
        parents={
            "potential_id": "potentials",
            "phonon_id": "phonons",
            "material_id": "materials",
            "task_ids": "tasks",
        },
        indexes=(("potential_id",), ("phonon_id",), ("material_id",), ("mesh.rmse",), ("path.rmse",)),
        columns=(
            "potential_id",
            "material_name",
            "training_set",
            "n_sparse",
            "delta",
            "mesh.rmse",
            "path.rmse",
            "stability.stable",
            "reference_in_training",
        ),
    ),
    _spec(
        "build_runs",
        "run_id",
        "mlipdb.schemas.build_run:BuildRun",
        indexes=(("builder", "started"),),
        columns=("builder", "started", "duration_s", "built", "unchanged", "failed"),
    ),
)

#: Every collection that holds documents, in the order data flows.
COLLECTIONS: dict[str, CollectionSpec] = {item.name: item for item in _SPECS}


def spec(name: str) -> CollectionSpec:
    """The collection of that name.

    Raises
    ------
    NotFoundError
        If there is none; the message names the nearest.
    """
    if name not in COLLECTIONS:
        import difflib

        close = difflib.get_close_matches(name, COLLECTIONS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COLLECTIONS)}"
        raise NotFoundError(f"there is no collection {name!r}; {hint}")
    return COLLECTIONS[name]


def redact(text: str) -> str:
    """Hide the user and password of every database address in a text, and keys among its options."""
    # To the last @: a password with an unescaped @ or / is refused by pymongo, and must not show all the same.
    hidden = re.sub(r"(mongodb(?:\+srv)?://)\S*@", r"\1***@", text)
    return re.sub(r"(?i)((?:password|session_token)[=:])[^&,\s]*", r"\1***", hidden)


@contextmanager
def database_errors(address: str) -> Iterator[None]:
    """Turn pymongo's errors into ours, without the address's password.

    Raises
    ------
    DatabaseUnreachableError
        If there is no answer.
    DatabaseError
        For anything else the server refuses.
    """
    from pymongo.errors import ConnectionFailure, PyMongoError

    shown = redact(address.replace(" ", "%20"))
    try:
        yield
    except ConnectionFailure as error:
        detail = redact(str(error)).split(", Timeout:")[0].split(", Topology")[0]
        raise DatabaseUnreachableError(
            f"no answer from the database at {shown}: {detail}; is it running, and is the address right?"
        ) from None
    except PyMongoError as error:
        raise DatabaseError(f"the database at {shown} refused: {redact(str(error))}") from error


class Database:
    """An open database.

    Parameters
    ----------
    address
        ``mongodb://...``, the database's name at its end.
    project
        Folder of the project it belongs to, where there is one.
    """

    def __init__(self, address: str, project: Path | None = None) -> None:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError
        from pymongo.uri_parser import parse_uri

        self.project = project
        self._address = address
        try:
            parsed = parse_uri(address, validate=False, warn=False)
            name = parsed.get("database")
            # Writes are acknowledged only when the journal has them: nothing acknowledged is lost.
            # What the address asks for itself wins.
            wanted: Raw = {"serverSelectionTimeoutMS": 10_000, "journal": True, "appname": "mlipdb"}
            asked = {key.lower() for key in parsed.get("options", {})}
            options = {key: value for key, value in wanted.items() if key.lower() not in asked}
            self.client: MongoClient[Raw] = MongoClient(address, tz_aware=False, **options)
        except (PyMongoError, ValueError) as error:
            # pymongo quotes pieces of the address, which may be pieces of the password.
            detail = "it must be mongodb://user:password@host:port/name, with %40 for @, %2F for / and %3A for :"
            shown = redact(address.replace(" ", "%20"))
            raise DatabaseError(f"{shown} is no usable database address ({type(error).__name__}); {detail}") from None
        self.db = self.client[name or DEFAULT_DATABASE]

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user and password."""
        return redact(self._address.replace(" ", "%20"))  # white space would end the address

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def errors(self) -> Any:
        """Context in which pymongo's errors become ours."""
        return database_errors(self._address)

    def collection(self, name: str) -> Collection[Raw]:
        """The pymongo collection of that name (checked against `COLLECTIONS`)."""
        return self.db[spec(name).name]

    @property
    def locks(self) -> Collection[Raw]:
        """The collection of leases."""
        return self.db[LOCKS]

    @property
    def watermarks(self) -> Collection[Raw]:
        """The collection that tells how far other databases have been read."""
        return self.db[WATERMARKS]

    def ping(self) -> None:
        """Raise DatabaseUnreachableError unless the database answers."""
        with self.errors():
            self.client.admin.command("ping")

    def ensure_indexes(self) -> None:
        """Make the indexes that are missing; those that exist are left alone."""
        with self.errors():
            for item in COLLECTIONS.values():
                collection = self.db[item.name]
                existing = {tuple(key for key, _ in index["key"]) for index in collection.index_information().values()}
                if (item.key,) not in existing:
                    collection.create_index(item.key, unique=True)
                for fields in item.indexes:
                    if fields not in existing:
                        collection.create_index([(field, 1) for field in fields])
            files = self.db[f"{ARTIFACT_BUCKET}.files"]
            if "metadata.sha256_1" not in files.index_information():
                files.create_index("metadata.sha256", unique=True)

    def replace(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a document over the one with its key, or beside all others."""
        key = spec(name).key
        self.collection(name).replace_one({key: document[key]}, dict(document), upsert=True)

    def touch(self, name: str) -> None:
        """Count one more change of a collection, after it was written.

        Builders compare these counts to see that nothing changed; unlike dates they do not depend
        on anybody's clock.
        """
        self.db[REVISIONS].update_one({"_id": spec(name).name}, {"$inc": {"revision": 1}}, upsert=True)

    def revision(self, name: str) -> int:
        """How often a collection was changed through mlipdb."""
        found = self.db[REVISIONS].find_one({"_id": name})
        return int(found["revision"]) if found is not None else 0

    def ids_like(self, text: str) -> list[tuple[str, str]]:
        """All (collection, key) whose key equals or begins with a text."""
        found = []
        for item in COLLECTIONS.values():
            exact = self.db[item.name].find_one({item.key: text}, {item.key: 1})
            if exact is not None:
                return [(item.name, text)]
        if len(text) >= 4:
            pattern = "^" + re.escape(text)
            for item in COLLECTIONS.values():
                query = {item.key: {"$regex": pattern}}
                found += [(item.name, doc[item.key]) for doc in self.db[item.name].find(query, {item.key: 1}).limit(5)]
        return found


def open_database(project: Project | Path | str | None = None) -> Database:
    """Open the database of a project, starting the embedded server where it is the one.

    Parameters
    ----------
    project
        A project, its folder, or None for the nearest one.

    Raises
    ------
    DatabaseUnreachableError
        If the database does not answer.
    EmbeddedError
        If the embedded server cannot start.
    """
    if not isinstance(project, Project):
        project = load_project(None if project is None else Path(project))
    address = project.settings.database
    if address == "embedded":
        from mlipdb import embedded

        project.data_directory.mkdir(parents=True, exist_ok=True)
        address = embedded.start(project.data_directory)
    database = Database(address, project.directory)
    database.ping()
    return database
