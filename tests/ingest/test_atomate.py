from __future__ import annotations

import numpy as np
from vasp import Run

from mlipdb.ingest import atomate
from mlipdb.ingest.interpret import interpret, recognise

SCHEMA = {"code": "atomate", "version": "1.0.3"}


def test_a_drone_document() -> None:
    doc = Run().document(schema=SCHEMA, task_id=17, task_label="static", input={"is_hubbard": False})
    assert recognise(doc) == ("atomate", "atomate-17")
    found = interpret("atomate-17", doc, "atomate")
    assert found.energy == Run().energy
    assert np.array_equal(found.forces, Run().forces)


def test_ids_of_others_are_kept() -> None:
    assert atomate.task_id_of({"task_id": "mp-2345130"}) == "mp-2345130"
    made = atomate.task_id_of(Run().document(schema=SCHEMA, task_id=None))
    assert made is not None
    assert made.startswith("atomate-")


def test_the_older_name_of_the_task_tells_the_kind() -> None:
    doc = Run().document(schema=SCHEMA, task_label=None, task_type="rattled structure 3")
    assert interpret("t", doc, "atomate").config_type == "rattled"


def test_other_schemas_are_not_its_own() -> None:
    assert not atomate.recognises(Run().document(schema={"code": "other"}))
    assert not atomate.recognises(Run().document())
    assert not atomate.recognises({"schema": SCHEMA})
