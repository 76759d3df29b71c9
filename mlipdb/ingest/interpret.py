"""Finding the reader that understands a raw task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest import atomate, emmet, flat, force_fields, jobflow, jobflow_data, mp_phonon, mp_structure
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.sources import is_source, source

__all__ = ["READERS", "interpret", "recognise"]

#: Modules with NAME, recognises(raw), task_id_of(raw) and interpret(task_id, raw); the first that fits reads.
READERS = (mp_structure, mp_phonon, jobflow, jobflow_data, force_fields, atomate, emmet, flat)


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
    if is_source(source_format):
        own = getattr(source(source_format), "interpret", flat.interpret)
        return cast("Calculation", own(task_id, raw))
    for reader in READERS:
        if source_format == reader.NAME:
            calculation: Calculation = reader.interpret(task_id, raw)
            return calculation
    raise ConfigurationError(f"task {task_id}: no reader {source_format!r} is installed", reason="no_reader")
