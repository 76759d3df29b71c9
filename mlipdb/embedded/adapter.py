"""The one place that touches the internals of mongomock-ng, which evaluates filters, updates and pipelines.

mongomock-ng is a stand-in for a client; here its evaluators are driven
directly, document by document.  What it gets wrong is put right in place
(:func:`_install`): values are judged by :mod:`~mlipdb.embedded.operators`, paths
into arrays are followed as MongoDB does, and stages that would answer wrongly
are replaced or refused.  The version is pinned exactly, because all of this
leans on names that it does not promise to keep.
"""

from __future__ import annotations

import contextvars
import copy
import functools
import importlib.metadata
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import mongomock_ng
from mongomock_ng import aggregate, collection, filtering, helpers
from pymongo.errors import PyMongoError
from sentinels import NOTHING  # type: ignore[import-untyped]

from mlipdb.embedded import expressions, keys, operators, stages, update_operators
from mlipdb.embedded.failures import BAD_VALUE, DOCUMENT_VALIDATION, CommandError, unsupported
from mlipdb.embedded.filters import normalise

__all__ = [
    "DatabaseView",
    "Matcher",
    "apply_operators",
    "check_validator",
    "known_stages",
    "run_pipeline",
    "sort_documents",
    "translate",
]

PINNED_VERSION = "7.11.1"


def translate(error: Exception) -> CommandError:
    """Error of mongomock-ng, or of Python inside it, as the error of a command."""
    if isinstance(error, CommandError):
        return error
    text = str(error) or type(error).__name__
    if isinstance(error, NotImplementedError):
        return unsupported(f"this: {text.replace('mongomock-ng', 'its engine').replace('Mongomock-ng', 'its engine')}")
    code = getattr(error, "code", None)
    if isinstance(error, PyMongoError) or type(error).__module__.startswith("mongomock_ng"):
        return CommandError(code if isinstance(code, int) else BAD_VALUE, text, getattr(error, "details", None))
    return CommandError(BAD_VALUE, f"the command cannot be evaluated: {type(error).__name__}: {text}")


# mongomock-ng drops the variables of $lookup's let inside $and and $or, of which every filter here is one.
_variables: contextvars.ContextVar[Any] = contextvars.ContextVar("variables", default=None)


class Matcher:
    """A filter, ready to be asked about documents.

    Parameters
    ----------
    query
        The filter as the client sent it.

    Attributes
    ----------
    query
        The filter in normal form (:func:`mlipdb.embedded.filters.normalise`).

    Raises
    ------
    CommandError
        The filter is malformed or not supported.
    """

    def __init__(self, query: Any) -> None:
        self.query = normalise(query if query is not None else {})

    def __call__(self, document: dict[str, Any]) -> bool:
        """Whether the document fulfils the filter."""
        if not self.query:
            return True
        try:
            return bool(filtering.filter_applies(self.query, document))
        except Exception as error:
            raise translate(error) from error

    @property
    def clauses(self) -> list[dict[str, Any]]:
        """Clauses that all have to hold."""
        found: list[dict[str, Any]] = self.query.get("$and", [])
        return found


def _value(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Operator for mongomock-ng: a missing field arrives there as a mark of its own."""

    def apply(value: Any, argument: Any) -> bool:
        return function(keys.MISSING if value is NOTHING else value, argument)

    return apply


def _element_match(value: Any, argument: operators.ElementFilter) -> bool:
    if not isinstance(value, list):
        return False
    if argument.on_values:
        return any(filtering.filter_applies(argument.query, {"value": element}) for element in value)
    return any(
        isinstance(element, (dict, list)) and filtering.filter_applies(argument.query, element) for element in value
    )


@functools.lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _candidates(path: str, document: Any) -> list[Any]:
    """Values a path of a filter leads to; arrays on the way are looked into, the one at the end is not."""
    if not path:
        return [document]
    if isinstance(document, dict) and "." not in path:
        return [document.get(path, NOTHING)]
    return _follow(document, _parts(path))


def _follow(value: Any, parts: tuple[str, ...]) -> list[Any]:
    if not parts:
        return [value]
    if isinstance(value, Mapping):
        return _follow(value[parts[0]], parts[1:]) if parts[0] in value else [NOTHING]
    if not isinstance(value, list):
        return [NOTHING]
    found: list[Any] = []
    for element in value:
        if isinstance(element, dict):
            found.extend(_follow(element, parts))
    if parts[0].isdigit() and int(parts[0]) < len(value):
        found.extend(_follow(value[int(parts[0])], parts[1:]))
    return found


def _compare(operator: Callable[[Any, Any], bool], left: Any, right: Any, can_compare_types: bool = True) -> bool:
    """mongomock-ng's comparison of any two values, by the order-preserving keys."""
    first, second = (keys.encode(None if side is NOTHING else side) for side in (left, right))
    if first[0] != second[0] and not can_compare_types:
        return False
    return operator(first, second)


def _match_stage(documents: Iterable[Any], _: Any, options: Any, user_vars: Any) -> list[Any]:
    query = normalise(options)
    token = _variables.set(user_vars)
    try:
        return [one for one in documents if filtering.filter_applies(query, one)]
    finally:
        _variables.reset(token)


def _expression_holds(expression: Any, document: Any, user_vars: Any = None) -> bool:
    """``$expr`` by MongoDB's truth: an empty array is true, a missing field is not."""
    value = aggregate._parse_expression(expression, document, user_vars=user_vars or _variables.get())
    return value is not NOTHING and value is not None and (isinstance(value, (str, list, dict, bytes)) or bool(value))


def _sort_stage(documents: Iterable[Any], _: Any, options: Any, __: Any) -> list[Any]:
    return sort_documents(list(documents), options)


def _sort_by_count_stage(documents: Any, database: Any, options: Any, user_vars: Any) -> Any:
    grouped = aggregate._PIPELINE_HANDLERS["$group"](
        documents, database, {"_id": options, "count": {"$sum": 1}}, user_vars
    )
    return sort_documents(list(grouped), {"count": -1})


def _project_stage(documents: Any, database: Any, options: Any, user_vars: Any) -> Any:
    if not isinstance(options, Mapping) or not options:
        raise CommandError(BAD_VALUE, "$project needs a document with at least one field")
    return _project(documents, database, stages.projection_flags(options), user_vars)


_project = aggregate._PIPELINE_HANDLERS["$project"]


def _evaluator(user_vars: Any) -> stages.Evaluate:
    def evaluate(expression: Any, document: dict[str, Any]) -> Any:
        value = aggregate._parse_expression(expression, document, user_vars=user_vars)
        return keys.MISSING if value is NOTHING else value

    return evaluate


def _group_stage(documents: Any, _: Any, options: Any, user_vars: Any) -> list[Any]:
    return stages.group(documents, options, _evaluator(user_vars))


def _facet_stage(documents: Any, database: Any, options: Any, user_vars: Any) -> list[Any]:
    # Stages may change documents in place, so that each of the pipelines needs its own.
    return [
        {
            name: list(
                aggregate.process_pipeline(
                    copy.deepcopy(list(documents)), database, pipeline, None, user_vars=user_vars
                )
            )
            for name, pipeline in options.items()
        }
    ]


def _add_fields_stage(documents: Any, _: Any, options: Any, user_vars: Any) -> list[Any]:
    return expressions.add_fields(list(documents), options, _evaluator(user_vars))


def _unset_stage(documents: Any, database: Any, options: Any, user_vars: Any) -> Any:
    fields = options if isinstance(options, list) else [options]
    if not fields or not all(isinstance(field, str) and field and not field.startswith("$") for field in fields):
        raise CommandError(BAD_VALUE, "$unset needs the name of a field, or an array of those")
    return _project(documents, database, dict.fromkeys(fields, False), user_vars)


def known_stages() -> set[str]:
    """Names of the pipeline stages that can be carried out."""
    return {name for name, handler in aggregate._PIPELINE_HANDLERS.items() if handler is not None}


def _date_from_string(values: Any, parsed: dict[str, Any]) -> Any:
    if not isinstance(values, Mapping) or "dateString" not in values:
        raise CommandError(BAD_VALUE, "$dateFromString needs the field dateString")
    unknown = set(values) - {"dateString", "onError", "onNull"}
    if unknown:
        raise unsupported(f"{min(unknown)} of $dateFromString")
    return stages.date_from_string(parsed)


def sort_documents(documents: list[dict[str, Any]], order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Documents in the order of a sort specification; those that tie keep their order.

    Raises
    ------
    CommandError
        A direction is neither 1 nor -1.
    """
    for path, direction in reversed(stages.sort_order(order)):
        parts = _parts(path)
        descending = direction < 0
        documents = sorted(
            documents,
            key=lambda one, parts=parts, descending=descending: keys.sort_key(one, parts, descending=descending),  # type: ignore[misc]
            reverse=descending,
        )
    return documents


class DatabaseView:
    """What mongomock-ng's pipeline stages see of a database: collections that can be searched.

    Parameters
    ----------
    name
        Name of the database.
    search
        ``search(collection, query)`` gives the documents of a collection that match.
    """

    def __init__(self, name: str, search: Callable[[str, dict[str, Any]], list[dict[str, Any]]]) -> None:
        self.name = name
        self._search = search

    def get_collection(self, name: str) -> _CollectionView:
        """Give the collection of that name, whether it exists or not."""
        return _CollectionView(functools.partial(self._search, name))


class _CollectionView:
    def __init__(self, search: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
        self.find = search


def run_pipeline(
    documents: list[dict[str, Any]], database: DatabaseView, pipeline: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Documents that a pipeline makes of others; ``$out`` and ``$merge`` are not for here.

    Raises
    ------
    CommandError
        A stage or expression is malformed or not supported.
    """
    try:
        return list(aggregate.process_pipeline(documents, database, pipeline, None))
    except Exception as error:
        raise translate(error) from error


@functools.cache
def _workbench() -> Any:
    """Empty collection of mongomock-ng whose methods apply updates to a document."""
    return mongomock_ng.MongoClient()["mlipdb"]["workbench"]


def apply_operators(document: dict[str, Any], update: Mapping[str, Any], *, inserting: bool) -> None:
    """Apply update operators to a document in place; paths hold no positional parts any more.

    Raises
    ------
    CommandError
        An operator is unknown, or cannot be applied to the value that is there.
    """
    try:
        _workbench()._apply_update_document(document, {}, dict(update), inserting)
    except Exception as error:
        raise translate(error) from error


def check_validator(validator: Matcher | None, document: dict[str, Any]) -> None:
    """Hold a document against the validator of its collection.

    Raises
    ------
    CommandError
        The document fails validation.
    """
    if validator is not None and not validator(document):
        raise CommandError(DOCUMENT_VALIDATION, "Document failed validation")


def _install() -> None:
    """Replace what mongomock-ng gets wrong."""
    installed = importlib.metadata.version("mongomock-ng")
    if installed != PINNED_VERSION:
        raise CommandError(BAD_VALUE, f"mongomock-ng must be {PINNED_VERSION}; {installed} is installed")
    # Its notes on ignored arguments would go to the server's error stream, where nobody asked for them.
    warnings.filterwarnings("ignore", module="mongomock_ng")
    filtering.iter_key_candidates = _candidates
    filtering.operator_eq = lambda value, argument: operators.equal(None if value is NOTHING else value, argument)
    filtering.bson_compare = _compare
    filtering.register_parse_expression(_expression_holds)
    filtering._filterer_inst._operator_map = {
        "$eq": _value(operators.matches_equal),
        "$in": _value(operators.matches_in),
        "$exists": lambda value, _: value is not NOTHING,
        "$regex": _value(operators.matches_regex),
        "$size": _value(operators.matches_size),
        "$type": _value(operators.matches_type),
        "$mod": _value(operators.matches_mod),
        "$elemMatch": _element_match,
        "$_schema": lambda value, schema: schema.accepts(value),
        **{name: _value(functools.partial(_range, operator=name)) for name in ("$gt", "$gte", "$lt", "$lte")},
    }
    # BSON decodes dates to naive UTC milliseconds already, and this helper copies whole documents.
    helpers.patch_datetime_awareness_in_document = lambda value: value
    aggregate._handle_date_from_string_operator = _date_from_string
    aggregate._PIPELINE_HANDLERS.update(
        {"$match": _match_stage, "$project": _project_stage, "$sort": _sort_stage, "$sortByCount": _sort_by_count_stage}
    )
    aggregate._PIPELINE_HANDLERS.update(
        {
            "$group": _group_stage,
            "$facet": _facet_stage,
            "$unset": _unset_stage,
            **dict.fromkeys(("$addFields", "$set"), _add_fields_stage),
            **stages.HANDLERS,
        }
    )
    for name in ("$out", "$merge", "$geoNear"):
        aggregate._PIPELINE_HANDLERS[name] = None
    parser = aggregate._Parser
    parser._handle_comparison_operator = expressions.comparison
    parser._handle_arithmetic_operator = expressions.arithmetic(parser._handle_arithmetic_operator)
    parser._handle_project_operator = expressions.project_operator(parser._handle_project_operator)
    parser._handle_string_operator = expressions.string_operator(parser._handle_string_operator)
    collection._updaters.update(update_operators.UPDATERS)


def _range(value: Any, argument: Any, *, operator: str) -> bool:
    return operators.matches_range(value, argument, operator)


_install()
