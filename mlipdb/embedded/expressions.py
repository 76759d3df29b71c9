"""Aggregation expressions whose mongomock-ng version answers wrongly, put right around its parser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sentinels import NOTHING  # type: ignore[import-untyped]

from mlipdb.embedded import keys
from mlipdb.embedded.failures import BAD_VALUE, TYPE_MISMATCH, CommandError, unsupported
from mlipdb.embedded.stages import ACCUMULATORS, compare_values

__all__ = ["add_fields", "arithmetic", "comparison", "project_operator", "string_operator"]

Handler = Callable[[Any, str, Any], Any]
_OVER_VALUES: Final = ("$sum", "$avg", "$min", "$max", "$stdDevPop", "$stdDevSamp")


def comparison(parser: Any, operator: str, values: Any) -> bool | int:
    """``$eq`` to ``$cmp``, by MongoDB's order of all values."""
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        raise CommandError(16020, f"Expression {operator} takes exactly 2 arguments")
    left, right = (parser.parse(value) for value in values)
    left, right = (keys.MISSING if side is NOTHING else side for side in (left, right))
    return compare_values(operator, left, right)


def arithmetic(original: Handler) -> Handler:
    """Arithmetic that does not count ``True`` as 1."""

    def handle(parser: Any, operator: str, values: Any) -> Any:
        operands = values if isinstance(values, (list, tuple)) else [values]
        if any(isinstance(parser.parse(operand), bool) for operand in operands):
            raise CommandError(TYPE_MISMATCH, f"{operator} only supports numeric types, not bool")
        return original(parser, operator, values)

    return handle


def project_operator(original: Handler) -> Handler:
    """``$sum`` and its like over the values of one array, or over several values."""

    def handle(parser: Any, operator: str, values: Any) -> Any:
        if operator not in _OVER_VALUES:
            return original(parser, operator, values)
        operands = [parser.parse(value) for value in values] if isinstance(values, list) else [parser.parse(values)]
        if len(operands) == 1 and isinstance(operands[0], list):
            operands = operands[0]
        return ACCUMULATORS[operator]([keys.MISSING if one is NOTHING else one for one in operands])

    return handle


def string_operator(original: Handler) -> Handler:
    """Operators on strings, for which a missing field is null."""

    def handle(parser: Any, operator: str, values: Any) -> Any:
        if operator == "$concat":
            return _concat(parser, values)
        if operator in ("$toLower", "$toUpper") and parser.parse(values) is NOTHING:
            return ""
        result = original(parser, operator, values)
        if isinstance(result, str) and str(NOTHING).lower() in result.lower():
            raise unsupported(f"{operator} of a missing field")
        return result

    return handle


def _concat(parser: Any, values: Any) -> str | None:
    parts = [parser.parse(value) for value in (values if isinstance(values, list) else [values])]
    if any(part is None or part is NOTHING for part in parts):
        return None
    if not all(isinstance(part, str) for part in parts):
        raise CommandError(16702, "$concat only supports strings")
    return "".join(parts)


def add_fields(
    documents: list[dict[str, Any]], options: Any, evaluate: Callable[[Any, dict[str, Any]], Any]
) -> list[dict[str, Any]]:
    """``$addFields``: on the way to a field arrays are gone through, other values give way to objects.

    Raises
    ------
    CommandError
        The stage has no fields.
    """
    if not isinstance(options, Mapping) or not options:
        raise CommandError(BAD_VALUE, "$addFields needs a document with at least one field")
    changed = []
    for document in documents:
        # All expressions see the document as it was before the stage.
        values = [(path.split("."), evaluate(expression, document)) for path, expression in options.items()]
        new: Any = document
        for parts, value in values:
            new = _with_field(new, parts, value)
        changed.append(new)
    return changed


def _with_field(holder: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    if isinstance(holder, list):
        return [_with_field(element, parts, value) for element in holder]
    known = isinstance(holder, Mapping) and parts[0] in holder
    if value is keys.MISSING and not known:
        return holder
    fields = dict(holder) if isinstance(holder, Mapping) else {}
    fields[parts[0]] = _with_field(fields.get(parts[0]), parts[1:], value)
    if fields[parts[0]] is keys.MISSING:
        # A value that is missing takes the field away.
        del fields[parts[0]]
    return fields
