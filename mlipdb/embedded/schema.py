"""The part of ``$jsonSchema`` that validators of collections commonly use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mlipdb.embedded.failures import BAD_VALUE, CommandError, unsupported
from mlipdb.embedded.operators import compile_regex, equal, type_name, type_names

_IGNORED: Final = {"title", "description", "$comment"}
_KEYWORDS: Final = {
    "required", "properties", "bsonType", "type", "enum", "minimum", "maximum", "minLength", "maxLength",
    "pattern", "items", "minItems", "maxItems", "additionalProperties",
}  # fmt: skip
_JSON_TYPES: Final = {
    "object": "object",
    "array": "array",
    "number": "number",
    "boolean": "bool",
    "string": "string",
    "null": "null",
}


class JsonSchema:
    """A schema that documents can be checked against.

    Parameters
    ----------
    schema
        Argument of ``$jsonSchema``.

    Raises
    ------
    CommandError
        The schema is malformed, or has a keyword outside the supported ones.
    """

    def __init__(self, schema: Any) -> None:
        if not isinstance(schema, Mapping):
            raise CommandError(BAD_VALUE, "$jsonSchema must be an object")
        unknown = set(schema) - _KEYWORDS - _IGNORED
        if unknown:
            raise unsupported(f"the keyword {min(unknown)} of $jsonSchema")
        self._schema = dict(schema)
        self._types = self._type_names()
        self._pattern: re.Pattern[str] | None = compile_regex(schema["pattern"], "") if "pattern" in schema else None
        self._properties = {name: JsonSchema(part) for name, part in schema.get("properties", {}).items()}
        items = schema.get("items")
        if items is not None and not isinstance(items, Mapping):
            raise unsupported("a list of schemas in items of $jsonSchema")
        self._items = JsonSchema(items) if items is not None else None
        if not isinstance(schema.get("additionalProperties", True), bool):
            raise unsupported("a schema in additionalProperties of $jsonSchema")

    def _type_names(self) -> frozenset[str] | None:
        if "bsonType" in self._schema:
            return type_names(self._schema["bsonType"])
        if "type" not in self._schema:
            return None
        wanted = self._schema["type"]
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if any(name not in _JSON_TYPES for name in wanted):
            raise CommandError(BAD_VALUE, f"$jsonSchema type must be among {', '.join(_JSON_TYPES)}")
        return type_names([_JSON_TYPES[name] for name in wanted])

    def accepts(self, value: Any) -> bool:
        """Whether a value fulfils the schema."""
        if self._types is not None and type_name(value) not in self._types:
            return False
        if "enum" in self._schema and not any(equal(value, allowed) for allowed in self._schema["enum"]):
            return False
        if isinstance(value, Mapping):
            return self._accepts_object(value)
        if isinstance(value, list):
            return self._accepts_array(value)
        if isinstance(value, str):
            return self._within(len(value), "minLength", "maxLength") and (
                self._pattern is None or self._pattern.search(value) is not None
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._within(value, "minimum", "maximum")
        return True

    def _within(self, size: float, low: str, high: str) -> bool:
        return bool(self._schema.get(low, size) <= size <= self._schema.get(high, size))

    def _accepts_object(self, value: Mapping[str, Any]) -> bool:
        if any(name not in value for name in self._schema.get("required", ())):
            return False
        if self._schema.get("additionalProperties", True) is False and set(value) - set(self._properties):
            return False
        return all(part.accepts(value[name]) for name, part in self._properties.items() if name in value)

    def _accepts_array(self, value: list[Any]) -> bool:
        if not self._within(len(value), "minItems", "maxItems"):
            return False
        return self._items is None or all(self._items.accepts(element) for element in value)
