"""Documents of jobflow stores: an output of any kind under ``uuid`` and ``index``.

Outputs that are VASP tasks of atomate2 or tasks of its force fields are taken; phonon documents,
structures and other results are refused with their class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest import force_fields
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.jobflow_blobs import blob_ids
from mlipdb.ingest.vasp_tasks import first_mapping, interpret_task, is_vasp_task, require_vasp

__all__ = ["NAME", "interpret", "recognises", "task_id_of"]

NAME = "jobflow"


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task is a document of a jobflow store."""
    return isinstance(raw.get("uuid"), str) and "index" in raw and "output" in raw


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """``uuid`` and ``index``: the output's own ``task_id`` may be null, and a job may run twice.

    Raises
    ------
    IngestError
        ``bad_id`` if the index is no number, ``not_a_calculation`` if the output is another kind of result,
        ``other_code`` if VASP did not make it.
    """
    index = raw["index"]
    if isinstance(index, bool) or not isinstance(index, int) or not raw["uuid"]:
        raise IngestError(f"its uuid and index are {raw['uuid']!r:.60} and {index!r:.20}; text and a number are needed",
                          reason="bad_id")  # fmt: skip
    output = raw["output"]
    if not (is_vasp_task(output) or force_fields.recognises(output) or blob_ids(output)):
        kind = output.get("@class") if isinstance(output, Mapping) else None
        raise IngestError(
            f"the output of job {raw.get('name')!s:.60} is a {kind or type(output).__name__!s:.60}; a task document "
            "of VASP or of a force field is read",
            reason="not_a_calculation",
        )
    if is_vasp_task(output):
        require_vasp(output)
    return f"{raw['uuid']}-{index}"


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Read the task document in a jobflow document.

    Raises
    ------
    ConfigurationError
        ``blob_missing`` where a part that is needed is still in an additional store; else see
        `mlipdb.ingest.vasp_tasks.interpret_task` and `mlipdb.ingest.force_fields`.
    """
    output = raw["output"]
    if force_fields.recognises(output):
        return force_fields.interpret(task_id, output)
    missing = blob_ids(output)
    if missing:
        raise ConfigurationError(
            f"task {task_id}: a part of it is in an additional store of jobflow (blob {missing[0]:.60}); add that "
            "store's documents together with this one, in one file or folder",
            reason="blob_missing",
        )
    metadata = first_mapping(raw.get("metadata"))
    tags = metadata.get("tags")
    return interpret_task(task_id, output, [raw.get("name"), *(tags if isinstance(tags, list) else [])])
