"""Tasks of atomate2 that no DFT code ran: force fields, and other calculators of ASE.

They are kept as tasks, and never become labels: a potential trained on another potential would be
ranked against DFT as if it had seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.vasp_tasks import hashed_id, text_id

__all__ = ["NAME", "interpret", "recognises", "task_id_of"]

NAME = "force_field"

CLASSES = {"ForceFieldTaskDocument", "ForceFieldMoleculeTaskDocument", "AseTaskDoc", "AseTask", "AseMoleculeTaskDoc"}
NAMES = ("forcefield_name", "ase_calculator_name")


def recognises(raw: Any) -> bool:
    """Whether a raw task says that a force field or a calculator of ASE made it."""
    if not isinstance(raw, Mapping):
        return False
    return str(raw.get("@class")) in CLASSES or any(isinstance(raw.get(name), str) for name in NAMES)


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """The producer's id, else one from the content.

    Raises
    ------
    IngestError
        ``bad_id`` if it is neither text nor an integer.
    """
    return text_id(raw.get("task_id")) or hashed_id(NAME, raw)


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Say why it is no label.

    Raises
    ------
    ConfigurationError
        Always, with the reason ``force_field``.
    """
    name = next((raw[key] for key in NAMES if isinstance(raw.get(key), str)), "a force field it does not name")
    version = raw.get("forcefield_version")
    what = f"{name:.80}" + (f" {version:.40}" if isinstance(version, str) else "")
    raise ConfigurationError(
        f"task {task_id}: energy and forces are those of {what}, which is no DFT; only DFT calculations are labels",
        reason="force_field",
    )
