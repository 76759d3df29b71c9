"""Projections of ``find`` and ``findAndModify``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from mlipdb.embedded.adapter import DatabaseView, Matcher, run_pipeline
from mlipdb.embedded.failures import BAD_VALUE, CommandError, unsupported

__all__ = ["compile_projection"]

Project = Callable[[dict[str, Any]], dict[str, Any]]
_Tree = dict[str, Any]


def compile_projection(projection: Any) -> Project | None:
    """Make a function that cuts documents down to what a projection asks for; None for the whole documents.

    Raises
    ------
    CommandError
        The projection is malformed or not supported.
    """
    if not projection:
        return None
    if not isinstance(projection, Mapping):
        raise CommandError(BAD_VALUE, "a projection must be a document")
    fields = dict(_flat(projection))
    operators = {path: value for path, value in fields.items() if _is_operator(value, ("$slice", "$elemMatch"))}
    flags = {path: bool(value) for path, value in fields.items() if _is_flag(value)}
    if len(flags) + len(operators) < len(fields):
        return _by_pipeline(fields, operators)
    if any(part.startswith("$") for path in fields for part in path.split(".")):
        raise unsupported("the positional operator in a projection; use $elemMatch")
    chosen = {path: flag for path, flag in flags.items() if path != "_id"}
    if len(set(chosen.values())) > 1:
        raise CommandError(31254, "a projection can include fields or exclude them, not both, apart from _id")
    including = any(chosen.values()) or (not chosen and (flags.get("_id", False) or _only_element_matches(operators)))
    tree = _tree(chosen)
    with_id = flags.get("_id", True)

    def project(document: dict[str, Any]) -> dict[str, Any]:
        if including:
            result = _include(document, {**tree, **_tree(dict.fromkeys(operators, True))})
            result = {"_id": document["_id"], **result} if with_id and "_id" in document else result
        else:
            result = _exclude(document, tree)
        if not with_id:
            result.pop("_id", None)
        for path, operator in operators.items():
            _apply_operator(result, path.split("."), operator)
        return result

    _check_operators(operators)
    return project


def _flat(projection: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in projection.items():
        if isinstance(value, Mapping) and value and not next(iter(value)).startswith("$"):
            found.extend(_flat(value, f"{prefix}{name}."))
        else:
            found.append((prefix + name, value))
    return found


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _is_operator(value: Any, names: tuple[str, ...]) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in names


def _only_element_matches(operators: dict[str, Any]) -> bool:
    # A lone $slice shows the whole document, a lone $elemMatch nothing but its field.
    return bool(operators) and all("$elemMatch" in value for value in operators.values())


def _by_pipeline(fields: dict[str, Any], operators: dict[str, Any]) -> Project:
    if operators:
        raise unsupported("a projection with expressions beside $slice or $elemMatch")
    if any(_is_operator(value, ("$meta",)) for value in fields.values()):
        raise unsupported("$meta in a projection")
    if any(part.startswith("$") for path in fields for part in path.split(".")):
        raise unsupported("the positional operator in a projection")
    stage = [{"$project": fields}]

    def project(document: dict[str, Any]) -> dict[str, Any]:
        [result] = run_pipeline([document], DatabaseView("", lambda _, __: []), copy.deepcopy(stage))
        return result

    return project


def _tree(flags: Mapping[str, Any]) -> _Tree:
    tree: _Tree = {}
    for path in flags:
        parts = path.split(".")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise CommandError(31249, f"Path collision at {path}")
        if parts[-1] in node:
            raise CommandError(31250, f"Path collision at {path}")
        node[parts[-1]] = True
    return tree


def _include(document: Mapping[str, Any], tree: _Tree) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in document.items():
        branch = tree.get(name)
        if branch is True:
            result[name] = value
        elif isinstance(branch, dict) and isinstance(value, (Mapping, list)):
            result[name] = _include_in(value, branch)
    return result


def _include_in(value: Any, tree: _Tree) -> Any:
    if isinstance(value, Mapping):
        return _include(value, tree)
    return [_include_in(element, tree) for element in value if isinstance(element, (Mapping, list))]


def _exclude(document: Mapping[str, Any], tree: _Tree) -> dict[str, Any]:
    return {
        name: _exclude_in(value, tree[name]) if name in tree else value
        for name, value in document.items()
        if tree.get(name) is not True
    }


def _exclude_in(value: Any, tree: _Tree) -> Any:
    if isinstance(value, Mapping):
        return _exclude(value, tree)
    return [_exclude_in(element, tree) for element in value] if isinstance(value, list) else value


def _check_operators(operators: dict[str, Any]) -> None:
    for path, operator in operators.items():
        if "$elemMatch" in operator:
            if "." in path:
                raise unsupported("$elemMatch on a dotted path in a projection")
            Matcher({"value": {"$elemMatch": operator["$elemMatch"]}})
        elif "." in path:
            raise unsupported("$slice on a dotted path in a projection")
        else:
            _slice([], operator["$slice"])


def _apply_operator(result: dict[str, Any], parts: list[str], operator: dict[str, Any]) -> None:
    (name,) = parts
    if name not in result:
        return
    value = result[name]
    if "$slice" in operator:
        if isinstance(value, list):
            result[name] = _slice(value, operator["$slice"])
        return
    if isinstance(value, list):
        matches = Matcher({"value": {"$elemMatch": operator["$elemMatch"]}})
        found = [element for element in value if matches({"value": [element]})][:1]
        if found:
            result[name] = found
            return
    del result[name]


def _slice(value: list[Any], argument: Any) -> list[Any]:
    numbers = argument if isinstance(argument, list) else [argument]
    if not 1 <= len(numbers) <= 2 or any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
        raise CommandError(BAD_VALUE, "$slice needs a whole number, or an array of two")
    if len(numbers) == 1:
        return value[: numbers[0]] if numbers[0] >= 0 else value[numbers[0] :]
    start, count = numbers
    if count <= 0:
        raise CommandError(BAD_VALUE, "the second number of $slice must be positive")
    start = max(0, len(value) + start) if start < 0 else start
    return value[start : start + count]
