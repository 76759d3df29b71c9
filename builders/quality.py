"""Quality that only several configurations together show."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from mlipdb.derive.quality import QUALITY_FIELDS, STATED, quality_of, scan_errors
from mlipdb.schemas.common import utc_now
from mlipdb.stores import Database

__all__ = ["judge_stresses"]

Raw = dict[str, Any]
FIELDS = ("configuration_id", "material_id", "level_id", "structure", "stress", "sources", *QUALITY_FIELDS)
#: Errors (GPa) closer than this are the same.
SAME_ERROR = 1e-6


def judge_stresses(database: Database) -> int:
    """Write into configurations how far their stress is off the energies of a volume scan.

    Returns
    -------
    int
        Number of configurations that changed.
    """
    collection = database.collection("configurations")
    query = {
        "state": "complete",
        "config_type": {"$in": ["bulk", "strained"]},
        "material_id": {"$exists": True},
        "stress": {"$exists": True},
    }
    order = [("material_id", 1), ("level_id", 1), ("configuration_id", 1)]
    changed = 0
    found = collection.find(query, dict.fromkeys(FIELDS, 1)).sort(order)
    for _, group in groupby(found, key=lambda doc: (doc["material_id"], doc["level_id"])):
        docs = list(group)
        # An energy that is none must not stand beside others.
        errors = scan_errors([doc for doc in docs if not _has_no_energy(doc)])
        for doc in docs:
            changed += _judge(database, doc, errors.get(doc["configuration_id"]))
    # Those that left a scan: another kind, another crystal.
    for doc in collection.find({"stress_error": {"$exists": True}, "$nor": [query]}, dict.fromkeys(FIELDS, 1)):
        changed += _judge(database, doc, None)
    return changed


def _has_no_energy(doc: Raw) -> bool:
    return any(item["reason"] in (*STATED, "zero_energy") for item in doc.get("quality") or ())


def _judge(database: Database, doc: Raw, error: float | None) -> int:
    """Write the error of one configuration where it is another one than before."""
    old = doc.get("stress_error")
    if old is error or (old is not None and error is not None and abs(old - error) < SAME_ERROR):
        return 0
    quality = quality_of({**doc, "stress_error": error}, doc.get("sources") or [])
    change: Raw = {"$set": {"quality": quality, "last_updated": utc_now()}}
    if error is None:
        change["$unset"] = {"stress_error": ""}
    else:
        change["$set"]["stress_error"] = error
    database.collection("configurations").update_one({"configuration_id": doc["configuration_id"]}, change)
    return 1
