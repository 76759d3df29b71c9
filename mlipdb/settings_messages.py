"""What pydantic says of wrong settings, as sentences with a place and a hint."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mlipdb.settings_yaml import where

__all__ = ["SettingValueError", "explain", "near", "sentence"]

Path = tuple[str, ...]


class SettingValueError(ValueError):
    """A wrong value, found by a check of several settings together, with the key it stands at."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def explain(
    error: ValidationError, lines: Mapping[Path, int], source: str, model: type[BaseModel], prefix: str
) -> list[str]:
    """One line for each problem: file and line (or variable), key, what is wrong and what would be right.

    Parameters
    ----------
    error
        As pydantic raised it.
    lines
        Line of each key path of the file.
    source
        Name of the file.
    model
        The settings' model, for the names that are allowed.
    prefix
        Of environment variables.
    """
    problems = []
    for item in error.errors():
        path = _path(item)
        place = _variable(path, lines, prefix) or where(path, lines, source)
        key = ".".join(path)
        problems.append(f"{place}: {key}: {sentence(item, model)}" if key else f"{place}: {sentence(item, model)}")
    return list(dict.fromkeys(problems))


def sentence(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What is wrong with one value, in lower case."""
    message: str = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        path = _path(item)
        return f"unknown key{near(path[-1], _siblings(model, path[:-1]))}"
    if item["type"] == "value_error":
        return message
    return f"{message[0].lower()}{message[1:]}, not {item['input']!r}"


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was meant, else at all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(names)}" if names else ""


def _path(item: Mapping[str, Any]) -> Path:
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, SettingValueError):
        return cause.path
    # A union's alternatives add their type's name to the path.
    tags = ("literal[", "list[", "function-", "constrained-")
    return tuple(str(part) for part in item["loc"] if not str(part).startswith(tags))


def _variable(path: Path, lines: Mapping[Path, int], prefix: str) -> str | None:
    """The environment variable a wrong value came from; None where it stands in the file."""
    present = {name.upper(): name for name in os.environ}
    for length in range(len(path), 0, -1):
        name = f"{prefix}{'__'.join(path[:length])}".upper()
        if name in present:
            return f"environment variable {present[name]}"
        if path[:length] in lines and length == len(path):
            return None
    return None


def _siblings(model: type[BaseModel], path: Path) -> set[str]:
    """Names that are allowed beside an unknown key."""
    kind: Any = model
    for part in path:
        fields = getattr(kind, "model_fields", None)
        if fields is not None:
            kind = _inner(fields[part].annotation if part in fields else None)
        elif get_origin(kind) is dict:
            kind = _inner(get_args(kind)[1])  # the part is a name of the user's
    return set(getattr(kind, "model_fields", ()))


def _inner(annotation: Any) -> Any:
    """The model or mapping an annotation holds, through Optional; None for plain values."""
    if get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return annotation
    for argument in get_args(annotation):
        found = _inner(argument)
        if found is not None:
            return found
    return None
