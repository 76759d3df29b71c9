from __future__ import annotations

from typing import Any

import pytest
from vasp import Run
from workbench import Workbench

from mlipdb.ingest import emmet
from mlipdb.ingest.interpret import interpret, recognise


def test_a_task_document_is_known_by_its_form() -> None:
    doc = Run().document()
    assert emmet.recognises(doc)
    assert recognise(doc) == ("emmet", "mp-149")
    assert interpret("mp-149", doc, "emmet").energy == Run().energy


def test_ids_are_kept_as_written() -> None:
    assert [emmet.task_id_of(Run().document(task_id=value)) for value in ("mp-ft", 149)] == ["mp-ft", "149"]
    made = emmet.task_id_of(Run().document(task_id=None))
    assert made == emmet.task_id_of(Run().document(task_id=""))
    assert made is not None
    assert made.startswith("emmet-")


def test_a_flat_record_is_none() -> None:
    assert not emmet.recognises({"structure": {}, "energy": 1.0, "forces": []})


@pytest.mark.parametrize(
    "date",
    [
        "2024-03-22T20:04:08.500Z",
        "2024-03-22T21:04:08.500999+01:00",
        "2024-03-22 20:04:08.500",
        {"@module": "datetime", "@class": "datetime", "string": "2024-03-22 20:04:08.500000"},
    ],
)
def test_its_date_is_kept_in_utc(bench: Workbench, date: Any) -> None:
    bench.add([Run().document(last_updated=date)])
    dates = [task["source"]["changed"].isoformat() for task in bench.docs("tasks")]
    assert dates == ["2024-03-22T20:04:08.500000"]
    bench.add([Run().jobflow(output={**Run().document(task_id=None), "last_updated": date})])
    assert len({task["source"]["changed"] for task in bench.docs("tasks")}) == 1
