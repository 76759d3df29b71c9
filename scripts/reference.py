"""What the scripts that generate reference pages share: tables of fields, and writing or checking files."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

__all__ = ["DOCS", "anchor", "default_text", "description", "main", "models_in", "paragraphs", "table", "type_text"]

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main(files: Mapping[Path, str], arguments: list[str], owned: str = "") -> int:
    """Write generated files, or with ``--check`` compare them with those there are.

    Parameters
    ----------
    files
        Content by path.
    arguments
        Of the command line.
    owned
        Pattern below `DOCS` of files that are all generated: others that match are removed, or reported.

    Returns
    -------
    int
        Exit code: 1 if ``--check`` finds a file that is not what would be generated.
    """
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python SCRIPT [--check]\n")
        return 2
    extra = sorted(set(DOCS.glob(owned)) - set(files)) if owned else []
    if not arguments:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in extra:
            path.unlink()
        return 0
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in [*stale, *extra]:
        sys.stderr.write(f"docs/{path.relative_to(DOCS)} is not what {Path(sys.argv[0]).name} writes; run it\n")
    return 1 if stale or extra else 0


def anchor(name: str) -> str:
    """Where mkdocs puts the heading of a model."""
    return "#" + name.lower()


def paragraphs(text: str | None) -> str:
    """A docstring as plain text without its indentation."""
    lines = [line.strip() for line in (text or "").strip().splitlines()]
    return "\n".join(lines)


def type_text(annotation: Any) -> str:
    """A type as a reader of the documents would say it, in Markdown."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part) for part in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"{len(arguments)} × {type_text(arguments[0])}"
    if origin in (list, tuple):
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}]({anchor(annotation.__name__)})"
    plain = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "datetime": "date"}
    name = getattr(annotation, "__name__", str(annotation))
    return plain.get(name, "anything" if annotation is Any else name)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models that a type leads to, in the order they are named."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def description(field: FieldInfo) -> str:
    """What a field means; where it does not say, what its model says of itself."""
    if field.description:
        return " ".join(field.description.split())
    models = models_in(field.annotation)
    return paragraphs(models[0].__doc__).split("\n\n")[0].replace("\n", " ") if models else ""


def default_text(field: FieldInfo) -> str:
    """The default of a field as YAML would say it on one line."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return ""
    models = value.values() if isinstance(value, dict) and value else [value]
    if any(isinstance(item, BaseModel) for item in models):
        return "see there"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
