"""Reading raw tasks back from the database, for the builders that start from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mlipdb.artifacts import Artifacts
from mlipdb.errors import ConfigurationError
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.interpret import interpret
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import Database

__all__ = ["calculation_of", "task_stubs"]

Raw = dict[str, Any]


def task_stubs(database: Database) -> Iterator[Raw]:
    """Id, content hash and format of every complete task, by id."""
    fields = {"task_id": 1, "content_hash": 1, "source.format": 1}
    yield from database.collection("tasks").find({"state": "complete"}, fields).sort("task_id", 1)


def calculation_of(database: Database, task_id: str) -> Calculation:
    """Read and understand one task.

    Raises
    ------
    ConfigurationError
        If the task is not usable.
    ArtifactError
        If its content was stored as a file that is missing or damaged.
    """
    task = database.collection("tasks").find_one({"task_id": task_id})
    if task is None:
        raise ConfigurationError(f"task {task_id}: it was removed while the build was running", reason="gone")
    raw = task.get("raw")
    if raw is None:
        ref = ArtifactRef.model_validate(task["raw_artifact"])
        raw = json.loads(Artifacts(database).get(ref))
    return interpret(task_id, raw, task["source"]["format"])
