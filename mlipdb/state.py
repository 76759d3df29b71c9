"""How a project stands: what is there, what failed, who is building."""

from __future__ import annotations

from typing import Any

from mlipdb.provenance import LABELS, label_of
from mlipdb.schemas.common import utc_now
from mlipdb.schemas.quality import QUALITY_REASONS
from mlipdb.settings import Project
from mlipdb.stores import COLLECTIONS, Database

__all__ = ["state_of"]

Raw = dict[str, Any]
#: Failures listed in full; the rest are counted.
SHOWN = 20


def state_of(project: Project, database: Database) -> Raw:
    """The state of a project as plain data.

    Returns
    -------
    dict
        project, database, limits, collections (state -> number), incomplete, quality (reason -> number of
        configurations), left_out (training set -> reason -> number), failures, failures_not_shown,
        last_runs, building.
    """
    runs = _last_runs(database)
    failures, more = _failures(database)
    refused = [entry for run in runs for entry in _refused(run)]
    return {
        "project": str(project.directory),
        "database": _place(project, database),
        "limits": _limits(project),
        "collections": {name: _counts(database, name) for name in COLLECTIONS if name != "build_runs"},
        "incomplete": _incomplete(database),
        "quality": _quality(database),
        "left_out": _left_out(database),
        "failures": refused + failures,
        "failures_not_shown": more,
        "last_runs": [{key: value for key, value in run.items() if key != "failures"} for run in runs],
        "building": _building(database),
    }


def _place(project: Project, database: Database) -> str:
    """Where the data are; of the embedded database the folder, as its socket's address tells nobody anything."""
    if project.settings.database != "embedded":
        return database.shown
    return f"embedded, in {project.data_directory.relative_to(project.directory)}"


def _limits(project: Project) -> str | None:
    if project.settings.database != "embedded":
        return None
    from mlipdb import embedded

    return embedded.status(project.data_directory).limits


def _counts(database: Database, name: str) -> Raw:
    collection = database.collection(name)
    states = collection.distinct("state")
    return {state: collection.count_documents({"state": state}) for state in sorted(states)}


def _incomplete(database: Database) -> list[Raw]:
    found = database.collection("phonons").find({"state": "incomplete"}, {"_id": 0, "mesh": 0, "path": 0})
    return [
        {"id": doc["phonon_id"], "label": label_of("phonons", doc), "missing": doc.get("missing", [])}
        for doc in found.sort("phonon_id", 1)
    ]


def _quality(database: Database) -> dict[str, int]:
    """Configurations that a quality gate holds back, by reason; one may have several."""
    collection = database.collection("configurations")
    counts = {
        reason: collection.count_documents({"state": "complete", "quality.reason": reason})
        for reason in QUALITY_REASONS
    }
    return {reason: count for reason, count in counts.items() if count}


def _left_out(database: Database) -> dict[str, dict[str, int]]:
    """What the quality gates kept out of the training sets of today."""
    found = database.collection("training_sets").find(
        {"state": "complete", "current": True}, {"name": 1, "left_out": 1}
    )
    return {doc["name"]: doc["left_out"] for doc in found.sort("name", 1) if doc.get("left_out")}


def _failures(database: Database) -> tuple[list[Raw], int]:
    failures: list[Raw] = []
    more = 0
    for name, item in COLLECTIONS.items():
        if name == "build_runs":
            continue
        query = {"$or": [{"state": "failed"}, {"rebuild_failure": {"$exists": True}}]}
        fields = {item.key: 1, "failure": 1, "rebuild_failure": 1, **dict.fromkeys(LABELS.get(name, ()), 1)}
        for doc in database.collection(name).find(query, fields).sort(item.key, 1):
            if len(failures) >= SHOWN:
                more += 1
                continue
            failure = doc.get("failure") or doc.get("rebuild_failure") or {}
            failures.append(
                {
                    "collection": name,
                    "id": doc[item.key],
                    "label": label_of(name, doc),
                    "reason": failure.get("reason"),
                    "message": failure.get("message"),
                    "attempts": failure.get("attempts"),
                    "good_document_kept": "rebuild_failure" in doc,
                }
            )
    return failures, more


def _refused(run: Raw) -> list[Raw]:
    """Withdrawals that the last run of a builder refused; no document tells of them."""
    return [
        {
            "collection": run["builder"],
            "id": None,
            "label": failure.get("item"),
            "reason": failure["reason"],
            "message": failure.get("message"),
            "attempts": failure.get("attempts"),
            "good_document_kept": True,
        }
        for failure in run.get("failures") or ()
        if failure.get("reason") == "withdraw_guard"
    ]


def _last_runs(database: Database) -> list[Raw]:
    runs = database.collection("build_runs")
    fields = {"_id": 0, "builder": 1, "started": 1, "ended": 1, "checked": 1, "built": 1, "unchanged": 1, "failed": 1}
    fields["failures"] = 1
    last = []
    for builder in sorted(runs.distinct("builder")):
        found = runs.find_one({"builder": builder, "ended": {"$exists": True}}, fields, sort=[("started", -1)])
        if found is not None:
            last.append(found)
    return sorted(last, key=lambda run: run["started"])


def _building(database: Database) -> list[Raw]:
    return [
        {"builder": lock["_id"], "host": lock["host"], "pid": lock["pid"], "since": lock["acquired"]}
        for lock in database.locks.find({"expires": {"$gt": utc_now()}})
    ]
