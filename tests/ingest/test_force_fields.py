from __future__ import annotations

from typing import Any

import pytest
from vasp import Run

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.interpret import interpret, recognise

TASK: dict[str, Any] = {
    "@module": "atomate2.forcefields.schemas",
    "@class": "ForceFieldTaskDocument",
    "forcefield_name": "MACE-MP-0",
    "forcefield_version": "0.3.6",
    "structure": Run().structure(),
    "output": {"energy": -3.0, "forces": [], "ionic_steps": []},
    "task_id": "ff-1",
}


def refusal(raw: dict[str, Any]) -> ConfigurationError:
    source_format, task_id = recognise(raw)
    with pytest.raises(ConfigurationError) as caught:
        interpret(task_id, raw, source_format)
    return caught.value


def test_a_force_field_is_kept_and_no_label() -> None:
    assert recognise(TASK) == ("force_field", "ff-1")
    error = refusal(TASK)
    assert error.reason == "force_field"
    assert "MACE-MP-0 0.3.6" in error.message


def test_inside_a_jobflow_document() -> None:
    error = refusal(Run().jobflow(output=TASK))
    assert error.reason == "force_field"
    assert "MACE-MP-0" in error.message


def test_other_calculators_of_ase() -> None:
    raw = {**TASK, "@class": "AseTaskDoc", "ase_calculator_name": "EMT", "task_id": None}
    del raw["forcefield_name"], raw["forcefield_version"]
    assert recognise(raw)[1].startswith("force_field-")
    assert "EMT" in refusal(raw).message
    del raw["ase_calculator_name"]
    assert "does not name" in refusal(raw).message
