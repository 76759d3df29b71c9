"""Pipeline stages and expressions whose mongomock-ng version answers wrongly, written anew."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bson import Decimal128

from mlipdb.embedded import keys
from mlipdb.embedded.failures import BAD_VALUE, FAILED_TO_PARSE, CommandError, unsupported

Evaluate = Callable[[Any, dict[str, Any]], Any]


def sort_order(order: Any) -> list[tuple[str, int]]:
    """Paths and directions of a sort specification.

    Raises
    ------
    CommandError
        It is no document, or a direction is neither 1 nor -1.
    """
    if not isinstance(order, Mapping) or not order:
        raise CommandError(BAD_VALUE, "a sort specification must be a document with at least one field")
    found = []
    for path, direction in order.items():
        if isinstance(direction, Mapping):
            raise unsupported("$meta in a sort")
        if isinstance(direction, bool) or direction not in (1, -1):
            raise CommandError(BAD_VALUE, f"the sort direction of {path!r} is {direction!r}; it must be 1 or -1")
        if path.startswith("$"):
            raise unsupported(f"sorting by {path}")
        found.append((path, int(direction)))
    return found


def date_from_string(parsed: Mapping[str, Any]) -> Any:
    """``$dateFromString`` of evaluated arguments: an ISO 8601 date, in UTC, to milliseconds."""
    text = parsed.get("dateString")
    if text is None:
        return parsed.get("onNull")
    try:
        if not isinstance(text, str):
            raise ValueError("it is no string")
        value = dt.datetime.fromisoformat(text)
    except ValueError as error:
        # "onError": null is a value too, hence the look at the keys.
        if "onError" in parsed:
            return parsed["onError"]
        raise CommandError(241, f"$dateFromString cannot read {text!r} as an ISO 8601 date") from error
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _whole(options: Any, stage: str, least: int) -> int:
    if isinstance(options, bool) or not isinstance(options, (int, float)) or options != int(options) or options < least:
        raise CommandError(BAD_VALUE, f"the argument of {stage} must be a whole number of at least {least}")
    return int(options)


def _limit(documents: Any, _: Any, options: Any, __: Any) -> list[Any]:
    return list(documents)[: _whole(options, "$limit", 1)]


def _skip(documents: Any, _: Any, options: Any, __: Any) -> list[Any]:
    return list(documents)[_whole(options, "$skip", 0) :]


def _count(documents: Any, _: Any, options: Any, __: Any) -> list[Any]:
    if not isinstance(options, str) or not options or options.startswith("$") or "." in options:
        raise CommandError(
            BAD_VALUE, "the count field must be a nonempty string without $ at its start and without dots"
        )
    number = len(list(documents))
    return [{options: number}] if number else []


HANDLERS: Final[dict[str, Callable[[Any, Any, Any, Any], list[Any]]]] = {
    "$limit": _limit,
    "$skip": _skip,
    "$count": _count,
}


def projection_flags(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``$project`` with dotted paths for nested flags, and truth for numbers: any but 0 includes a field."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and value and _only_flags(value):
            found.update(projection_flags(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = bool(value) if isinstance(value, (int, float)) else value
    return found


def _only_flags(options: Mapping[str, Any]) -> bool:
    return all(
        not name.startswith("$")
        and (_only_flags(value) if isinstance(value, Mapping) and value else isinstance(value, (int, float)))
        for name, value in options.items()
    )


def compare_values(operator: str, left: Any, right: Any) -> bool | int:
    """Comparison expressions: every value has its place, a missing one before all others.

    Raises
    ------
    CommandError
        The operator is unknown.
    """
    first, second = (b"\x03" if side is keys.MISSING else keys.encode(side) for side in (left, right))
    results: dict[str, bool | int] = {
        "$eq": first == second,
        "$ne": first != second,
        "$gt": first > second,
        "$gte": first >= second,
        "$lt": first < second,
        "$lte": first <= second,
        "$cmp": (first > second) - (first < second),
    }
    if operator not in results:
        raise CommandError(BAD_VALUE, f"unrecognized comparison {operator}")
    return results[operator]


def _numbers(values: Iterable[Any]) -> list[Any]:
    found = [value for value in values if isinstance(value, (int, float, Decimal128)) and not isinstance(value, bool)]
    if any(isinstance(value, Decimal128) for value in found):
        raise unsupported("arithmetic of Decimal128 in $group")
    return found


def _mean(values: list[Any]) -> float | None:
    numbers = _numbers(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def _deviation(values: list[Any], *, sample: bool) -> float | None:
    numbers = [float(value) for value in _numbers(values)]
    if len(numbers) < 1 + sample:
        return None
    if not all(map(math.isfinite, numbers)):
        return math.nan
    return statistics.stdev(numbers) if sample else statistics.pstdev(numbers)


def _extreme(values: list[Any], choose: Callable[..., Any]) -> Any:
    present = [value for value in values if value is not None and value is not keys.MISSING]
    return choose(present, key=keys.encode) if present else None


def _edge(values: list[Any], place: int) -> Any:
    value = values[place] if values else None
    return None if value is keys.MISSING else value


def _present(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not keys.MISSING]


def _set_of(values: list[Any]) -> list[Any]:
    return list({keys.encode(value): value for value in reversed(_present(values))}.values())[::-1]


def _merged(values: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in _present(values):
        if value is not None and not isinstance(value, Mapping):
            raise CommandError(BAD_VALUE, "$mergeObjects needs objects")
        merged.update(value or {})
    return merged


ACCUMULATORS: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "$sum": lambda values: sum(_numbers(values)),
    "$avg": _mean,
    "$min": lambda values: _extreme(values, min),
    "$max": lambda values: _extreme(values, max),
    "$first": lambda values: _edge(values, 0),
    "$last": lambda values: _edge(values, -1),
    "$push": _present,
    "$addToSet": _set_of,
    "$count": len,
    "$mergeObjects": _merged,
    "$stdDevPop": lambda values: _deviation(values, sample=False),
    "$stdDevSamp": lambda values: _deviation(values, sample=True),
}


def group(documents: Iterable[dict[str, Any]], options: Any, evaluate: Evaluate) -> list[dict[str, Any]]:
    """``$group``: one document per distinct value of the ``_id`` expression, in order of appearance.

    Raises
    ------
    CommandError
        ``_id`` is missing, or an accumulator is unknown.
    """
    if not isinstance(options, Mapping) or "_id" not in options:
        raise CommandError(BAD_VALUE, "a group specification must include an _id")
    fields: dict[str, tuple[str, Any]] = {}
    for name, value in options.items():
        if name == "_id":
            continue
        if not isinstance(value, Mapping) or len(value) != 1 or "." in name:
            raise CommandError(BAD_VALUE, f"the field {name!r} of $group must be an accumulator object, without dots")
        (accumulator, expression) = next(iter(value.items()))
        if accumulator not in ACCUMULATORS:
            raise unsupported(f"the accumulator {accumulator}")
        fields[name] = (accumulator, expression)
    members: dict[bytes, tuple[Any, list[dict[str, Any]]]] = {}
    for document in documents:
        value = evaluate(options["_id"], document)
        value = None if value is keys.MISSING else value
        members.setdefault(keys.encode(value), (value, []))[1].append(document)
    return [
        {
            "_id": value,
            **{
                name: ACCUMULATORS[accumulator]([evaluate(expression, one) for one in group_documents])
                for name, (accumulator, expression) in fields.items()
            },
        }
        for value, group_documents in members.values()
    ]


def check_pipeline(pipeline: Any, known: Iterable[str], *, inner: bool = False) -> list[dict[str, Any]]:
    """Refuse a pipeline with malformed or unsupported stages before it touches a document.

    Parameters
    ----------
    pipeline
        The stages.
    known
        Names of the stages that can be carried out.
    inner
        The pipeline is part of a stage, where nothing may be written.

    Returns
    -------
    list of dict
        The pipeline.

    Raises
    ------
    CommandError
        It is not a list of documents of one stage each, or a stage is not supported.
    """
    if not isinstance(pipeline, list):
        raise CommandError(FAILED_TO_PARSE, "a pipeline must be an array of stages")
    known = set(known)
    for place, stage in enumerate(pipeline):
        if not isinstance(stage, Mapping) or len(stage) != 1:
            raise CommandError(40323, "a pipeline stage must be an object with exactly one field")
        name, options = next(iter(stage.items()))
        if name in ("$out", "$merge"):
            if inner or place != len(pipeline) - 1:
                raise CommandError(40601, f"{name} can only be the final stage of a pipeline")
        elif name not in known:
            raise _refused_stage(name)
        _check_inner(name, options, known)
    return pipeline


def _check_inner(name: str, options: Any, known: set[str]) -> None:
    if name == "$facet" and isinstance(options, Mapping):
        for part in options.values():
            check_pipeline(part, known, inner=True)
    elif name in ("$lookup", "$unionWith") and isinstance(options, Mapping) and "pipeline" in options:
        check_pipeline(options["pipeline"], known, inner=True)


_VALID_ELSEWHERE = {
    "$bucketAuto", "$changeStream", "$collStats", "$currentOp", "$densify", "$documents", "$geoNear",
    "$indexStats", "$listSessions", "$planCacheStats", "$search", "$searchMeta", "$vectorSearch",
}  # fmt: skip


def _refused_stage(name: str) -> CommandError:
    if name in _VALID_ELSEWHERE:
        return unsupported(f"the pipeline stage {name}")
    return CommandError(40324, f"Unrecognized pipeline stage name: {name!r}")
