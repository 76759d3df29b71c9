from __future__ import annotations

import json
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pymongo
import pytest
from documents import insert_chain
from pydantic import BaseModel
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure

from mlipdb.client import MlipDB
from mlipdb.errors import DatabaseError, DatabaseUnreachableError, NotFoundError
from mlipdb.maggma_store import ProjectStore
from mlipdb.schemas.common import utc_now
from mlipdb.settings import Project
from mlipdb.stores import COLLECTIONS, Database, open_database, redact, spec

SECRET = "hunter2"
EACH = pytest.mark.parametrize("name", COLLECTIONS)


def field_exists(model: Any, path: str) -> bool:
    """Whether a dotted path is a field, through models, Optional and lists, or lies in a free mapping."""
    head, _, rest = path.partition(".")
    for kind in alternatives(model):
        if get_origin(kind) is dict:
            return True
        if isinstance(kind, type) and issubclass(kind, BaseModel) and head in kind.model_fields:
            return not rest or field_exists(kind.model_fields[head].annotation, rest)
    return False


def alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, UnionType, list):
        return [kind for argument in get_args(annotation) for kind in alternatives(argument)]
    return [annotation]


@EACH
def test_parents_columns_and_indexes_are_fields(name: str) -> None:
    item = COLLECTIONS[name]
    paths = [*item.parents, *item.columns, *(path for index in item.indexes for path in index), item.key]
    assert [path for path in paths if not field_exists(item.document_class(), path)] == []
    assert not field_exists(item.document_class(), "no_such_field")


@EACH
def test_parents_come_before_their_children(name: str) -> None:
    order = list(COLLECTIONS)
    parents = [parent for parent in COLLECTIONS[name].parents.values() if parent != "levels_of_theory"]
    assert all(order.index(parent) < order.index(name) for parent in parents)


def test_columns_begin_with_the_key_and_come_once() -> None:
    for item in COLLECTIONS.values():
        assert item.columns[0] == item.key
        assert len(set(item.columns)) == len(item.columns)


def test_unknown_collections() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean potentials\?"):
        spec("potential")
    with pytest.raises(NotFoundError, match="there are tasks, levels_of_theory"):
        spec("xyz")


def test_indexes_are_made_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: database.db[name].index_information() for name in COLLECTIONS}
    made: list[Any] = []
    monkeypatch.setattr(Collection, "create_index", lambda self, *given, **_: made.append(given))
    database.ensure_indexes()
    assert made == []
    assert {name: database.db[name].index_information() for name in COLLECTIONS} == before


@EACH
def test_every_index_is_there(database: Database, name: str) -> None:
    item = COLLECTIONS[name]
    found = {tuple(key for key, _ in index["key"]): index for index in database.db[name].index_information().values()}
    assert set(found) == {("_id",), (item.key,), *item.indexes}
    assert found[item.key,]["unique"]


def test_an_index_that_was_dropped_comes_back(database: Database) -> None:
    database.db["potentials"].drop_index("n_sparse_1")
    database.ensure_indexes()
    assert "n_sparse_1" in database.db["potentials"].index_information()


@EACH
def test_a_key_is_there_once(database: Database, name: str) -> None:
    key = COLLECTIONS[name].key
    database.replace(name, {key: "k", "state": "failed"})
    database.replace(name, {key: "k", "state": "complete"})
    assert [doc["state"] for doc in database.collection(name).find({key: "k"})] == ["complete"]
    with pytest.raises(DuplicateKeyError):
        database.collection(name).insert_one({key: "k"})


def test_dates_come_back_as_they_went(database: Database) -> None:
    now = utc_now()
    database.replace("potentials", {"potential_id": "p", "last_updated": now})
    assert database.collection("potentials").find_one({})["last_updated"] == now  # type: ignore[index]


def test_revisions_count_changes(database: Database) -> None:
    assert database.revision("tasks") == 0
    database.touch("tasks")
    database.touch("tasks")
    assert (database.revision("tasks"), database.revision("materials")) == (2, 0)
    with pytest.raises(NotFoundError):
        database.touch("task")


def test_ids_by_their_beginning(database: Database, silicon: dict[str, Any]) -> None:
    chain = insert_chain(database, silicon)
    assert database.ids_like(chain.potential) == [("potentials", chain.potential)]
    assert database.ids_like(chain.potential[:9]) == [("potentials", chain.potential)]
    assert len(database.ids_like("cfg-")) == 5
    assert database.ids_like("cfg") == []
    assert database.ids_like(".*.*") == []


def test_a_project_reaches_its_database(project: Project, database: Database) -> None:
    database.replace("potentials", {"potential_id": "p"})
    with open_database(project) as by_project, open_database(project.directory) as by_folder:
        assert by_project.collection("potentials").count_documents({}) == 1
        assert by_folder.collection("potentials").count_documents({}) == 1
        assert by_project.project == project.directory


def test_writes_wait_for_the_journal(database: Database) -> None:
    assert database.client.write_concern.document["j"] is True


@pytest.mark.parametrize(
    "address",
    [
        f"mongodb://reader:{SECRET}@host/db",
        f"mongodb+srv://reader:{SECRET}@host/db",
        f"mongodb://reader:a/{SECRET}@host/db",
        f"mongodb://reader:a@{SECRET}@host/db",
        f"mongodb://host/db?tls=true&tlsCertificateKeyFilePassword={SECRET}&w=1",
        f"mongodb://host/db?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
    ],
)
def test_redaction(address: str) -> None:
    hidden = redact(f"no answer from {address}, sorry")
    assert SECRET not in hidden
    assert "host/db" in hidden
    assert hidden.endswith("sorry")


def test_addresses_without_a_secret_stay() -> None:
    text = "mongodb://%2Frun%2Fmlipdb.sock/x of somebody@example.org"
    assert redact(text) == text


@pytest.mark.parametrize("password", [SECRET, f"with%20{SECRET}", f"with {SECRET}"])
def test_a_password_is_never_shown(password: str, tmp_path: Path) -> None:
    address = f"mongodb://reader:{password}@127.0.0.1:1/db?serverSelectionTimeoutMS=50&connectTimeoutMS=50"
    database = Database(address, tmp_path)
    database.client.close()
    client = MlipDB.of(database)
    shown = [repr(database), database.shown, repr(client), repr(client.potentials)]
    with pytest.raises(DatabaseError) as caught, database.errors():
        raise OperationFailure(f"not authorised at {address.replace(' ', '%20')}")
    shown.append(str(caught.value))
    (tmp_path / "mlipdb.yaml").write_text(f"database: {json.dumps(address)}")
    store = ProjectStore(str(tmp_path), "potentials")
    shown += [store.name, repr(store), str(store.as_dict()), repr(vars(store))]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(
    "address",
    [
        f"mongodb://reader:{SECRET}@host:port/db",
        f"mongodb://reader:{SECRET}/x@host/db",
        f"mongodb://reader:x/{SECRET}@host/db",
        f"mongodb://reader:{SECRET}@x@host/db",
        f"mongodb://reader:%{SECRET}@host/db",
        f"mongodb://reader:{SECRET}@/db",
    ],
)
def test_a_wrong_address_is_told_without_its_password(address: str) -> None:
    with pytest.raises(DatabaseError, match="is no usable database address") as caught:
        Database(address)
    assert SECRET not in str(caught.value)
    assert "%40 for @" in str(caught.value)


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"mongodb://reader:{SECRET}@127.0.0.1:1/db")
    quick: Any = pymongo.MongoClient(database._address, serverSelectionTimeoutMS=50)
    monkeypatch.setattr(database, "client", quick)
    with pytest.raises(DatabaseUnreachableError, match="no answer from the database at") as caught:
        database.ping()
    assert SECRET not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    quick.close()


def test_a_refusal_names_what_was_wrong(database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"refused: .*\$nonsense"), database.errors():
        list(database.collection("tasks").find({"a": {"$nonsense": 1}}))
