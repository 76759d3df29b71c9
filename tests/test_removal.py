from __future__ import annotations

from typing import Any

import pytest
from documents import POTENTIAL_FILES, Chain, insert_chain

from mlipdb.artifacts import Artifacts
from mlipdb.checking import check_database
from mlipdb.errors import NotFoundError
from mlipdb.removal import remove_documents
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import Database


@pytest.fixture
def chain(database: Database, silicon: dict[str, Any]) -> Chain:
    return insert_chain(database, silicon)


def test_a_document_goes_with_its_files(database: Database, chain: Chain) -> None:
    assert remove_documents(database, "potentials", [chain.potential]) == (1, 2)
    assert database.collection("potentials").count_documents({}) == 0
    report = check_database(database)
    assert report.unused_artifacts == []
    assert report.problems == [
        f"phonon_benchmarks {chain.benchmark}: its potential_id {chain.potential} are not in potentials"
    ]


def test_a_file_that_others_name_stays(database: Database, chain: Chain) -> None:
    potential = database.collection("potentials").find_one({}, {"_id": 0})
    assert potential is not None
    database.replace("potentials", {**potential, "potential_id": "pot-twin", "files": potential["files"][:1]})
    assert remove_documents(database, "potentials", [chain.potential]) == (1, 1)
    left = Artifacts(database)
    first, second = (ArtifactRef.model_validate(ref) for ref in potential["files"])
    assert left.get(first) == POTENTIAL_FILES["gap.xml"]
    assert not left.exists(second.sha256)


def test_files_nobody_named_before_are_left_alone(database: Database, chain: Chain) -> None:
    ref = Artifacts(database).put("uploaded just now", b"by a builder that has yet to write its document")
    remove_documents(database, "potentials", [chain.potential])
    assert Artifacts(database).exists(ref.sha256)


def test_a_removal_is_a_change(database: Database, chain: Chain) -> None:
    before = database.revision("phonons")
    assert remove_documents(database, "phonons", [chain.phonon]) == (1, 0)
    assert database.revision("phonons") > before


def test_keys_that_are_not_there(database: Database, chain: Chain) -> None:
    assert remove_documents(database, "potentials", ["pot-x"]) == (0, 0)
    assert remove_documents(database, "potentials", []) == (0, 0)
    assert database.collection("potentials").count_documents({}) == 1
    with pytest.raises(NotFoundError):
        remove_documents(database, "potential", [chain.potential])
