"""The operators of filters on one value, as MongoDB defines them.

mongomock-ng walks the filter and the document; these functions judge the values
it finds.  They replace its own where those differ from MongoDB: ``True`` equals
``1`` in Python, the order of the fields of a document counts in MongoDB, numbers
of different types compare exactly, and NaN is in no range.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.code import Code
from bson.datetime_ms import DatetimeMS

from mlipdb.embedded import keys
from mlipdb.embedded.failures import BAD_VALUE, CommandError

_SIMPLE: Final = (str, int, float, bool, ObjectId, bytes, dt.datetime)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal in MongoDB: same kind of type, same order of fields, NaN equal to NaN."""
    kind = type(left)
    if kind is type(right) and kind in _SIMPLE:
        return bool(left == right or (left != left and right != right))
    return keys.encode(left) == keys.encode(right)


class Membership:
    """Argument of ``$in``, prepared for many look-ups.

    Parameters
    ----------
    values
        The values and regular expressions of the list.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        values = list(values)
        self.patterns = [compile_regex(value, "") for value in values if isinstance(value, (re.Pattern, Regex))]
        self.values = [value for value in values if not isinstance(value, (re.Pattern, Regex))]
        self.keys = frozenset(map(keys.encode, self.values))

    def holds(self, value: Any) -> bool:
        """Whether one value, not looked into, is on the list."""
        if keys.encode(value) in self.keys:
            return True
        return isinstance(value, str) and any(pattern.search(value) for pattern in self.patterns)


class ElementFilter:
    """Argument of ``$elemMatch``: a filter in normal form for the elements of an array.

    Parameters
    ----------
    query
        The filter in normal form.
    on_values
        The filter speaks of the field ``value``, which stands for the element itself.
    """

    def __init__(self, query: dict[str, Any], *, on_values: bool) -> None:
        self.query = query
        self.on_values = on_values


def compile_regex(pattern: Any, options: Any) -> re.Pattern[str]:
    """Compile the argument of ``$regex``.

    Raises
    ------
    CommandError
        The pattern or an option is not one.
    """
    if not isinstance(options, str) or set(options) - set("imsxu"):
        raise CommandError(BAD_VALUE, f"invalid flags in regex options: {options!r}; i, m, s and x are allowed")
    flags = 0
    for letter in options:
        flags |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": 0}[letter]
    if isinstance(pattern, (re.Pattern, Regex)):
        flags |= pattern.flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE)
        pattern = pattern.pattern
    if not isinstance(pattern, str):
        raise CommandError(BAD_VALUE, "$regex has to be a string")
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise CommandError(BAD_VALUE, f"the regular expression {pattern!r} is invalid: {error}") from error


def matches_equal(value: Any, argument: Any) -> bool:
    """``$eq``: the value, or an element of it, equals the argument; a missing field equals null."""
    if isinstance(value, list):
        return any(equal(element, argument) for element in value) or (
            isinstance(argument, list) and equal(value, argument)
        )
    return equal(value, argument)


def matches_in(value: Any, argument: Membership) -> bool:
    """``$in``: the value, or an element of it, is on the list."""
    if isinstance(value, list) and any(argument.holds(element) for element in value):
        return True
    return argument.holds(value)


def _in_range(value: Any, argument: Any, operator: str) -> bool:
    kind = type(value)
    if kind is type(argument) and kind in (int, float, str, dt.datetime):
        left, right = value, argument
        if kind is float and left != left:
            return right != right and operator in ("$gte", "$lte")
    else:
        left, right = keys.encode(value), keys.encode(argument)
        if left[0] != right[0]:
            # MinKey and MaxKey are the only bounds that reach beyond their type.
            return (isinstance(argument, MinKey) and operator in ("$gt", "$gte")) or (
                isinstance(argument, MaxKey) and operator in ("$lt", "$lte")
            )
        nan = [isinstance(side, float) and math.isnan(side) for side in (value, argument)]
        if any(nan):
            return all(nan) and operator in ("$gte", "$lte")
    if operator == "$gt":
        return bool(left > right)
    if operator == "$gte":
        return bool(left >= right)
    return bool(left < right) if operator == "$lt" else bool(left <= right)


def matches_range(value: Any, argument: Any, operator: str) -> bool:
    """``$gt``, ``$gte``, ``$lt``, ``$lte``: the value or an element of it lies on that side."""
    if value is keys.MISSING:
        return argument is None and operator in ("$gte", "$lte")
    if isinstance(value, list):
        if any(_in_range(element, argument, operator) for element in value):
            return True
        return isinstance(argument, (list, MinKey, MaxKey)) and _in_range(value, argument, operator)
    return _in_range(value, argument, operator)


def matches_regex(value: Any, argument: re.Pattern[str]) -> bool:
    """``$regex``: the string, or a string in the array, contains a match."""
    values = value if isinstance(value, list) else [value]
    return any(isinstance(element, str) and argument.search(element) is not None for element in values)


def matches_size(value: Any, argument: int) -> bool:
    """``$size``: the array has that many elements."""
    return isinstance(value, list) and len(value) == argument


def matches_mod(value: Any, argument: tuple[int, int]) -> bool:
    """``$mod``: the number, cut to a whole one, leaves that remainder, with the sign of the number."""
    divisor, remainder = argument
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, Decimal128):
            element = float(element.to_decimal())
        if isinstance(element, bool) or not isinstance(element, (int, float)):
            continue
        if isinstance(element, float) and not math.isfinite(element):
            continue
        whole = int(element)
        rest = abs(whole) % abs(divisor) * (-1 if whole < 0 else 1)
        if rest == remainder:
            return True
    return False


TYPE_NUMBERS: Final = {
    1: "double", 2: "string", 3: "object", 4: "array", 5: "binData", 7: "objectId", 8: "bool", 9: "date",
    10: "null", 11: "regex", 13: "javascript", 15: "javascriptWithScope", 16: "int", 17: "timestamp",
    18: "long", 19: "decimal", -1: "minKey", 127: "maxKey",
}  # fmt: skip


def type_names(argument: Any) -> frozenset[str]:
    """Names of the types that the argument of ``$type`` speaks of.

    Raises
    ------
    CommandError
        It names a type that does not exist.
    """
    names: set[str] = set()
    for item in argument if isinstance(argument, (list, tuple)) else [argument]:
        name = item
        if isinstance(item, (int, float)) and not isinstance(item, bool) and item in TYPE_NUMBERS:
            name = TYPE_NUMBERS[int(item)]
        if name == "number":
            names |= {"double", "int", "long", "decimal"}
        elif isinstance(name, str) and name in TYPE_NUMBERS.values():
            names.add(name)
        else:
            raise CommandError(BAD_VALUE, f"unknown type name or number for $type: {item!r}")
    if not names:
        raise CommandError(BAD_VALUE, "$type must match at least one type")
    return frozenset(names)


_TYPES: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "bool"),
    (Int64, "long"),
    (int, "int"),
    (float, "double"),
    (Code, "javascript"),
    (str, "string"),
    (dict, "object"),
    ((list, tuple), "array"),
    (bytes, "binData"),
    (ObjectId, "objectId"),
    ((dt.datetime, DatetimeMS), "date"),
    (type(None), "null"),
    ((Regex, re.Pattern), "regex"),
    (Timestamp, "timestamp"),
    (Decimal128, "decimal"),
    (MinKey, "minKey"),
    (MaxKey, "maxKey"),
)


def type_name(value: Any) -> str:
    """BSON name of the type of a value; ``missing`` for a field that is not there."""
    for kind, name in _TYPES:
        if isinstance(value, kind):
            if name == "int" and not -(2**31) <= value < 2**31:
                return "long"
            return "javascriptWithScope" if name == "javascript" and value.scope is not None else name
    return "missing"


def matches_type(value: Any, argument: frozenset[str]) -> bool:
    """``$type``: the value, or an element of it, has one of the types."""
    if isinstance(value, list) and any(type_name(element) in argument for element in value):
        return True
    return type_name(value) in argument
