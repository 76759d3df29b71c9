from __future__ import annotations

import json
from typing import Any

import pytest
from documents import TASKS, Chain, insert_chain

from mlipdb.provenance import Node, dependents_of, label_of, tree_of
from mlipdb.stores import COLLECTIONS, Database


@pytest.fixture
def chain(database: Database, silicon: dict[str, Any]) -> Chain:
    return insert_chain(database, silicon)


def every(node: Node) -> list[Node]:
    return [node, *(inner for parent in node.parents for inner in every(parent))]


def test_a_benchmark_comes_from_tasks(database: Database, chain: Chain) -> None:
    tree = tree_of(database, "phonon_benchmarks", chain.benchmark)
    assert tree.tasks() == sorted(TASKS)
    assert {node.collection for node in every(tree)} == {
        "phonon_benchmarks",
        "potentials",
        "training_sets",
        "phonons",
        "configurations",
        "materials",
        "tasks",
    }
    assert not any(node.missing for node in every(tree))


def test_every_path_can_be_followed(database: Database, chain: Chain) -> None:
    tree = tree_of(database, "phonon_benchmarks", chain.benchmark)
    potential, phonon, material = tree.parents
    assert [potential.key, phonon.key, material.key] == [chain.potential, chain.phonon, chain.material]
    assert phonon.tasks() == ["phonon-diamond-01", "relax-diamond"]
    assert material.tasks() == ["relax-diamond"]
    assert [parent.key for parent in potential.parents] == [chain.training_set]
    assert {parent.key for parent in potential.parents[0].parents} == set(chain.configurations.values())


def test_a_missing_parent_is_said(database: Database, chain: Chain) -> None:
    gone = chain.configurations["rattled-diamond-00"]
    database.collection("configurations").delete_one({"configuration_id": gone})
    tree = tree_of(database, "potentials", chain.potential)
    assert [node.key for node in every(tree) if node.missing] == [gone]
    assert f'"id": "{gone}", "label": "", "missing": true' in json.dumps(tree.as_dict())
    assert "rattled-diamond-00" not in tree.tasks()


def test_a_document_that_is_not_there(database: Database) -> None:
    assert tree_of(database, "potentials", "pot-x").missing


def test_labels_are_for_people(database: Database, chain: Chain) -> None:
    labels = {node.collection: node.label for node in every(tree_of(database, "phonon_benchmarks", chain.benchmark))}
    assert labels["potentials"] == "gap on full, n_sparse 100, delta 1.0, f 0.1"
    assert labels["phonons"].startswith("DFT phonons of diamond, PBE, Quantum ESPRESSO")
    assert labels["materials"] == "diamond, Fd-3m"
    assert labels["training_sets"] == "training set full"
    assert labels["phonon_benchmarks"] == "benchmark on diamond"
    assert labels["tasks"] == "tasks.jsonl"


@pytest.mark.parametrize("name", COLLECTIONS)
def test_an_empty_document_has_a_label_too(name: str) -> None:
    assert isinstance(label_of(name, {}), str)


def test_plain_form_goes_into_json(database: Database, chain: Chain) -> None:
    plain = tree_of(database, "phonons", chain.phonon).as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["id"] == chain.phonon
    assert {parent["collection"] for parent in plain["parents"]} == {"materials", "configurations"}


def test_dependents(database: Database, chain: Chain) -> None:
    displaced = chain.configurations["phonon-diamond-01"]
    assert dependents_of(database, "configurations", displaced) == [
        ("phonons", chain.phonon),
        ("training_sets", chain.training_set),
    ]
    assert dependents_of(database, "potentials", chain.potential) == [("phonon_benchmarks", chain.benchmark)]
    assert dependents_of(database, "phonon_benchmarks", chain.benchmark) == []
