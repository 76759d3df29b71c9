"""Order-preserving byte strings for BSON values, and the values an index sees in a document.

``encode(a) < encode(b)`` holds when MongoDB sorts ``a`` before ``b``, and equal
values (``1``, ``1.0``, ``Decimal128("1.00")``) have equal bytes.  Every encoding
says where it ends, so that those of a compound key can be joined.  The order of
the types and of the values within is that of
https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Final

from bson import DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.code import Code
from bson.datetime_ms import DatetimeMS

from mlipdb.embedded.failures import BAD_VALUE, PARALLEL_ARRAYS, CommandError

__all__ = [
    "MAX_KEY_BYTES",
    "MISSING",
    "NULL",
    "UNDEFINED",
    "bracket",
    "document_keys",
    "encode",
    "path_values",
    "present_values",
    "sort_key",
    "successor",
]

MIN_KEY: Final = 0x01
UNDEFINED: Final = b"\x04"  # what an empty array is in an index: below null
NULL: Final = b"\x05"
NUMBER: Final = 0x10
STRING: Final = 0x20
OBJECT: Final = 0x30
ARRAY: Final = 0x40
BINARY: Final = 0x50
OBJECT_ID: Final = 0x60
BOOL: Final = 0x70
DATE: Final = 0x80
TIMESTAMP: Final = 0x88
REGEX: Final = 0x90
CODE: Final = 0xA0
MAX_KEY: Final = 0xFF

MAX_KEY_BYTES: Final = 1024
"""Longer index keys are cut; what they find is checked against the documents."""
MAX_KEYS_PER_DOCUMENT: Final = 20_000

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - BSON dates come back naive, in UTC
_MILLISECOND = dt.timedelta(milliseconds=1)
_END = b"\x00"
_MAX_DOUBLE = math.nextafter(math.inf, 0.0)


class _Missing:
    """Type of :data:`MISSING`, which stands for a field that is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def _double_image(value: float) -> bytes:
    """8 bytes of a double that sort like it; NaN first, both zeros alike."""
    if value != value:
        return b"\x00" * 8
    bits = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    bits = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63
    return struct.pack(">Q", bits)


def _exact(value: Fraction) -> bytes:
    """Bytes of a number that is no double: the double below it, then how far above that it lies."""
    if value > Fraction(_MAX_DOUBLE):
        below, gap = _MAX_DOUBLE, Fraction(2) ** 971
    elif value < -Fraction(_MAX_DOUBLE):
        return _double_image(-math.inf) + b"\x01" + b"\x80" * 16
    else:
        below = float(value)
        if Fraction(below) > value:
            below = math.nextafter(below, -math.inf)
        gap = Fraction(math.nextafter(below, math.inf)) - Fraction(below) if below < _MAX_DOUBLE else Fraction(2) ** 971
    rest = value - Fraction(below)
    if rest == 0:
        return _double_image(below) + _END
    steps = min(int(rest / gap * 2**128), 2**128 - 1)
    return _double_image(below) + b"\x01" + steps.to_bytes(16, "big")


def _number(value: int | float) -> bytes:
    if isinstance(value, float):
        return b"\x10" + _double_image(value) + _END
    if -9007199254740992 <= value <= 9007199254740992:
        return b"\x10" + _double_image(float(value)) + _END
    return b"\x10" + _exact(Fraction(value))


def _decimal(value: Decimal128) -> bytes:
    number = value.to_decimal()
    if number.is_finite():
        return b"\x10" + _exact(Fraction(number))
    return b"\x10" + _double_image(math.nan if number.is_nan() else float(number)) + _END


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + b"\x00\x00"


def _milliseconds(value: dt.datetime) -> int:
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return (value - _EPOCH) // _MILLISECOND


def _date(milliseconds: int) -> bytes:
    return b"\x80" + struct.pack(">Q", milliseconds + (1 << 63))


def _object(items: Iterable[tuple[str, Any]]) -> bytes:
    # Objects compare field by field: first the types, then the names, then the values.
    parts = []
    for name, value in items:
        encoded = encode(value)
        parts.append(encoded[:1] + _text(name) + encoded)
    return b"\x30" + b"".join(parts) + _END


def _binary(value: bytes) -> bytes:
    subtype = getattr(value, "subtype", 0)
    return b"\x50" + struct.pack(">IB", len(value), subtype) + bytes(value)


def _regex(value: Regex[str] | re.Pattern[str]) -> bytes:
    pattern = value.pattern if isinstance(value.pattern, str) else bytes(value.pattern).decode("utf-8", "replace")
    # Python's own flag for str patterns is not one of BSON.
    return b"\x90" + _text(pattern) + struct.pack(">I", value.flags & ~re.UNICODE)


def _code(value: Code) -> bytes:
    return b"\xa0" + _text(str(value)) + (_END if value.scope is None else b"\x01" + encode(dict(value.scope)))


def encode(value: Any) -> bytes:
    """Bytes of a BSON value that sort as MongoDB sorts the values.

    Parameters
    ----------
    value
        A value as :mod:`bson` decodes it, or :data:`MISSING` (the same as null).

    Returns
    -------
    bytes
        The type's place in MongoDB's order, then the value; ends by itself.

    Raises
    ------
    CommandError
        The value has a type that BSON does not have.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    for kind, slow_encoder in _FALLBACKS:
        if isinstance(value, kind):
            return slow_encoder(value)
    raise CommandError(BAD_VALUE, f"a value of type {type(value).__name__} has no place in BSON's order")


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: NULL,
    _Missing: lambda _: NULL,
    bool: lambda value: b"\x70\x01" if value else b"\x70\x00",
    int: _number,
    float: _number,
    str: lambda value: b"\x20" + _text(value),
    dict: lambda value: _object(value.items()),
    list: lambda value: b"\x40" + b"".join(map(encode, value)) + _END,
    bytes: _binary,
    ObjectId: lambda value: b"\x60" + value.binary,
    dt.datetime: lambda value: _date(_milliseconds(value)),
}
_FALLBACKS: tuple[tuple[Any, Callable[[Any], bytes]], ...] = (
    (Code, _code),
    (int, _number),
    (float, _number),
    (str, _ENCODERS[str]),
    (Decimal128, _decimal),
    (DBRef, lambda value: _object(value.as_doc().items())),
    (dict, _ENCODERS[dict]),
    ((list, tuple), _ENCODERS[list]),
    (bytes, _binary),
    (DatetimeMS, lambda value: _date(int(value))),
    (dt.datetime, _ENCODERS[dt.datetime]),
    (Timestamp, lambda value: b"\x88" + struct.pack(">II", value.time, value.inc)),
    ((Regex, re.Pattern), _regex),
    (MinKey, lambda _: b"\x01"),
    (MaxKey, lambda _: b"\xff"),
)


def bracket(encoded: bytes) -> tuple[bytes, bytes]:
    """First key of the type of an encoded value, and the first key above that type."""
    kind = encoded[0]
    return bytes([kind]), bytes([kind + 1]) if kind < MAX_KEY else b"\xff\xff"


def successor(prefix: bytes) -> bytes:
    """Smallest byte string above all that begin with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\xff" * (MAX_KEY_BYTES + 1)
    return stripped[:-1] + bytes([stripped[-1] + 1])


_EMPTY_ARRAY: Final = object()


def path_values(value: Any, parts: Sequence[str]) -> list[Any]:
    """Values an index on a dotted path holds for a document.

    Arrays on the way are looked into and an array at the end counts as its
    elements, as in MongoDB.

    Parameters
    ----------
    value
        The document.
    parts
        The dotted path, split.

    Returns
    -------
    list
        At least one value; :data:`MISSING` where there is none.  An empty array
        at the end is returned as it is: ``[]``.
    """
    if not parts:
        if isinstance(value, list):
            return list(value) if value else [_EMPTY_ARRAY]
        return [value]
    if isinstance(value, dict):
        return path_values(value[parts[0]], parts[1:]) if parts[0] in value else [MISSING]
    if not isinstance(value, list):
        return [MISSING]
    found: list[Any] = []
    for element in value:
        found.extend(path_values(element, parts) if isinstance(element, dict) else [MISSING])
    if parts[0].isdigit() and int(parts[0]) < len(value):
        found.extend(path_values(value[int(parts[0])], parts[1:]))
    return found or [MISSING]


def _key(value: Any) -> bytes:
    return UNDEFINED if value is _EMPTY_ARRAY else encode(value)


def document_keys(document: dict[str, Any], paths: Sequence[Sequence[str]], *, sparse: bool) -> tuple[set[bytes], bool]:
    """Keys a document has in an index.

    Parameters
    ----------
    document
        The document.
    paths
        The split dotted paths of the fields of the index.
    sparse
        Leave out a document that has none of the fields.

    Returns
    -------
    keys
        Each the joined encodings of one value per field, uncut.  All
        combinations are taken where several fields hold arrays, which makes the
        keys a superset of MongoDB's: bounds on every field stay safe.
    multikey
        Whether an array stands behind any of the paths.

    Raises
    ------
    CommandError
        Arrays would give more than 20,000 keys.
    """
    columns = [path_values(document, parts) for parts in paths]
    if sparse and all(value is MISSING for column in columns for value in column):
        return set(), False
    encoded = [{_key(value) for value in column} for column in columns]
    if math.prod(map(len, encoded)) > MAX_KEYS_PER_DOCUMENT:
        message = f"a document has more than {MAX_KEYS_PER_DOCUMENT} keys in one index; index one array only"
        raise CommandError(PARALLEL_ARRAYS, message)
    multikey = any(len(column) > 1 or column[0] is _EMPTY_ARRAY for column in columns) or any(
        has_array(document, parts) for parts in paths
    )
    if len(encoded) == 1:
        return encoded[0], multikey
    return {b"".join(combination) for combination in itertools.product(*encoded)}, multikey


def has_array(value: Any, parts: Sequence[str]) -> bool:
    """Whether an array stands on or at the end of a dotted path."""
    for part in parts:
        if not isinstance(value, dict):
            return isinstance(value, list)
        if part not in value:
            return False
        value = value[part]
    return isinstance(value, list)


def sort_key(document: dict[str, Any], parts: Sequence[str], *, descending: bool) -> bytes:
    """Key by which MongoDB sorts a document: of an array its smallest or largest element."""
    keys = [_key(value) for value in path_values(document, parts)]
    return max(keys) if descending else min(keys)


def present_values(value: Any, parts: Sequence[str]) -> list[Any]:
    """Values ``distinct`` sees at a dotted path: as :func:`path_values`, without missing ones."""
    return [one for one in path_values(value, parts) if one is not MISSING and one is not _EMPTY_ARRAY]
