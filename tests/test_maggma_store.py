from __future__ import annotations

import json
from typing import Any

import pytest
from maggma.stores import MongoStore
from monty.json import MontyDecoder

from mlipdb.errors import NotFoundError
from mlipdb.maggma_store import ProjectStore
from mlipdb.settings import Project
from mlipdb.stores import Database

SECRET = "hunter2"


@pytest.fixture
def store(project: Project) -> ProjectStore:
    return ProjectStore(str(project.directory), "potentials")


def test_maggmas_own_store_tells_the_password() -> None:
    """Defect 8 of maggma, and the reason for a store of our own: once this fails, ours may go."""
    theirs = MongoStore(None, "potentials", uri=f"mongodb://reader:{SECRET}@host/db")
    assert SECRET in theirs.name


def test_ours_does_not(tmp_path: Any) -> None:
    (tmp_path / "mlipdb.yaml").write_text(f"database: mongodb://reader:{SECRET}@host/db")
    store = ProjectStore(str(tmp_path), "potentials")
    assert store.name == "mlipdb://potentials"
    assert SECRET not in json.dumps(store.as_dict())
    assert SECRET not in f"{store!r} {vars(store)}"


def test_it_reads_and_writes_the_project(store: ProjectStore, database: Database) -> None:
    store.connect()
    store.update([{"potential_id": "p", "n_sparse": 3}, {"potential_id": "q", "n_sparse": 4}])
    store.update([{"potential_id": "p", "n_sparse": 5}])
    assert database.collection("potentials").find_one({"potential_id": "p"})["n_sparse"] == 5  # type: ignore[index]
    assert store.count() == 2
    assert store.query_one({"potential_id": "q"})["n_sparse"] == 4
    assert store.distinct("n_sparse") == [4, 5]
    store.close()


def test_its_key_is_that_of_the_collection(store: ProjectStore) -> None:
    assert store.key == "potential_id"
    with pytest.raises(NotFoundError):
        ProjectStore("somewhere", "potential")


def test_the_way_through_json(store: ProjectStore, database: Database) -> None:
    database.replace("potentials", {"potential_id": "p"})
    back = MontyDecoder().process_decoded(json.loads(json.dumps(store.as_dict())))
    assert isinstance(back, ProjectStore)
    assert back == store
    back.connect()
    assert back.count() == 1
    back.close()


def test_stores_of_two_projects_are_two() -> None:
    assert ProjectStore("a", "tasks") == ProjectStore("a", "tasks")
    assert len({ProjectStore("a", "tasks"), ProjectStore("b", "tasks"), ProjectStore("a", "potentials")}) == 3
    assert ProjectStore("a", "tasks") != "a"


def test_a_shared_connection_stays_open(store: ProjectStore, database: Database) -> None:
    store.attach(database)
    assert store.count() == 0
    store.close()
    database.ping()
