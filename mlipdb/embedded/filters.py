"""Filters in normal form: one predicate per clause, negations as ``$nor``.

MongoDB defines ``{f: {$gt: 1, $lt: 5}}`` as two independent predicates, each of
which some element of an array may fulfil, and ``$ne``, ``$nin``, ``$not`` and
``$exists: false`` as the plain negation of their opposites.  Writing filters
that way before they are evaluated leaves one meaning per operator, and what is
not known here is refused, whether or not there are documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bson import Regex

from mlipdb.embedded.failures import BAD_VALUE, CommandError, unsupported
from mlipdb.embedded.operators import ElementFilter, Membership, compile_regex, type_names
from mlipdb.embedded.schema import JsonSchema

__all__ = ["clauses", "is_operator_document", "normalise"]

_LOGICAL: Final = ("$and", "$or", "$nor")
_COMPARISONS: Final = ("$eq", "$gt", "$gte", "$lt", "$lte")
_REGEXES: Final = (re.Pattern, Regex)


def is_operator_document(value: Any) -> bool:
    """Whether a value of a filter is a document of operators and not a value to be equal to."""
    return isinstance(value, Mapping) and bool(value) and next(iter(value)).startswith("$") and "$ref" not in value


def normalise(query: Any) -> dict[str, Any]:
    """Filter in normal form.

    Parameters
    ----------
    query
        A filter as a client sent it.

    Returns
    -------
    dict
        ``{}``, or ``{"$and": [clause, ...]}`` where each clause is
        ``{path: {operator: argument}}``, ``{"$or": [...]}``, ``{"$nor": [...]}``
        or ``{"$expr": expression}``.

    Raises
    ------
    CommandError
        The filter is malformed, or needs something that is not supported.
    """
    found = clauses(query)
    return {"$and": found} if found else {}


def clauses(query: Any) -> list[dict[str, Any]]:
    """Clauses of a filter, all of which have to hold (see :func:`normalise`)."""
    if not isinstance(query, Mapping):
        raise CommandError(BAD_VALUE, "a filter must be a document")
    found: list[dict[str, Any]] = []
    for name, value in query.items():
        if name == "$comment":
            continue
        if name in _LOGICAL:
            found.extend(_logical(name, value))
        elif name == "$expr":
            found.append({"$expr": value})
        elif name == "$jsonSchema":
            # The path without a name is the whole document.
            found.append({"": {"$_schema": JsonSchema(value)}})
        elif name.startswith("$"):
            raise _refusal(name, "top-level operator")
        else:
            found.extend(_field(name, value))
    return found


def _refusal(name: str, what: str) -> CommandError:
    known = ("$where", "$text", "$sampleRate", "$near", "$nearSphere", "$geoWithin", "$geoIntersects")
    if name in known or name.startswith("$bits"):
        return unsupported(f"the operator {name} in a filter")
    return CommandError(BAD_VALUE, f"unknown {what}: {name}")


def _logical(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, (list, tuple)) or not value:
        raise CommandError(BAD_VALUE, f"{name} must be a nonempty array")
    if name == "$and":
        return [clause for part in value for clause in clauses(part)]
    parts = [normalise(part) for part in value]
    if name == "$or" and any(not part for part in parts):
        return []
    return [{name: parts}]


def _field(path: str, value: Any) -> list[dict[str, Any]]:
    if "" in path.split("."):
        raise unsupported("filters on fields without a name")
    if isinstance(value, _REGEXES):
        return [{path: {"$regex": compile_regex(value, "")}}]
    if not is_operator_document(value):
        return [{path: {"$eq": value}}]
    found: list[dict[str, Any]] = []
    for name, argument in value.items():
        if name == "$options":
            if "$regex" not in value:
                raise CommandError(BAD_VALUE, "$options needs a $regex")
            continue
        handler = _HANDLERS.get(name)
        if handler is None:
            raise _refusal(name, "operator")
        found.extend(handler(path, argument, value))
    return found


def _comparison(operator: str) -> Callable[[str, Any, Mapping[str, Any]], list[dict[str, Any]]]:
    def build(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        if isinstance(argument, _REGEXES):
            raise unsupported(f"a regular expression as argument of {operator}")
        return [{path: {operator: argument}}]

    return build


def _ne(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(argument, _REGEXES):
        raise CommandError(BAD_VALUE, "Can't have regex as arg to $ne.")
    return [{"$nor": [{path: {"$eq": argument}}]}]


def _in(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(argument, (list, tuple)):
        raise CommandError(BAD_VALUE, "$in needs an array")
    if any(is_operator_document(value) for value in argument):
        raise CommandError(BAD_VALUE, "cannot nest $ under $in")
    return [{path: {"$in": Membership(argument)}}]


def _nin(path: str, argument: Any, whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"$nor": _in(path, argument, whole)}]


def _not(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(argument, _REGEXES) and not is_operator_document(argument):
        raise CommandError(BAD_VALUE, "$not needs a regex or a document")
    return [{"$nor": [{"$and": _field(path, argument)}]}]


def _exists(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    clause = {path: {"$exists": True}}
    return [clause] if argument else [{"$nor": [clause]}]


def _regex(path: str, argument: Any, whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{path: {"$regex": compile_regex(argument, whole.get("$options", ""))}}]


def _all(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(argument, (list, tuple)):
        raise CommandError(BAD_VALUE, "$all needs an array")
    if not argument:
        return [{path: {"$in": Membership([])}}]
    return [clause for value in argument for clause in _field(path, value)]


def _elem_match(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(argument, Mapping):
        raise CommandError(BAD_VALUE, "$elemMatch needs an Object")
    on_values = is_operator_document(argument) and next(iter(argument)) not in (*_LOGICAL, "$expr")
    inner = {"$and": _field("value", argument)} if on_values else normalise(argument)
    return [{path: {"$elemMatch": ElementFilter(inner, on_values=on_values)}}]


def _size(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    if (
        isinstance(argument, bool)
        or not isinstance(argument, (int, float))
        or argument != int(argument)
        or argument < 0
    ):
        raise CommandError(BAD_VALUE, "$size needs a whole number that is not negative")
    return [{path: {"$size": int(argument)}}]


def _type(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{path: {"$type": type_names(argument)}}]


def _mod(path: str, argument: Any, _: Mapping[str, Any]) -> list[dict[str, Any]]:
    numbers = isinstance(argument, (list, tuple)) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 2**63
        for value in argument
    )
    if not numbers or len(argument) != 2 or int(argument[0]) == 0:
        raise CommandError(BAD_VALUE, "$mod needs an array of a divisor that is not 0 and a remainder")
    return [{path: {"$mod": (int(argument[0]), int(argument[1]))}}]


_HANDLERS: Final[dict[str, Callable[[str, Any, Mapping[str, Any]], list[dict[str, Any]]]]] = {
    **{operator: _comparison(operator) for operator in _COMPARISONS},
    "$ne": _ne,
    "$in": _in,
    "$nin": _nin,
    "$not": _not,
    "$exists": _exists,
    "$regex": _regex,
    "$all": _all,
    "$elemMatch": _elem_match,
    "$size": _size,
    "$type": _type,
    "$mod": _mod,
}
