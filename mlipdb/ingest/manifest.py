"""Manifests: a YAML or CSV file that says which potential each phonopy file of a folder is of."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.ingest.external import ExternalPotential, described, put_dotted, scalar_of_text
from mlipdb.ingest.plain_yaml import plain_yaml

__all__ = ["read_manifest"]

Raw = dict[str, Any]
MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 100_000
PREFIX = "hyperparameters."
#: How several references are parted in a CSV file.
PART = ";"


def read_manifest(path: Path) -> list[ExternalPotential]:
    """The rows of a manifest.

    A YAML file holds a list of rows, or a mapping with ``potentials`` (the rows) and ``defaults`` (fields
    of all rows that do not have them).  A CSV file has a header; columns ``hyperparameters.n_sparse`` and
    the like hold hyperparameters, and empty cells say nothing.  Every row needs ``file``, ``name`` and
    ``framework``; files are named relative to the manifest and lie in its folder.

    Raises
    ------
    UsageError
        The manifest cannot be read, or a row is not right; the message names it.
    """
    text = _text(path)
    rows = _csv_rows(text, path.name) if path.suffix.lower() == ".csv" else _yaml_rows(text, path.name)
    if not 0 < len(rows) <= MAX_ROWS:
        raise UsageError(f"{path.name} has {len(rows)} rows; 1 to {MAX_ROWS} are taken")
    return [_row(path, number, row) for number, row in enumerate(rows, start=1)]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path.name} is larger than {MAX_BYTES // 1024**2} MB; a manifest names files")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the manifest {path} cannot be read ({error}); name a YAML or CSV file") from None


def _yaml_rows(text: str, name: str) -> list[Any]:
    try:
        content = plain_yaml(text, name)
    except IngestError as error:
        raise UsageError(error.message) from None
    defaults: Any = {}
    if isinstance(content, dict):
        unknown = sorted(set(content) - {"defaults", "potentials"})
        if unknown:
            raise UsageError(f"{name}: there is no field {unknown[0]!r}; defaults and potentials are known")
        defaults, content = content.get("defaults") or {}, content.get("potentials")
    if not isinstance(content, list) or not isinstance(defaults, dict):
        raise UsageError(f"{name}: a list of rows is needed, or `potentials` with the rows and `defaults` with fields")
    return [{**defaults, **row} if isinstance(row, dict) else row for row in content]


def _csv_rows(text: str, name: str) -> list[Any]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        lines = list(reader)
        columns = reader.fieldnames or []
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV ({error})") from None
    if len(set(columns)) != len(columns):
        raise UsageError(f"{name}: two columns have the same name")
    rows: list[Any] = []
    for number, line in enumerate(lines, start=1):
        if None in line or None in line.values():
            raise UsageError(f"{name} row {number}: has another number of cells than the header")
        row: Raw = {}
        for column, cell in line.items():
            value = cell.strip()
            if not value:
                continue
            if column.startswith(PREFIX):
                target = row.setdefault("hyperparameters", {})
                put_dotted(target, column.removeprefix(PREFIX), scalar_of_text(value), f"{name} row {number}")
            elif column in ("reference", "references"):
                row["references"] = [part.strip() for part in value.split(PART) if part.strip()]
            else:
                row[column] = value
        rows.append(row)
    return rows


def _row(manifest: Path, number: int, row: Any) -> ExternalPotential:
    where = f"{manifest.name} row {number}"
    if not isinstance(row, dict):
        raise UsageError(f"{where}: a mapping with file, name and framework is needed")
    given = dict(row)
    name = given.pop("file", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}: has no file; name one, relative to {manifest.name}")
    folder = manifest.parent.resolve()
    try:
        inside = "\0" not in name and (folder / name).resolve().is_relative_to(folder)
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise UsageError(f"{where}: {name!r:.100} is outside the folder of {manifest.name}; files below it are read")
    return replace(described(manifest.parent / name, given, where, str(number)), within=folder)
