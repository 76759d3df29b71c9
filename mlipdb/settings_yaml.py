"""YAML with line numbers, so that an error can name the line it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mlipdb.errors import SettingsError

__all__ = ["Place", "load_yaml", "where"]

Path = tuple[str, ...]
#: Far above any real file; aliases can make a few lines stand for billions of values.
MAX_VALUES = 100_000
MAX_DEPTH = 50
TEXT_KEYS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}


def load_yaml(text: str, source: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Parse a mapping and note the line of every key.

    Parameters
    ----------
    text
        YAML text; only plain data is understood, tags that make objects are refused.
    source
        Name of the file, for messages.

    Returns
    -------
    tuple
        The mapping, and the line (from 1) of each key path.

    Raises
    ------
    SettingsError
        If the text is no YAML, no mapping, has a key twice or one that is no text, or is nested or
        repeated beyond all reason.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(f"{source}: must be a mapping of keys to values, such as `database: embedded`")
        walker = _Walker(source)
        walker.walk(node, ())
        # Only now: aliases that grow without bound have been refused.
        content: dict[str, Any] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(_no_yaml(error, text, source)) from None
    except RecursionError:
        raise SettingsError(f"{source}: is nested too deeply to be read; {MAX_DEPTH} levels are enough") from None
    return content, walker.lines


def _no_yaml(error: yaml.YAMLError, text: str, source: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{source} line {line}: no valid YAML: {error.reason}"
    mark = getattr(error, "problem_mark", None)
    place = f" line {mark.line + 1}" if mark is not None else ""
    return f"{source}{place}: no valid YAML: {getattr(error, 'problem', None) or 'cannot be read'}"


class _Walker:
    """Notes the line of every key and list item."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[Path, int] = {}
        self._values = 0

    def walk(self, node: yaml.Node, path: Path) -> None:
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise SettingsError(
                f"{self.source} line {node.start_mark.line + 1}: {'.'.join(path[:3])} holds more than "
                f"{MAX_VALUES} values or {MAX_DEPTH} levels; an alias (*name) may repeat itself"
            )
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, self._key(key))
                self._note(here, key)
                self.walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                here = (*path, str(index))
                self.lines[here] = item.start_mark.line + 1
                self.walk(item, here)

    def _key(self, node: yaml.Node) -> str:
        if node.tag not in TEXT_KEYS:
            shown = f"the key {node.value}" if isinstance(node, yaml.ScalarNode) else "a list or mapping as a key"
            raise SettingsError(
                f"{self.source} line {node.start_mark.line + 1}: {shown} is no text; write it in quotes"
            )
        return str(node.value)

    def _note(self, path: Path, key: yaml.Node) -> None:
        if path in self.lines:
            raise SettingsError(
                f"{self.source} line {key.start_mark.line + 1}: {'.'.join(path)} stands here a second time "
                f"(first on line {self.lines[path]}); keep one of them"
            )
        self.lines[path] = key.start_mark.line + 1


def where(path: Path, lines: Mapping[Path, int], source: str) -> str:
    """File and line of a key, or of its nearest parent that the file holds."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return f"{source} line {lines[path[:length]]}"
    return source


@dataclass(frozen=True)
class Place:
    """Where a group of settings stands in its file, for errors that are found later.

    Attributes
    ----------
    path
        Keys that lead to the group.
    lines
        Line of each key path of the file.
    source
        Name of the file.
    """

    path: Path = ()
    lines: Mapping[Path, int] = field(default_factory=dict)
    source: str = "mlipdb.yaml"

    def explain(self, keys: Path, message: str) -> str:
        """File, line and key of a setting below the group, with what is wrong with it."""
        path = (*self.path, *keys)
        return f"{where(path, self.lines, self.source)}: {'.'.join(path)}: {message}"
