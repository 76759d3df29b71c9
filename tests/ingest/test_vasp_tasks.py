from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vasp import EMMET, LICL, Run, load, need_real

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import Calculation, require_good, require_usable
from mlipdb.ingest.interpret import interpret, recognise
from mlipdb.ingest.vasp_tasks import hashed_id, interpret_task, is_vasp_task, text_id

Raw = dict[str, Any]


def read(doc: Raw) -> Calculation:
    source_format, task_id = recognise(doc)
    return interpret(task_id, doc, source_format)


def reason_of(doc: Raw) -> str:
    with pytest.raises(ConfigurationError) as caught:
        require_good(interpret_task("t", doc))
    return caught.value.reason


def test_a_document_gives_its_last_step() -> None:
    run = Run(ionic=3)
    found = read(run.document())
    require_usable(found)
    assert found.task_id == "mp-149"
    assert found.energy == run.energy
    assert np.array_equal(found.forces, run.forces)
    assert found.converged
    assert found.config_type is None
    assert found.level.label == "PBEsol, VASP, PAW, 520 eV, k-mesh >= 19 A"


def test_the_stress_changes_unit_and_sign() -> None:
    found = read(Run().document()).stress
    assert found is not None
    expected = np.array([-1.5, 2.0, -3.0, -0.75, 0.5, -0.25]) / 1602.176634
    assert np.allclose(found, expected, rtol=1e-12, atol=0)


def test_documents_may_lack_what_is_not_needed() -> None:
    doc = Run().document()
    del doc["structure"], doc["orig_inputs"], doc["calcs_reversed"][0]["output"]["ionic_steps"][0]["structure"]
    step = doc["calcs_reversed"][0]["output"]["ionic_steps"][0]
    del step["forces"], step["stress"], doc["output"]["stress"]
    found = read(doc)
    require_usable(found)
    assert found.stress is None


def test_the_outcar_knows_the_free_energy_too() -> None:
    doc = Run().document()
    output = doc["calcs_reversed"][0]["output"]
    output.pop("ionic_steps")
    output["outcar"] = {"final_fr_energy": -7.25, "final_energy": -7.0}
    found = read(doc)
    assert (found.energy, found.energy_kind) == (-7.25, "free")


def test_another_energy_is_marked() -> None:
    run = Run()
    doc = run.document()
    doc["calcs_reversed"][0]["output"].pop("ionic_steps")
    found = read(doc)
    require_usable(found)
    assert (found.energy, found.energy_kind) == (doc["output"]["energy"], "extrapolated")
    assert reason_of(doc) == "energy_kind"
    del doc["output"]["energy"]
    assert reason_of(doc) == "no_energy"


def test_the_energy_under_a_pressure_may_be_the_enthalpy() -> None:
    run = Run()
    run.incar["PSTRESS"] = 1000.0
    assert read(run.document()).energy_kind == "unknown"
    assert reason_of(run.document()) == "energy_kind"
    run.incar["PSTRESS"] = 0.0
    assert read(run.document()).energy_kind == "free"


@pytest.mark.parametrize(
    "said",
    [
        {"@module": "atomate2.cp2k.schemas.task", "@class": "TaskDocument"},
        {"@module": "atomate2.aims.schemas.task"},
        {"@module": "emmet.core.qc_tasks"},
        {"@class": "Cp2kTaskDocument"},
        {"@class": "AimsTaskDoc"},
        {"code": "FHI-aims"},
        {"code": "Quantum ESPRESSO"},
        {"schema": {"code": "qchem"}},
    ],
)
def test_a_document_of_another_code_is_refused(said: Raw) -> None:
    doc = Run().document(run_type="GGA", **said)
    with pytest.raises(IngestError, match="another code than VASP") as refused:
        recognise(doc)
    assert refused.value.reason == "other_code"
    with pytest.raises(IngestError) as refused:
        recognise(Run().jobflow(output=doc))
    assert refused.value.reason == "other_code"
    assert reason_of(doc) == "other_code"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"@module": "emmet.core.tasks", "@class": "TaskDoc"},
        {"@module": "atomate2.vasp.schemas.task", "@class": "TaskDocument"},
        {"code": "VASP"},
        {"code": 7},
        {"@module": None},
    ],
)
def test_a_document_of_no_other_code_is_read(said: Raw) -> None:
    assert read(Run().document(**said)).energy == Run().energy


def test_another_code_in_the_calculation() -> None:
    doc = Run().document()
    doc["calcs_reversed"][0]["@module"] = "atomate2.cp2k.schemas.calculation"
    assert reason_of(doc) == "other_code"


def test_a_core_task_document_has_no_forces() -> None:
    doc = Run().document()
    del doc["calcs_reversed"], doc["output"]["forces"], doc["output"]["stress"]
    doc["input"] = {"incar": {"GGA": "PS"}}
    assert is_vasp_task(doc)
    assert recognise(doc) == ("emmet", "mp-149")
    assert reason_of(doc) == "no_forces"


@pytest.mark.parametrize("energy", [0.0, None, "low", True])
def test_a_step_without_its_free_energy(energy: Any) -> None:
    doc = Run().document()
    doc["calcs_reversed"][0]["output"]["ionic_steps"][-1]["e_fr_energy"] = energy
    assert read(doc).energy_kind == "extrapolated"


def test_an_electronic_loop_that_ran_out() -> None:
    assert reason_of(Run(electronic=40).document()) == "unconverged"
    assert reason_of(Run(electronic=40).document(state="failed")) == "unconverged"


@pytest.mark.parametrize("state", ["failed", "error", "unsuccessful", "killed"])
def test_a_failed_task(state: str) -> None:
    assert reason_of(Run().document(state=state)) == "task_failed"
    doc = Run().document()
    doc["calcs_reversed"][0]["has_vasp_completed"] = "failed" if state == "failed" else False
    assert reason_of(doc) == "task_failed"


def test_a_relaxation_that_ran_out_of_steps_is_a_label() -> None:
    run = Run(ionic=3)
    run.incar["NSW"] = 3
    require_usable(read(run.document(state="failed")))
    run.electronic = 0
    assert reason_of(run.document(state="failed")) == "task_failed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"forces": [[1, 2], [3]]}, "bad_number"),
        ({"forces": "none"}, "bad_number"),
        ({"forces": [[0.0, 0.0, 0.0]]}, "wrong_shape"),
        ({"stress": [1, 2, 3]}, "wrong_shape"),
        ({"stress": [["a"]]}, "bad_number"),
        ({"structure": {"sites": []}}, "bad_structure"),
        ({"e_fr_energy": float("inf")}, "not_finite"),
    ],
)
def test_damaged_steps(changes: Raw, reason: str) -> None:
    doc = Run().document()
    doc["calcs_reversed"][0]["output"]["ionic_steps"][-1].update(changes)
    assert reason_of(doc) == reason


def test_disorder_is_refused() -> None:
    doc = Run().document()
    structure = copy.deepcopy(doc["structure"])
    structure["sites"][0]["species"] = [{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]
    doc["calcs_reversed"][0]["output"]["ionic_steps"][-1]["structure"] = structure
    assert reason_of(doc) == "disordered"


def test_pseudopotentials_by_their_older_names() -> None:
    for inputs in (
        {"potcar": ["Na_pv", "Cl"], "potcar_type": ["PAW_PBE", "PAW_PBE"]},
        {"potcar": {"functional": "PBE", "symbols": ["Na_pv", "Cl"]}},
        {"pseudo_potential": {"functional": "pbe", "pot_type": "paw", "labels": ["Na_pv", "Cl"]}},
    ):
        doc = Run().document(input=inputs)
        del doc["calcs_reversed"][0]["input"]["potcar_spec"]
        assert read(doc).level.pseudopotentials == {"Na": "PAW_PBE Na_pv", "Cl": "PAW_PBE Cl"}


def test_foreign_ids_are_opaque() -> None:
    doc = Run().document(task_id="mp-ft", material_id="mp-149", icsd_id=52)
    found = read(doc)
    assert (found.task_id, found.foreign_ids) == ("mp-ft", ["icsd-52", "mp-149"])
    assert [text_id(value) for value in (None, "", 7, "mp-1")] == [None, None, "7", "mp-1"]
    for bad in (True, 1.5, {"string": "mp-1"}):
        with pytest.raises(IngestError) as caught:
            text_id(bad)
        assert caught.value.reason == "bad_id"


def test_an_id_from_the_content_outlives_a_move() -> None:
    doc = Run().document(task_id=None)
    again = {**copy.deepcopy(doc), "dir_name": "elsewhere", "last_updated": "2025-01-01", "_id": "x"}
    assert hashed_id("emmet", doc) == hashed_id("emmet", again)
    assert recognise(doc)[1] == hashed_id("emmet", doc)
    assert hashed_id("emmet", doc) != hashed_id("emmet", Run(energy=-1.0).document(task_id=None))
    assert len(hashed_id("emmet", {"a": float("nan")}).partition("-")[2]) == 20


def test_documents_that_are_something_else() -> None:
    for other in ([], {"output": []}, {"output": {"structure": {}}}, {"calcs_reversed": []}):
        assert not is_vasp_task(other)


@need_real
def test_every_real_document_is_understood_or_refused_by_name() -> None:
    found: Counter[tuple[str, str]] = Counter()
    for path in (LICL / "tasks.jsonl.gz", *sorted(EMMET.glob("*.gz"))):
        for doc in load(path):
            try:
                calculation = read(doc)
                require_good(calculation)
                reason = "good"
                last = doc["calcs_reversed"][0]["output"]["ionic_steps"][-1]
                assert calculation.energy == last["e_fr_energy"]
                assert len(calculation.atoms) == len(last["forces"])
            except ConfigurationError as error:
                reason = error.reason
            found[recognise(doc)[0], reason] += 1
    assert found == {("emmet", "good"): 20, ("atomate", "good"): 97, ("atomate", "not_self_consistent"): 1}


@need_real
def test_kinds_of_the_real_set() -> None:
    kinds = {doc["task_label"]: read(doc).config_type for doc in load(LICL / "tasks.jsonl.gz")}
    assert {kinds[f"rand_static_{number}"] for number in range(1, 13)} == {"rattled"}
    assert {kinds["Li-statisoatom"], kinds["Cl-statisoatom"]} == {"isolated_atom"}
    assert {kinds[name] for name in kinds if not name.startswith("rand") and "iso" not in name} == {None}


@need_real
def test_the_free_energy_is_none_of_the_others() -> None:
    doc = load(EMMET / "task_doc_mp-2766060.json.gz")[0]
    assert read(doc).energy == -62.79531571
    assert doc["output"]["energy"] == -62.79737227
    assert json.dumps(doc).count("-62.79582985") >= 1


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_document_with_something_odd_in_it_is_read_or_refused(data: st.DataObject) -> None:
    doc = Run(ionic=2).jobflow() if data.draw(st.booleans()) else Run().document()
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(doc)[1:]))
        holder = doc
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = data.draw(ODD)
    try:
        outcome = type(read(doc))
    except (ConfigurationError, IngestError) as error:
        outcome = type(error)
        assert error.reason not in {"data", "error", "unusable_task", "unreadable"}  # noqa: PT017 - any outcome is right
    assert outcome in {Calculation, ConfigurationError, IngestError}
