from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlipdb.schemas.common import ArtifactRef, Failure
from mlipdb.schemas.task import Task, TaskSource

SOURCE = TaskSource(format="flat", path="tasks.jsonl", item="1")


def test_a_complete_task_has_content() -> None:
    with pytest.raises(ValidationError, match="needs `raw` or `raw_artifact`"):
        Task(task_id="t", source=SOURCE)
    assert Task(task_id="t", source=SOURCE, raw={}).state == "complete"
    assert Task(task_id="t", source=SOURCE, raw_artifact=ArtifactRef.of("task.json", b"{}")).raw is None


def test_a_failed_entry_needs_none() -> None:
    failure = Failure(reason="no_json", message="cut off")
    assert Task(task_id="t", source=SOURCE, state="failed", failure=failure).to_bson()["failure"]["attempts"] == 1


def test_an_id_is_never_empty() -> None:
    with pytest.raises(ValidationError):
        Task(task_id="", source=SOURCE, raw={})
