from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from documents import insert_chain

from mlipdb.locks import lease
from mlipdb.schemas.common import Failure, utc_now
from mlipdb.settings import Project, load_project
from mlipdb.state import SHOWN, state_of
from mlipdb.stores import COLLECTIONS, Database


def test_an_empty_project(project: Project, database: Database) -> None:
    state = state_of(project, database)
    assert state["collections"] == {name: {} for name in COLLECTIONS if name != "build_runs"}
    assert (state["failures"], state["incomplete"], state["last_runs"], state["building"]) == ([], [], [], [])
    assert state["limits"] is None
    assert state["database"] == database.shown


def test_what_is_there(project: Project, database: Database, silicon: dict[str, Any]) -> None:
    chain = insert_chain(database, silicon)
    change = {"state": "incomplete", "missing": ["atom 1 along +x"]}
    database.collection("phonons").update_one({}, {"$set": change})
    failure = Failure(reason="fit_failed", message="it did", attempts=2).model_dump()
    database.collection("potentials").update_one({}, {"$set": {"rebuild_failure": failure}})
    state = state_of(project, database)
    assert state["collections"]["configurations"] == {"complete": 5}
    assert state["collections"]["phonons"] == {"incomplete": 1}
    (incomplete,) = state["incomplete"]
    assert (incomplete["id"], incomplete["missing"]) == (chain.phonon, ["atom 1 along +x"])
    (failed,) = state["failures"]
    assert (failed["id"], failed["reason"], failed["attempts"]) == (chain.potential, "fit_failed", 2)
    assert failed["good_document_kept"] is True


def test_many_failures_are_counted(project: Project, database: Database) -> None:
    for number in range(SHOWN + 3):
        database.replace("tasks", {"task_id": f"t{number:02d}", "state": "failed", "failure": {"reason": "no_json"}})
    state = state_of(project, database)
    assert (len(state["failures"]), state["failures_not_shown"]) == (SHOWN, 3)


def test_runs_and_builders(project: Project, database: Database) -> None:
    now = utc_now()
    for number, minutes in enumerate((10, 5)):
        run = {"run_id": f"r{number}", "builder": "phonons", "started": now - timedelta(minutes=minutes), "ended": now}
        database.replace("build_runs", {**run, "built": number})
    database.replace("build_runs", {"run_id": "r9", "builder": "phonons", "started": now})
    with lease(database, "materials") as lock:
        state = state_of(project, database)
    assert [run["built"] for run in state["last_runs"]] == [1]
    assert [(entry["builder"], entry["pid"]) for entry in state["building"]] == [("materials", lock.pid)]


def test_the_embedded_database_is_named_by_its_folder(database: Database, tmp_path: Path) -> None:
    (tmp_path / "mlipdb.yaml").write_text("database: embedded\n")
    assert state_of(load_project(tmp_path), database)["database"] == "embedded, in .mlipdb"


def test_a_refused_withdrawal_is_a_failure_until_a_run_goes_through(project: Project, database: Database) -> None:
    now = utc_now()
    refusal = {"item": "phonons", "reason": "withdraw_guard", "message": "too many"}
    run = {"run_id": "r1", "builder": "phonons", "started": now - timedelta(minutes=5), "ended": now}
    database.replace("build_runs", {**run, "failures": [refusal]})
    state = state_of(project, database)
    assert [(entry["collection"], entry["reason"]) for entry in state["failures"]] == [("phonons", "withdraw_guard")]
    database.replace("build_runs", {**run, "run_id": "r2", "started": now, "failures": []})
    assert state_of(project, database)["failures"] == []
