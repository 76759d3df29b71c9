from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from documents import POTENTIAL_FILES, Chain, insert_chain

from mlipdb.client import MlipDB
from mlipdb.errors import ArtifactError, CalculatorError, DatabaseError, NotFoundError, UsageError
from mlipdb.settings import Project
from mlipdb.stores import COLLECTIONS, Database


@pytest.fixture
def chain(database: Database, silicon: dict[str, Any]) -> Chain:
    return insert_chain(database, silicon)


def test_find(client: MlipDB, chain: Chain) -> None:
    rattled = client.configurations.find("config_type=rattled", "n_atoms>=8")
    assert sorted(doc["configuration_id"] for doc in rattled) == sorted(
        chain.configurations[name] for name in ("rattled-diamond-00", "rattled-diamond-01")
    )
    assert all("_id" not in doc for doc in rattled)
    assert client.configurations.count("config_type=rattled") == 2
    assert client.configurations.count() == 5


def test_fields_sort_and_limit(client: MlipDB, chain: Chain) -> None:
    found = client.configurations.find(fields=["n_atoms"], sort=["-n_atoms", "energy_per_atom"], limit=2)
    assert [set(doc) for doc in found] == [{"n_atoms"}] * 2
    every = [doc["n_atoms"] for doc in client.configurations.find(sort="-n_atoms")]
    assert every == sorted(every, reverse=True)
    assert [doc["n_atoms"] for doc in found] == every[:2]


def test_ties_are_sorted_by_key(client: MlipDB, database: Database) -> None:
    for key in ("pot-c", "pot-a", "pot-b"):
        database.replace("potentials", {"potential_id": key, "n_sparse": 1, "state": "complete"})
    assert [doc["potential_id"] for doc in client.potentials.find(sort="-n_sparse")] == ["pot-a", "pot-b", "pot-c"]


def test_a_filter_of_mongodb_besides(client: MlipDB, chain: Chain) -> None:
    where = {"$or": [{"n_atoms": 1}, {"config_type": "bulk"}]}
    assert client.configurations.count(where=where) == 2
    assert client.configurations.count("n_atoms>1", where=where) == 1


def test_failures_are_left_out_unless_asked_for(client: MlipDB, database: Database) -> None:
    for state in ("complete", "incomplete", "failed", "withdrawn"):
        database.replace("materials", {"material_id": state, "state": state, "names": ["solid-state"]})

    def ids(*conditions: str, **options: Any) -> list[str]:
        return [doc["material_id"] for doc in client.materials.find(*conditions, sort="material_id", **options)]

    assert ids() == ["complete", "incomplete"]
    assert ids(failed=True) == ["complete", "failed", "incomplete", "withdrawn"]
    assert ids("state=failed") == ["failed"]
    assert ids(where={"$or": [{"state": "withdrawn"}]}) == ["withdrawn"]
    assert ids("names=solid-state") == ["complete", "incomplete"]


def test_wrong_fields(client: MlipDB) -> None:
    for wrong in ({"fields": ["n_atom"]}, {"sort": "n_atom"}):
        with pytest.raises(UsageError, match="did you mean n_atoms"):
            client.configurations.find(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        client.configurations.count("n_atom=3")
    with pytest.raises(DatabaseError):
        client.configurations.find(where={"$nonsense": 1})


def test_get(client: MlipDB, chain: Chain) -> None:
    assert client.potentials.get(chain.potential)["n_sparse"] == 100
    with pytest.raises(NotFoundError, match="no document in potentials has the potential_id 'pot-x'"):
        client.potentials.get("pot-x")


def test_find_id(client: MlipDB, chain: Chain) -> None:
    assert client.find_id(chain.phonon) == ("phonons", chain.phonon)
    assert client.find_id(chain.phonon[:8]) == ("phonons", chain.phonon)
    assert client.find_id("diamond") == ("materials", chain.material)
    assert client.get("diamond")["space_group_number"] == 227
    with pytest.raises(NotFoundError, match="may be any of cfg-"):
        client.find_id("cfg-")
    with pytest.raises(NotFoundError, match="nothing is called 'graphene'"):
        client.find_id("graphene")


def test_files_of_a_potential(client: MlipDB, chain: Chain, tmp_path: Path) -> None:
    main = client.files(chain.potential, tmp_path / "out")
    assert main == tmp_path / "out" / "gap.xml"
    assert {path.name: path.read_bytes() for path in main.parent.iterdir()} == POTENTIAL_FILES
    refs = client.potentials.get(chain.potential)["files"]
    assert [client.file(ref) for ref in refs] == list(POTENTIAL_FILES.values())


def test_files_that_are_not_there(client: MlipDB, database: Database, chain: Chain, tmp_path: Path) -> None:
    database.db["artifacts.files"].delete_many({})
    with pytest.raises(ArtifactError, match="is not stored"):
        client.files(chain.potential, tmp_path)
    database.replace("potentials", {"potential_id": "pot-failed", "state": "failed"})
    with pytest.raises(NotFoundError, match=r"has no files \(state: failed\)"):
        client.files("pot-failed", tmp_path)


def test_files_that_are_no_potential(client: MlipDB, chain: Chain) -> None:
    with pytest.raises(CalculatorError):
        client.calculator(chain.potential)


def test_by_address_and_by_project(
    database: Database, project: Project, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (database._address, project.directory, str(project.directory)):
        with MlipDB(source) as db:
            assert db.potentials.count() == 1
    monkeypatch.chdir(project.directory)
    with MlipDB() as db:
        assert db.potentials.count() == 1


def test_every_collection_is_an_attribute(client: MlipDB) -> None:
    assert set(MlipDB.__annotations__) == set(COLLECTIONS)
    assert all(getattr(client, name).name == name for name in COLLECTIONS)
    assert repr(client.potentials) == "Collection('potentials')"
