from __future__ import annotations

from typing import Any

import pytest
from vasp import Run

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.interpret import interpret, recognise

BLOB = {"@class": "x", "@module": "y", "blob_uuid": "b-1", "store": "data"}


def test_uuid_and_index_are_the_id() -> None:
    doc = Run().jobflow()
    assert doc["output"]["task_id"] is None
    assert recognise(doc) == ("jobflow", "0f3f0f6e-1111-4222-8333-444455556666-1")
    found = interpret("t", doc, "jobflow")
    assert found.energy == Run().energy
    assert found.level.level_id == interpret("t", Run().document(), "emmet").level.level_id


def test_the_name_of_the_job_tells_the_kind() -> None:
    assert interpret("t", Run().jobflow(name="rattled 2"), "jobflow").config_type == "rattled"
    assert interpret("t", Run().jobflow(metadata={"tags": ["aimd"]}), "jobflow").config_type == "molecular_dynamics"


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ({"@class": "PhononBSDOSDoc", "structure": {}}, "PhononBSDOSDoc"),
        (Run().structure(), "Structure"),
        ([1, 2], "list"),
        (None, "NoneType"),
    ],
)
def test_other_outputs_are_refused_by_their_class(output: Any, kind: str) -> None:
    with pytest.raises(IngestError, match=kind) as caught:
        recognise(Run().jobflow(output=output))
    assert caught.value.reason == "not_a_calculation"


@pytest.mark.parametrize("index", ["1", None, True, 1.5])
def test_an_index_is_a_number(index: Any) -> None:
    with pytest.raises(IngestError) as caught:
        recognise(Run().jobflow(index=index))
    assert caught.value.reason == "bad_id"


def test_a_part_that_is_elsewhere() -> None:
    doc = Run().jobflow()
    doc["output"]["calcs_reversed"][0]["output"]["ionic_steps"] = BLOB
    with pytest.raises(ConfigurationError, match="b-1") as caught:
        interpret("t", doc, "jobflow")
    assert caught.value.reason == "blob_missing"


def test_parts_that_nobody_needs_may_be_elsewhere() -> None:
    doc = Run().jobflow()
    doc["output"]["vasp_objects"] = {"dos": BLOB}
    assert interpret("t", doc, "jobflow").energy == Run().energy
