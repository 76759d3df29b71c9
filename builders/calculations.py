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

__all__ = ["calculation_of", "raw_task", "task_stubs"]

Raw = dict[str, Any]


def task_stubs(database: Database, *, without: tuple[str, ...] = ()) -> Iterator[Raw]:
    """Id, content hash and format of every complete task, by id; but for those of some formats."""
    fields = {"task_id": 1, "content_hash": 1, "source.format": 1}
    query: Raw = {"state": "complete"}
    if without:
        query["source.format"] = {"$nin": list(without)}
    yield from database.collection("tasks").find(query, fields).sort("task_id", 1)


def calculation_of(database: Database, task_id: str) -> Calculation:
    """Read and understand one task.

    Raises
    ------
    ConfigurationError
        If the task is not usable.
    ArtifactError
        If its content was stored as a file that is missing or damaged.
    """
    raw, source_format = raw_task(database, task_id)
    return interpret(task_id, raw, source_format)


def raw_task(database: Database, task_id: str) -> tuple[Raw, str]:
    """Content and format of one task.

    Raises
    ------
    ConfigurationError
        If it is there no more.
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
    return raw, task["source"]["format"]
