"""Declared indexes: what they are called, which documents they hold and under which keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from bson import json_util

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.failures import CANNOT_CREATE_INDEX, CommandError, unsupported

__all__ = ["Index", "index_from_specification"]

_OPTIONS: Final = {"unique", "sparse", "expireAfterSeconds", "partialFilterExpression"}
_IGNORED: Final = {"name", "key", "v", "background", "ns", "comment", "hidden"}


@dataclass
class Index:
    """One index of a collection.

    Attributes
    ----------
    number
        Its table in the database file.
    name
        Name, unique in the collection.
    fields
        Dotted paths with what they are indexed as: 1, -1, ``"hashed"``.
    options
        ``unique``, ``sparse``, ``expireAfterSeconds``, ``partialFilterExpression`` as declared.
    multikey
        Some document has, or had, an array behind one of the paths.
    cut
        Some key is, or was, longer than what is kept of it.
    """

    number: int
    name: str
    fields: list[tuple[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    multikey: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        self.paths = [path.split(".") for path, _ in self.fields]
        partial = self.options.get("partialFilterExpression")
        self.partial = Matcher(partial) if partial is not None else None
        self.unique = bool(self.options.get("unique"))
        self.sparse = bool(self.options.get("sparse"))
        # A wildcard index is declared and reported, but no key is kept for it.
        self.usable = not any("$**" in path for path in self.paths)

    def document_keys(self, document: dict[str, Any]) -> tuple[set[bytes], bool]:
        """Full keys of a document in this index, and whether an array made them."""
        if not self.usable or (self.partial is not None and not self.partial(document)):
            return set(), False
        return keys.document_keys(document, self.paths, sparse=self.sparse)

    def describe(self) -> dict[str, Any]:
        """Entry of ``listIndexes``."""
        return {"v": 2, "key": dict(self.fields), "name": self.name, **self.options}

    def specification(self) -> str:
        """Text that is kept in the catalogue."""
        return str(json_util.dumps({"fields": [list(item) for item in self.fields], "options": self.options}))


def index_from_specification(number: int, name: str, specification: str, multikey: bool, cut: bool) -> Index:
    """Index as the catalogue has it."""
    parsed = json_util.loads(specification)
    return Index(number, name, [(path, kind) for path, kind in parsed["fields"]], parsed["options"], multikey, cut)


def checked_index(declared: dict[str, Any]) -> Index:
    """Index as a client declares it, not yet stored (its number is 0).

    Raises
    ------
    CommandError
        The declaration is malformed or not supported.
    """
    fields = declared.get("key")
    if not isinstance(fields, dict) or not fields:
        raise CommandError(CANNOT_CREATE_INDEX, "an index needs a key with at least one field")
    for path, kind in fields.items():
        if kind in ("text", "2d", "2dsphere", "geoHaystack"):
            raise unsupported(f"{kind} indexes")
        if kind != "hashed" and (isinstance(kind, (bool, str)) or not isinstance(kind, (int, float)) or kind == 0):
            raise CommandError(
                CANNOT_CREATE_INDEX, f"the index on {path!r} is neither ascending (1) nor descending (-1)"
            )
        if not path or "" in path.split("."):
            raise CommandError(CANNOT_CREATE_INDEX, "an index key cannot contain an empty field name")
    unknown = set(declared) - _OPTIONS - _IGNORED
    if declared.get("collation", {}).get("locale") == "simple":
        unknown -= {"collation"}
    if unknown:
        raise unsupported(f"the index option {min(unknown)}")
    options = {name: declared[name] for name in _OPTIONS if declared.get(name) is not None}
    options = {name: value for name, value in sorted(options.items()) if value is not False}
    ordered = [(path, kind if kind == "hashed" else (1 if kind > 0 else -1)) for path, kind in fields.items()]
    if options.get("unique") and any(kind == "hashed" or "$**" in path.split(".") for path, kind in ordered):
        raise CommandError(CANNOT_CREATE_INDEX, "hashed and wildcard indexes cannot be unique")
    name = declared.get("name") or "_".join(f"{path}_{kind}" for path, kind in ordered)
    return Index(0, str(name), ordered, options)
