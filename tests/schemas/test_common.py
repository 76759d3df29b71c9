"""What every document promises: required fields, no unknown ones, the way through BSON, its key."""

from __future__ import annotations

import hashlib
from typing import Any

import bson
import pytest
from documents import insert_chain
from pydantic import ValidationError

from mlipdb.schemas.common import SCHEMA_VERSION, ArtifactRef, BuilderMeta, Failure, utc_now
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.stores import COLLECTIONS, Database

CRYSTAL = {"cell": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "numbers": [14], "positions": [[0, 0, 0]]}
MATRIX = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
#: The least that each document needs.
LEAST: dict[str, dict[str, Any]] = {
    "tasks": {"task_id": "t", "source": {"format": "flat", "path": "a.jsonl"}, "raw": {"a": None}},
    "levels_of_theory": {"code": "VASP", "functional": "PBE"},
    "materials": {
        "material_id": "Si",
        "formula": "Si",
        "chemsys": "Si",
        "elements": ["Si"],
        "n_sites": 1,
        "space_group_symbol": "Fd-3m",
        "space_group_number": 227,
        "structure": CRYSTAL,
        "volume_per_atom": 20.0,
    },
    "configurations": {"configuration_id": "cfg-0", "task_ids": ["t"]},
    "phonons": {
        "phonon_id": "ph-0",
        "material_id": "Si",
        "level_id": "lvl-0",
        "supercell_matrix": MATRIX,
        "superlattice": MATRIX,
    },
    "training_sets": {"training_set_id": "ts-0", "name": "full"},
    "potentials": {"potential_id": "pot-0", "framework": "gap"},
    "phonon_benchmarks": {
        "benchmark_id": "bm-0",
        "benchmark": "phonons",
        "potential_id": "pot-0",
        "phonon_id": "ph-0",
        "material_id": "Si",
    },
    "build_runs": {"run_id": "run-0", "builder": "phonons", "started": utc_now()},
}
EACH = pytest.mark.parametrize("name", COLLECTIONS)


def test_every_collection_is_tried() -> None:
    assert list(LEAST) == list(COLLECTIONS)


@EACH
def test_required_fields(name: str) -> None:
    model = COLLECTIONS[name].document_class()
    required = {field for field, info in model.model_fields.items() if info.is_required()}
    assert required == set(LEAST[name]) - {"raw"}
    model.model_validate(LEAST[name])
    for field in LEAST[name]:
        with pytest.raises(ValidationError):
            model.model_validate({key: value for key, value in LEAST[name].items() if key != field})


@EACH
def test_unknown_fields_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        COLLECTIONS[name].document_class().model_validate({**LEAST[name], "colour": "red"})


@EACH
def test_key_field_and_prefix(name: str) -> None:
    model = COLLECTIONS[name].document_class()
    assert model.key_field == COLLECTIONS[name].key
    assert model.key_field in model.model_fields
    prefixes = [item.document_class().prefix for item in COLLECTIONS.values()]
    assert prefixes.count(model.prefix) == 1


@EACH
def test_the_way_through_bson(name: str) -> None:
    model = COLLECTIONS[name].document_class()
    document = model.model_validate(
        {
            **LEAST[name],
            "builder_meta": BuilderMeta(builder="b", builder_version="1"),
            "rebuild_failure": Failure(reason="r", message="m"),
            "references": ["10.1000/1"],
        }
    )
    plain = document.to_bson()
    assert "failure" not in plain, "an absent field must not exist, so that $exists means something"
    back = bson.decode(bson.encode(plain))
    assert model.model_validate(back) == document
    assert back["schema_version"] == SCHEMA_VERSION


@EACH
def test_every_field_is_described_or_plain(name: str) -> None:
    common = {"schema_version", "last_updated", "inputs_hash", "failure", "state", "license", "references"}
    fields = COLLECTIONS[name].document_class().model_fields
    assert all(fields[field].description for field in common)


def test_nulls_inside_a_raw_task_stay() -> None:
    raw = {"stress": None, "nested": {"allotrope": None, "list": [None]}}
    task = COLLECTIONS["tasks"].document_class().model_validate({**LEAST["tasks"], "raw": raw})
    assert task.to_bson()["raw"] == raw


def test_keys_of_a_whole_chain_never_change(database: Database, silicon: dict[str, Any]) -> None:
    chain = insert_chain(database, silicon)
    assert chain.material == "Si-A_cF8_227_a"
    assert chain.phonon == "ph-717269488b573f5019cb"
    assert chain.configurations == {
        "isolated-atom": "cfg-222ee68d08d5e51dab94",
        "relax-diamond": "cfg-2996b2106b8ca7e0da29",
        "phonon-diamond-01": "cfg-18923f7b53c6edcd0bf1",
        "rattled-diamond-00": "cfg-9acaffbcc3fae07b76c5",
        "rattled-diamond-01": "cfg-c3b0140467cd1f333e7b",
    }


def test_keys_can_be_computed_again_from_the_stored_document(database: Database, silicon: dict[str, Any]) -> None:
    insert_chain(database, silicon)
    checked = 0
    for item in COLLECTIONS.values():
        for stored in database.collection(item.name).find({}, {"_id": 0}):
            document = item.document_class().model_validate(stored)
            if document.identity() is not None:
                assert make_key(document.prefix, document.identity()) == stored[item.key]
                checked += 1
    assert checked == 11


def test_documents_without_a_content_key_have_no_identity() -> None:
    models = {name: COLLECTIONS[name].document_class() for name in ("tasks", "materials", "build_runs")}
    assert all(model.model_validate(LEAST[name]).identity() is None for name, model in models.items())


def test_artifact_reference() -> None:
    ref = ArtifactRef.of("gap.xml", b"<GAP/>")
    assert (ref.sha256, ref.size) == (hashlib.sha256(b"<GAP/>").hexdigest(), 6)
    for wrong in ({"sha256": "A" * 64}, {"sha256": ref.sha256[:-1]}, {"size": -1}):
        with pytest.raises(ValidationError):
            ArtifactRef.model_validate({**ref.model_dump(), **wrong})


def test_now_survives_mongodb() -> None:
    now = utc_now()
    assert now.tzinfo is None
    assert bson.decode(bson.encode({"now": now}))["now"] == now


@pytest.mark.parametrize(("field", "value"), [("state", "done"), ("visibility", "secret")])
def test_closed_lists(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        LevelOfTheory.model_validate({"code": "VASP", "functional": "PBE", field: value})
