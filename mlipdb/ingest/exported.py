"""What `mlipdb export` writes beside structure and labels, read back.

Names are those of info keys of an extxyz frame, of key-value pairs and data of an ASE row, and of fields
of a flat record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

__all__ = ["CONFIG_TYPE", "LEVEL", "LEVEL_KEYS", "exported_fields"]

Raw = dict[str, Any]
#: Ours, where `config_type` holds the word that MACE and gap_fit know an isolated atom by.
CONFIG_TYPE: Final = "mlipdb_config_type"
#: The whole level of theory, so that it keeps its key: a mapping, or JSON.
LEVEL: Final = "level_of_theory"
LEVEL_KEYS: Final = (
    "code", "functional", "hubbard_u", "cutoff_ev", "pseudopotentials", "k_length_class", "spin_polarised",
    "dispersion", "method", "k_spacing",
)  # fmt: skip
#: Fields of the level of theory that flat records have as well.
FLAT_KEYS = tuple(name for name in LEVEL_KEYS if name != "k_length_class")
MAX_TEXT = 100_000


def exported_fields(values: Mapping[str, Any]) -> Raw:
    """Fields of a flat record from what stands beside a structure; empty where we did not write it."""
    level = _mapping(values.get(LEVEL))
    if level is None:
        return {}
    level = {name: level[name] for name in LEVEL_KEYS if level.get(name) is not None}
    fields: Raw = {LEVEL: level, **{name: level[name] for name in FLAT_KEYS if level.get(name) not in (None, {})}}
    for name, wanted in (("energy_kind", str), (CONFIG_TYPE, str), ("converged", (bool, np.bool_))):
        if isinstance(values.get(name), wanted):
            fields["config_type" if name == CONFIG_TYPE else name] = (
                bool(values[name]) if name == "converged" else str(values[name])
            )
    if isinstance(values.get("material"), str):
        fields["material"] = _text(values["material"])
    for name in ("foreign_ids", "task_ids"):
        found = _text(values.get(name))
        words = found.split() if isinstance(found, str) else found if isinstance(found, (list, tuple)) else []
        if words and all(isinstance(word, str) for word in words):
            fields["foreign_ids" if name == "foreign_ids" else "exported_task_ids"] = list(words)
    return fields


def _text(value: Any) -> Any:
    """A text, or the one that JSON holds with single quotes for double ones; anything else as it is."""
    if isinstance(value, str) and value[:1] == value[-1:] == "'" and len(value) <= MAX_TEXT:
        try:
            found = json.loads(value.replace("'", '"'))
        except (ValueError, RecursionError):
            return value
        return found if isinstance(found, str) else value
    return value


def _mapping(value: Any) -> Raw | None:
    """A mapping, or the one that JSON text holds, with single quotes for double ones."""
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        try:
            value = json.loads(value.replace("'", '"'))
        except (ValueError, RecursionError):
            return None
    return dict(value) if isinstance(value, Mapping) else None
