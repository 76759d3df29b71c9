"""Conditions and field names as people write them, checked against the documents' models."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from mlipdb.errors import UsageError
from mlipdb.stores import CollectionSpec, spec

__all__ = ["check_field", "field_names", "parse_conditions", "parse_sort", "pick"]

Raw = dict[str, Any]

#: Written operator -> MongoDB operator; longer ones first, so that >= is not read as >.
OPERATORS = {">=": "$gte", "<=": "$lte", "!=": "$ne", "=~": "$regex", "=": "$eq", ">": "$gt", "<": "$lt"}
CONDITION = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*(>=|<=|!=|=~|=|>|<)\s*(.*?)\s*$", re.DOTALL)


def parse_conditions(collection: str, conditions: Sequence[str]) -> Raw:
    """A MongoDB filter from conditions that must all hold.

    Parameters
    ----------
    collection
        Name of the collection, to check fields.
    conditions
        Each ``field=value`` (also ``!= > >= < <=`` and ``=~`` for a regular expression), or a whole
        MongoDB filter in JSON.  A value is read as what the field holds: text, a number, true or
        false, or a date; in free mappings as JSON where it is JSON, else as text.  ``null`` means
        no value, and a list after ``=`` or ``!=`` one (none) of its items.

    Raises
    ------
    UsageError
        If a condition cannot be read, names an unknown field, or compares a field with a value of
        another kind; the message says what would be right.
    """
    parts = [_parse_condition(spec(collection), text) for text in conditions]
    if not parts:
        return {}
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _parse_condition(collection: CollectionSpec, text: str) -> Raw:
    if text.lstrip().startswith("{"):
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is no JSON: {error}") from None
        if not isinstance(loaded, dict):
            raise UsageError(f"{text!r} is no MongoDB filter; an object is needed")
        return loaded
    match = CONDITION.match(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no condition; write field=value (or != > >= < <= =~), such as n_sparse>=100, "
            "or a MongoDB filter in JSON"
        )
    field, operator, written = match.groups()
    check_field(collection.name, field)
    if operator == "=~":
        loaded = _value(written)
        return {field: {"$regex": _pattern(loaded if isinstance(loaded, str) else written)}}
    value = _compared(field, _kinds(collection, field), written)
    if isinstance(value, list) and operator in ("=", "!="):
        return {field: {"$in" if operator == "=" else "$nin": value}}
    return {field: {OPERATORS[operator]: value}}


def _kinds(collection: CollectionSpec, field: str) -> set[Any]:
    """Types of the plain values a field may hold, None left out; empty where the model leaves them free."""
    model: Any = collection.document_class()
    annotation: Any = Any
    for part in field.split("."):
        if part.isdigit():
            continue  # an index into a list
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return set()  # inside a free mapping
        annotation = model.model_fields[part].annotation
        model = _model_of(annotation)
    return _plain_types(annotation)


def _plain_types(annotation: Any) -> set[Any]:
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if get_origin(annotation) is dict:
        return {dict}
    inner = [argument for argument in get_args(annotation) if argument not in (type(None), Ellipsis)]
    if not inner:
        return {annotation}
    return {found for argument in inner for found in _plain_types(argument)}


def _compared(field: str, kinds: set[Any], written: str) -> Any:
    """The value of a condition, of the kind the field holds."""
    if datetime in kinds:
        return _date(field, written)
    if kinds == {str}:
        return _as_text(written)
    value = _value(written)
    if kinds and kinds <= {int, float}:
        _require(field, value, written, (int, float), "a number")
    elif kinds == {bool}:
        _require(field, value, written, (bool,), "true or false")
    return value


def _as_text(written: str) -> Any:
    """Text as it is written, without its quotes; a list of texts; or None for null."""
    try:
        value = json.loads(written, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return written
    if isinstance(value, list):
        return [item if item is None or isinstance(item, str) else json.dumps(item) for item in value]
    return value if value is None or isinstance(value, str) else written


def _require(field: str, value: Any, written: str, types: tuple[type, ...], needed: str) -> None:
    """Raise unless a value, or every item of a list, is of the given types or null."""
    if isinstance(value, list):
        for item in value:
            _require(field, item, written, types, needed)
    elif value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        raise UsageError(f"{field} is {needed}, and {written!r} is none; write {needed}")


def _date(field: str, text: str) -> datetime:
    """A date as documents hold it: UTC without a zone."""
    try:
        found = datetime.fromisoformat(text.strip('"'))
    except ValueError:
        raise UsageError(
            f"{field} is a date, and {text!r} is none; write 2026-01-31 or 2026-01-31T12:00:00 (UTC)"
        ) from None
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression: {error}") from None
    return text


def parse_sort(collection: str, fields: Sequence[str]) -> list[tuple[str, int]]:
    """Sort order from field names; a leading minus sorts downwards.

    Raises
    ------
    UsageError
        If a field is unknown.
    """
    order = []
    for written in fields:
        field = written.removeprefix("-")
        check_field(collection, field)
        order.append((field, -1 if written.startswith("-") else 1))
    return order


def check_field(collection: str, field: str) -> None:
    """Raise unless documents of a collection have a (dotted) field.

    Raises
    ------
    UsageError
        With the nearest right names.
    """
    model: Any = spec(collection).document_class()
    done: list[str] = []
    for part in field.split("."):
        if part.isdigit():
            continue  # an index into a list
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return  # inside a free mapping such as hyperparameters
        if part not in model.model_fields:
            near = difflib.get_close_matches(part, model.model_fields, n=3, cutoff=0.5)
            prefix = ".".join(done) + "." if done else ""
            known = ", ".join(prefix + name for name in (near or sorted(model.model_fields)))
            hint = f"did you mean {known}?" if near else f"there are {known}"
            raise UsageError(f"{collection} have no field {field!r}; {hint}")
        done.append(part)
        model = _model_of(model.model_fields[part].annotation)


def _model_of(annotation: Any) -> Any:
    """The model an annotation leads to, through Optional and list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_of(argument)
        if found is not None:
            return found
    return None


def field_names(collection: str) -> list[str]:
    """Top-level fields of a collection's documents."""
    return list(spec(collection).document_class().model_fields)


def pick(document: Raw, field: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = document
    for part in field.split("."):
        if isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value
