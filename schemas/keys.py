"""Content hashes: the same inputs give the same key on any machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

__all__ = ["canonical_json", "content_hash", "make_key", "rounded"]

#: Hexadecimal digits of a hash that a key keeps: 80 bits, so that a billion documents
#: collide with a probability below 1e-6.
KEY_DIGITS = 20


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no white space, shortest round-trip floats and no negative zero.

    Parameters
    ----------
    value
        Mappings with string keys, sequences, strings, numbers, booleans, None, dates,
        and anything with ``tolist`` (numpy) or ``model_dump`` (pydantic).

    Raises
    ------
    ValueError
        For NaN and infinities: two of them would hash alike although nothing is known of them.
    TypeError
        For anything else.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be hashed: a key must be made from finite numbers")
        return value + 0.0  # -0.0 + 0.0 is 0.0
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        items = [_plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items
    raise TypeError(f"a {type(value).__name__} cannot be part of a key")


def _text_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"mapping keys must be strings to be hashed, not {key!r}")
    return key


def content_hash(value: Any) -> str:
    """SHA-256 of `canonical_json`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def make_key(prefix: str, value: Any) -> str:
    """A document key such as ``"cfg-3f2a..."`` from what the document is made of."""
    return f"{prefix}-{content_hash(value)[:KEY_DIGITS]}"


def rounded(values: Any, decimals: int) -> Any:
    """Nested lists of floats rounded to `decimals`, without negative zeros.

    Rounding lets the same calculation, read from files of different precision, keep one key; so does a
    last bit that another order of multiplications changes.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [rounded(item, decimals) for item in values]
    # Twice: a value halfway between two (5.4310 / 8) must not go up or down with the noise of its last bits.
    return round(round(float(values), decimals + 5), decimals) + 0.0
