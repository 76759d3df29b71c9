"""Common checks of the arguments of commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlipdb.embedded.failures import BAD_VALUE, INVALID_NAMESPACE, CommandError, unsupported


def collection_name(command: Mapping[str, Any], field: str) -> str:
    """Name of the collection a command speaks of.

    Raises
    ------
    CommandError
        It is not the name of a collection.
    """
    return check_name(command.get(field), command.get("$db"))


def check_name(name: Any, database: Any) -> str:
    """Hold a collection's and a database's name against MongoDB's rules.

    Raises
    ------
    CommandError
        One of them is not allowed.
    """
    if not isinstance(database, str) or not database or len(database) > 63 or set(database) & set('/\\. "$\x00'):
        raise CommandError(INVALID_NAMESPACE, f"invalid database name: {database!r}")
    if (
        not isinstance(name, str)
        or not name
        or "\x00" in name
        or "$" in name
        or name.startswith(".")
        or name.endswith(".")
    ):
        raise CommandError(INVALID_NAMESPACE, f"invalid collection name: {name!r}")
    if name.startswith("system."):
        raise CommandError(INVALID_NAMESPACE, f"{name!r} is a name of the server's own collections")
    if len(f"{database}.{name}".encode()) > 255:
        raise CommandError(INVALID_NAMESPACE, "the name of a collection with its database may have 255 bytes")
    return name


def refuse_options(command: Mapping[str, Any], names: Iterable[str] = ()) -> None:
    """Refuse options that would change the answer and are not supported.

    Raises
    ------
    CommandError
        One of `names`, a collation other than the simple one, or ``let`` is set.
    """
    for name in names:
        if command.get(name):
            raise unsupported(f"the option {name}")
    collation = command.get("collation")
    if collation and (not isinstance(collation, Mapping) or collation.get("locale") != "simple"):
        raise unsupported("collations")
    if command.get("let"):
        raise unsupported("variables by let")


def whole_number(command: Mapping[str, Any], name: str, least: int = 0) -> int:
    """Read a number of a command; 0 where there is none.

    Raises
    ------
    CommandError
        It is no whole number, or smaller than `least`.
    """
    value = command.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 2**63:
        raise CommandError(BAD_VALUE, f"{name} is {value!r}; it must be a whole number")
    if value != int(value) or value < least:
        raise CommandError(BAD_VALUE, f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)
