"""What INCAR and vasprun.xml say of a tag, as text, flag or number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = [
    "Tags", "element_of", "first", "flag", "integer", "numbers", "positive", "pressure_of", "real", "symbol_of", "word",
]  # fmt: skip


class Tags:
    """What the INCAR says, else what VASP reports."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.incar = _mapping("incar", inputs.get("incar"))
        self.parameters = _mapping("parameters", inputs.get("parameters"))

    def __call__(self, tag: str) -> Any:
        """The value of a tag; None where nothing says it."""
        value = self.incar.get(tag)
        return self.parameters.get(tag) if value is None else value


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"its {name} is a {type(value).__name__}, no mapping")
    return value


def pressure_of(inputs: Mapping[str, Any]) -> float:
    """PSTRESS in kB: where it is not zero, what VASP calls energy may be the enthalpy."""
    value = Tags(inputs)("PSTRESS")
    try:
        return 0.0 if value is None else float(value)
    except (TypeError, ValueError):
        return float("nan")


def symbol_of(titel: str) -> str:
    """POTCAR symbol in a TITEL: ``Li_sv`` in ``PAW_PBE Li_sv 10Sep2004``."""
    words = titel.split()
    return words[1] if len(words) > 1 else words[0]


def element_of(symbol: str) -> str:
    """Element of a POTCAR symbol; empty where there is none."""
    found = re.match(r"[A-Z][a-z]?", symbol)
    return found.group() if found else ""


def word(value: Any) -> str:
    """A tag in capitals; VASP writes -- and NONE for what is not set."""
    text = str(value if value is not None else "").strip().upper()
    return "" if text.strip("-") in {"", "NONE"} else text


def flag(value: Any) -> bool:
    """A logical tag."""
    if isinstance(value, str):
        return value.strip().lstrip(".").upper().startswith("T")
    return bool(value)


def first(value: Any) -> Any:
    """The value, or the first of several."""
    return value[0] if isinstance(value, (list, tuple)) and value else value


def integer(value: Any, default: int) -> int:
    """A whole number."""
    return default if value is None or isinstance(value, (list, tuple)) else int(value)


def real(value: Any, default: float) -> float:
    """A number."""
    return default if value is None else float(value)


def numbers(value: Any) -> list[float]:
    """Several numbers, as a list or in one text; one of them may stand alone."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [float(value)]
    if isinstance(value, str):
        value = value.split()
    return [float(item) for item in value] if isinstance(value, (list, tuple)) else []


def positive(name: str, value: Any) -> float:
    """A number above zero."""
    number = float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"{name} is {value!r:.40}; a number above zero is needed")
    return number
