"""YAML as plain data, from files nobody vouches for.

The text is read event by event: no Python objects are made from tags, aliases (which can make a small
file endless) are refused, and so is nesting that would exhaust the stack of the usual loaders.  It is
also several times quicker than these on files of numbers.
"""

from __future__ import annotations

from typing import Any

import yaml

from mlipdb.errors import IngestError

__all__ = ["MAX_NESTING", "plain_yaml"]

#: Levels of mappings and lists; phonopy's files have six.
MAX_NESTING = 20
#: Lists and mappings, and single values: 256 MB of phonopy's force constants hold 5e6 rows of three numbers.
MAX_CONTAINERS, MAX_SCALARS = 6_000_000, 20_000_000
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER_STARTS = frozenset("+-.0123456789")
_WORDS: dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
    "nan": float("nan"),
    ".nan": float("nan"),
    "inf": float("inf"),
    ".inf": float("inf"),
}


def plain_yaml(text: str, name: str) -> Any:
    """Read YAML of mappings, lists, texts and numbers.

    Parameters
    ----------
    text
        One document.
    name
        What to call the file in messages.

    Returns
    -------
    object
        Dicts, lists, text, int, float, bool or None.  Unlike in YAML 1.1, ``1e-5`` is a number and
        ``no`` is text.

    Raises
    ------
    IngestError
        Reason ``bad_yaml``: no YAML, or with tags, aliases or nesting that plain data have no use for;
        ``too_large``: more values than a real file has.
    """
    containers = scalars = 0
    root: list[Any] = []
    stack: list[tuple[Any, Any]] = [(root, None)]
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.ScalarEvent):
                _refuse_tag(event, name)
                scalars += 1
                if scalars > MAX_SCALARS:
                    raise _bad(name, f"holds more than {MAX_SCALARS} values", "too_large")
                _put(stack, _scalar(event), name)
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                _refuse_tag(event, name)
                if len(stack) > MAX_NESTING:
                    raise _bad(name, f"is nested more than {MAX_NESTING} levels deep")
                containers += 1
                if containers > MAX_CONTAINERS:
                    raise _bad(name, f"holds more than {MAX_CONTAINERS} lists and mappings", "too_large")
                inner: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
                _put(stack, inner, name)
                stack.append((inner, _NoKey))
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                stack.pop()
            elif isinstance(event, yaml.AliasEvent):
                raise _bad(name, f"has an alias (*{event.anchor}); write the content itself")
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise _bad(name, f"is no YAML ({first})") from None
    if len(root) != 1:
        raise _bad(name, "is empty" if not root else "holds more than one document")
    return root[0]


class _NoKey:
    """Stands for a mapping that waits for its next key."""


def _put(stack: list[tuple[Any, Any]], value: Any, name: str) -> None:
    """Put a value where the parser stands: into a list, or as key or value of a mapping."""
    place, key = stack[-1]
    if isinstance(place, list):
        place.append(value)
    elif key is _NoKey:
        if isinstance(value, (dict, list)):
            raise _bad(name, "has a mapping or list as the key of a mapping")
        stack[-1] = (place, str(value))
    else:
        place[key] = value
        stack[-1] = (place, _NoKey)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.style not in (None, ""):  # quoted, or a block of text
        return text
    if text[:1] in _NUMBER_STARTS and "_" not in text:
        try:
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        except ValueError:
            pass
    lowered = text.lower()
    if lowered in _WORDS:
        return _WORDS[lowered]
    if lowered in ("-inf", "-.inf", "-nan"):
        return float(lowered.replace(".", ""))
    return text


def _refuse_tag(event: Any, name: str) -> None:
    if event.tag not in (None, "!") and not str(event.tag).startswith("tag:yaml.org,2002:str"):
        raise _bad(name, f"has the tag {event.tag!r:.60}; plain data have none")


def _bad(name: str, what: str, reason: str = "bad_yaml") -> IngestError:
    return IngestError(f"{name} {what}; plain YAML is needed", reason=reason)
