"""Task documents of emmet (collection ``tasks`` of the Materials Project and of atomate2's builders)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.vasp_tasks import hashed_id, interpret_task, is_vasp_task, require_vasp, text_id

__all__ = ["NAME", "interpret", "recognises", "task_id_of"]

NAME = "emmet"


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task is a VASP task document that stands by itself."""
    return is_vasp_task(raw)


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """The id as its producer wrote it, never parsed (``mp-149``, ``mp-ft``); else one from the content.

    Raises
    ------
    IngestError
        ``bad_id`` if it is neither text nor an integer, ``other_code`` if VASP did not make it.
    """
    require_vasp(raw)
    return text_id(raw.get("task_id")) or hashed_id(NAME, raw)


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Read a task document.

    Raises
    ------
    ConfigurationError
        With a reason, see `mlipdb.ingest.vasp_tasks.interpret_task`.
    """
    return interpret_task(task_id, raw)
