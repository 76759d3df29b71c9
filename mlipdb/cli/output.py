"""Tables, JSON and numbers on the terminal."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["cell", "console", "print_json", "table", "to_json"]

#: A document's key, and the hexadecimal digits of it that a terminal shows.
KEY = re.compile(r"[a-z]+-[0-9a-f]{20}")
SHORT_KEY = 8


def console(*, error: bool = False) -> Console:
    """A console; without a terminal it is as wide as what it prints, so that no row is cut."""
    from rich.console import Console

    made = Console(stderr=error, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=error, highlight=False, width=200)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dates as ISO 8601 in UTC, NaN as null."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of documents."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def print_json(value: Any) -> None:
    """Print JSON; compact where it goes into a pipe would save nothing, so it is always indented."""
    sys.stdout.write(to_json(value) + "\n")


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value == int(value) and abs(value) < 1e6:
            return f"{value:g}"
        return f"{value:.4f}" if 100 <= abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        if len(value) > 3:
            return f"{len(value)} items"
        return ", ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return f"{len(value)} fields"
    return str(value)


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str], title: str | None = None) -> None:
    """Print a table; numbers to the right.

    On a terminal keys are cut to their first characters, which every command takes as well.
    """
    from rich import box
    from rich.table import Table

    shown = console()
    short = shown.is_terminal
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        numeric = any(isinstance(row[index], (int, float)) and not isinstance(row[index], bool) for row in rows)
        keys = any(KEY.fullmatch(cell(row[index])) for row in rows)
        made.add_column(_header(name), justify="right" if numeric else "left", overflow="fold", no_wrap=keys)
    for row in rows:
        made.add_row(*(_short(cell(value)) if short else cell(value) for value in row))
    shown.print(made)


def _header(name: str) -> str:
    """A field name over two or more lines, so that a column is as narrow as its values."""
    return "\n".join(part.replace("_", "_\n") if len(part) > 12 else part for part in name.split("."))


def _short(text: str) -> str:
    """The first characters of a key: enough for one database, and for a line."""
    return text[: text.index("-") + 1 + SHORT_KEY] if KEY.fullmatch(text) else text
