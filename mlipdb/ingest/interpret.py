"""Finding the reader that understands a raw task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest import flat
from mlipdb.ingest.calculation import Calculation

__all__ = ["READERS", "interpret", "recognise"]

#: Modules with NAME, recognises(raw), task_id_of(raw) and interpret(task_id, raw); the first that fits reads.
READERS = (flat,)


def recognise(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Format and id of a raw task.

    Raises
    ------
    IngestError
        If no reader knows it, or it carries no id.
    """
    for reader in READERS:
        if reader.recognises(raw):
            task_id = reader.task_id_of(raw)
            if task_id is None:
                raise IngestError("a record without a task_id; every task needs one that is its own", reason="no_id")
            return reader.NAME, task_id
    keys = ", ".join(key[:40] for key in sorted(raw)[:6]) or "none at all"
    raise IngestError(
        f"no reader knows a record with the fields {keys}; a structure with energy and forces is expected",
        reason="unknown_format",
    )


def interpret(task_id: str, raw: Mapping[str, Any], source_format: str) -> Calculation:
    """Read a raw task with the reader that took it in.

    Raises
    ------
    ConfigurationError
        If the task is not usable; the reason says why.
    """
    for reader in READERS:
        if source_format == reader.NAME:
            calculation: Calculation = reader.interpret(task_id, raw)
            return calculation
    raise ConfigurationError(f"task {task_id}: no reader {source_format!r} is installed", reason="no_reader")
