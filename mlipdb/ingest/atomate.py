"""Documents of the VASP drone of atomate 1 (FireWorks): ``schema.code`` is ``atomate``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.vasp_tasks import hashed_id, interpret_task, is_vasp_task, require_vasp, text_id

__all__ = ["NAME", "interpret", "recognises", "task_id_of"]

NAME = "atomate"


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task is a VASP task document that atomate wrote."""
    schema = raw.get("schema")
    return isinstance(schema, Mapping) and schema.get("code") == "atomate" and is_vasp_task(raw)


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """The drone's number as text (the Materials Project writes its own ids there), else one from the content.

    atomate counts from 1 in every database, so a bare number gets the name of the format before it.

    Raises
    ------
    IngestError
        ``bad_id`` if it is neither text nor an integer, ``other_code`` if VASP did not make it.
    """
    require_vasp(raw)
    found = text_id(raw.get("task_id"))
    if found is None:
        return hashed_id(NAME, raw)
    return f"{NAME}-{found}" if found.isdigit() else found


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Read a document; its old names for things are ``task_type`` and ``pseudo_potential``.

    Raises
    ------
    ConfigurationError
        With a reason, see `mlipdb.ingest.vasp_tasks.interpret_task`.
    """
    return interpret_task(task_id, raw, [raw.get("task_type")])
