"""What an update makes of a document: replacement, operators or pipeline."""

from __future__ import annotations

import copy
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from bson import ObjectId, Timestamp

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import DatabaseView, Matcher, apply_operators, run_pipeline
from mlipdb.embedded.failures import (
    BAD_VALUE,
    CONFLICTING_UPDATE,
    FAILED_TO_PARSE,
    IMMUTABLE_FIELD,
    TYPE_MISMATCH,
    CommandError,
    unsupported,
)
from mlipdb.embedded.filters import is_operator_document
from mlipdb.embedded.update_operators import UPDATERS

__all__ = ["Update"]

_PIPELINE_STAGES: Final = ("$addFields", "$set", "$project", "$unset", "$replaceRoot", "$replaceWith")
_OTHERS: Final = ("$rename", "$setOnInsert", "$currentDate", "$pull")
# Operators that create the way to their field; the others leave a document without the field as it is.
_WITHOUT_CREATING: Final = ("$unset", "$pop", "$pull", "$pullAll")
_ARRAY_FILTER: Final = re.compile(r"\$\[(\w*)\]")


class Update:
    """One update, ready to be applied to documents.

    Parameters
    ----------
    query
        Filter of the statement as the client sent it; the positional ``$`` refers to it.
    matcher
        The same filter, prepared.
    change
        Replacement document, document of operators, or pipeline.
    array_filters
        Filters that the identifiers in ``$[identifier]`` stand for.

    Raises
    ------
    CommandError
        The update is malformed or not supported.
    """

    def __init__(
        self,
        query: Mapping[str, Any],
        matcher: Matcher,
        change: Any,
        array_filters: list[dict[str, Any]] | None = None,
    ) -> None:
        self._query = query
        self._matcher = matcher
        self._array_filters = _array_filters(array_filters or [])
        self._change = change
        if isinstance(change, list):
            self.kind = "pipeline"
            _check_pipeline(change)
        elif not isinstance(change, Mapping):
            raise CommandError(FAILED_TO_PARSE, "an update must be a document or a pipeline")
        elif change and next(iter(change)).startswith("$"):
            self.kind = "operators"
            _check_operators(change)
        else:
            self.kind = "replacement"
            check_field_names(change)

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Make the new state of a document that matched; the old one may be changed in place.

        Raises
        ------
        CommandError
            The update does not fit the document, or would change its ``_id``.
        """
        identity = keys.encode(document["_id"])
        new = self._changed(document, inserting=False)
        if "_id" not in new:
            new = {"_id": document["_id"], **new}
        if keys.encode(new["_id"]) != identity:
            message = "Performing an update on the path '_id' would modify the immutable field '_id'"
            raise CommandError(IMMUTABLE_FIELD, message)
        return new

    def insertion(self) -> dict[str, Any]:
        """Document that an upsert inserts where nothing matched."""
        seed = _equalities(self._query)
        if self.kind == "replacement":
            seed = {"_id": seed["_id"]} if "_id" in seed else {}
        wanted = seed.get("_id", keys.MISSING)
        new = self._changed(seed, inserting=True)
        if wanted is not keys.MISSING and "_id" in new and keys.encode(new["_id"]) != keys.encode(wanted):
            message = "Performing an update on the path '_id' would modify the immutable field '_id'"
            raise CommandError(IMMUTABLE_FIELD, message)
        if "_id" not in new:
            new["_id"] = ObjectId() if wanted is keys.MISSING else wanted
        return {"_id": new["_id"], **new}

    def _changed(self, document: dict[str, Any], *, inserting: bool) -> dict[str, Any]:
        if self.kind == "replacement":
            return {**({"_id": document["_id"]} if "_id" in document else {}), **self._change}
        if self.kind == "pipeline":
            [new] = run_pipeline([document], DatabaseView("", _no_search), self._change)
            return dict(new)
        self._apply_operators(document, inserting=inserting)
        return document

    def _apply_operators(self, document: dict[str, Any], *, inserting: bool) -> None:
        for operator, fields in self._change.items():
            if operator == "$setOnInsert" and not inserting:
                continue
            for path, value in fields.items():
                for concrete in self._concrete_paths(document, path):
                    self._apply_one(document, operator, concrete, value, inserting=inserting)

    def _apply_one(self, document: dict[str, Any], operator: str, path: str, value: Any, *, inserting: bool) -> None:
        parts = path.split(".")
        if operator in _WITHOUT_CREATING and _reach(document, parts) is keys.MISSING:
            return
        _check_viable(document, parts)
        if operator == "$rename":
            _rename(document, parts, value)
        elif operator == "$setOnInsert":
            apply_operators(document, {"$set": {path: copy.deepcopy(value)}}, inserting=inserting)
        elif operator == "$currentDate":
            apply_operators(document, {"$set": {path: _now(value)}}, inserting=inserting)
        elif operator == "$pull":
            _pull(_reach(document, parts), value)
        else:
            # The value goes into the document, and one update may go into several.
            apply_operators(document, {operator: {path: copy.deepcopy(value)}}, inserting=inserting)

    def _concrete_paths(self, document: dict[str, Any], path: str) -> Iterator[str]:
        """Paths with places of arrays instead of ``$``, ``$[]`` and ``$[identifier]``."""
        parts = path.split(".")
        place = next((number for number, part in enumerate(parts) if part.startswith("$")), None)
        if place is None:
            yield path
            return
        before, part, after = parts[:place], parts[place], parts[place + 1 :]
        array = _reach(document, before)
        if not before or not isinstance(array, list):
            message = f"The path {'.'.join(before)!r} must be an array in the document to apply {path!r}"
            raise CommandError(BAD_VALUE, message)
        chosen = [self._matched_place(before, array)] if part == "$" else self._filtered_places(part, array)
        for number in chosen:
            yield from self._concrete_paths(document, ".".join([*before, str(number), *after]))

    def _filtered_places(self, part: str, array: list[Any]) -> list[int]:
        found = _ARRAY_FILTER.fullmatch(part)
        if found is None:
            raise CommandError(BAD_VALUE, f"the field name {part!r} in an update may not begin with $")
        if not found.group(1):
            return list(range(len(array)))
        if found.group(1) not in self._array_filters:
            raise CommandError(BAD_VALUE, f"No array filter found for identifier {found.group(1)!r}")
        accepts = self._array_filters[found.group(1)]
        return [number for number, element in enumerate(array) if accepts({found.group(1): element})]

    def _matched_place(self, before: list[str], array: list[Any]) -> int:
        """Place of the array element through which the document matched the filter."""
        prefix = ".".join(before)
        relevant = [
            clause
            for clause in self._matcher.clauses
            if next(iter(clause)) == prefix or next(iter(clause)).startswith(prefix + ".")
        ]
        found = (_first_match(before, array, clause) for clause in relevant)
        places = {place for place in found if place is not None}
        if not places:
            message = "The positional operator did not find the match needed from the query."
            raise CommandError(BAD_VALUE, message)
        if len(places) > 1:
            raise unsupported(
                "the positional operator where several conditions match different elements; use $elemMatch"
            )
        return places.pop()


def _first_match(before: list[str], array: list[Any], clause: dict[str, Any]) -> int | None:
    path, predicate = next(iter(clause.items()))
    probe = Matcher({})
    # The clause is in normal form already; only the place of the array in the document is cut away.
    probe.query = {"$and": [{".".join(["array", *path.split(".")[len(before) :]]): predicate}]}
    return next((number for number, element in enumerate(array) if probe({"array": [element]})), None)


def _no_search(collection: str, _: dict[str, Any]) -> list[dict[str, Any]]:
    raise CommandError(BAD_VALUE, f"an update cannot read the collection {collection!r}")


def check_field_names(document: Mapping[str, Any]) -> None:
    """Refuse top-level fields that begin with ``$``, which no query could speak of.

    Raises
    ------
    CommandError
        There is such a field.
    """
    for name in document:
        if name.startswith("$"):
            raise CommandError(52, f"The dollar ($) prefixed field {name!r} is not allowed at the top of a document.")


def _check_pipeline(pipeline: list[Any]) -> None:
    for stage in pipeline:
        if not isinstance(stage, Mapping) or len(stage) != 1 or next(iter(stage)) not in _PIPELINE_STAGES:
            allowed = ", ".join(_PIPELINE_STAGES)
            raise CommandError(BAD_VALUE, f"a pipeline that updates may only have the stages {allowed}, one per object")


def _check_operators(change: Mapping[str, Any]) -> None:
    """Refuse unknown operators and two changes on one path, as a server does before it changes anything."""
    paths: list[tuple[str, ...]] = []
    for operator, fields in change.items():
        if operator not in UPDATERS and operator not in _OTHERS:
            raise CommandError(FAILED_TO_PARSE, f"Unknown modifier: {operator}")
        if not isinstance(fields, Mapping):
            raise CommandError(FAILED_TO_PARSE, f"Modifiers operate on fields but {operator} has none")
        for path, value in fields.items():
            named = [path, value] if operator == "$rename" else [path]
            if not all(isinstance(name, str) and all(name.split(".")) for name in named):
                raise CommandError(56, f"The update path {path!r} contains an empty field name")
            paths.extend(tuple(name.split(".")) for name in named)
    paths.sort()
    for first, second in pairwise(paths):
        if second[: len(first)] == first:
            name = ".".join(first)
            message = f"Updating the path {'.'.join(second)!r} would create a conflict at {name!r}"
            raise CommandError(CONFLICTING_UPDATE, message)


def _array_filters(filters: list[dict[str, Any]]) -> dict[str, Matcher]:
    found: dict[str, Matcher] = {}
    for query in filters:
        if not isinstance(query, Mapping):
            raise CommandError(TYPE_MISMATCH, "an array filter must be a document")
        names = {name.split(".")[0] for name in _fields_of(query)}
        if len(names) != 1:
            raise CommandError(FAILED_TO_PARSE, "each array filter must speak of exactly one identifier")
        name = names.pop()
        if name in found:
            raise CommandError(FAILED_TO_PARSE, f"two array filters speak of the identifier {name!r}")
        found[name] = Matcher(query)
    return found


def _fields_of(query: Mapping[str, Any]) -> Iterator[str]:
    for name, value in query.items():
        if name in ("$and", "$or", "$nor"):
            for part in value:
                yield from _fields_of(part)
        else:
            yield name


def _reach(value: Any, parts: list[str]) -> Any:
    """Value at a path that numbers the places of arrays."""
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return keys.MISSING
    return value


def _check_viable(document: dict[str, Any], parts: list[str]) -> None:
    """Refuse a path through a value that can hold no field."""
    value: Any = document
    for number, part in enumerate(parts):
        if isinstance(value, dict):
            if part not in value:
                return
            value = value[part]
        elif isinstance(value, list) and part.isdigit():
            if int(part) >= len(value):
                if number < len(parts) - 1:
                    raise unsupported("updates that create objects beyond the end of an array")
                return
            value = value[int(part)]
        else:
            name = ".".join(parts[:number])
            raise CommandError(28, f"Cannot create field {part!r} in element {name!r}, which is not an object")


def _rename(document: dict[str, Any], parts: list[str], target: Any) -> None:
    value = _reach(document, parts)
    if value is keys.MISSING:
        return
    new_parts = target.split(".")
    for path in (parts, new_parts):
        holders = [_reach(document, path[:length]) for length in range(1, len(path))]
        if any(isinstance(holder, list) for holder in holders):
            raise CommandError(BAD_VALUE, "The source and target field of $rename may not be in an array")
    _check_viable(document, new_parts)
    del _reach(document, parts[:-1])[parts[-1]]
    apply_operators(document, {"$set": {target: value}}, inserting=False)


def _now(value: Any) -> Any:
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    if value is True or value == {"$type": "date"}:
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
    if value == {"$type": "timestamp"}:
        return Timestamp(now.replace(tzinfo=dt.UTC), 1)
    raise CommandError(BAD_VALUE, "$currentDate needs true or a $type of date or timestamp")


def _pull(array: Any, value: Any) -> None:
    if not isinstance(array, list):
        raise CommandError(BAD_VALUE, "Cannot apply $pull to a non-array value")
    if is_operator_document(value):
        accepts = Matcher({"value": value})
        array[:] = [element for element in array if not accepts({"value": element})]
    elif isinstance(value, Mapping):
        inside = Matcher(value)
        array[:] = [element for element in array if not (isinstance(element, dict) and inside(element))]
    else:
        same = Matcher({"value": value})
        array[:] = [
            element
            for element in array
            if isinstance(element, list) != isinstance(value, list) or not same({"value": element})
        ]


def _equalities(query: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that an upsert takes from the equalities of its filter."""
    seed: dict[str, Any] = {}
    seen: list[tuple[str, ...]] = []
    for path, value in _equal_fields(query):
        parts = tuple(path.split("."))
        if any(other[: len(parts)] == parts or parts[: len(other)] == other for other in seen):
            raise CommandError(54, f"cannot infer query fields to set, path {path!r} is matched twice")
        seen.append(parts)
        holder = seed
        for part in parts[:-1]:
            holder = holder.setdefault(part, {})
        holder[parts[-1]] = copy.deepcopy(value)
    return seed


def _equal_fields(query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in query.items():
        if name == "$and":
            for part in value:
                yield from _equal_fields(part)
        elif name == "$or" and len(value) == 1:
            yield from _equal_fields(value[0])
        elif name.startswith("$") or type(value).__name__ in ("Regex", "Pattern"):
            continue
        elif not is_operator_document(value):
            yield name, value
        elif "$eq" in value:
            yield name, value["$eq"]
        elif "$all" in value and len(value["$all"]) == 1:
            yield name, value["$all"][0]
        elif "$in" in value and len(value["$in"]) == 1:
            yield name, value["$in"][0]
