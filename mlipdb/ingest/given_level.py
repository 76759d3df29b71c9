"""The level of theory that the user gives for files that do not say theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.ingest.files import Record

__all__ = ["LEVEL_FIELDS", "check_level", "level_of_file", "level_of_text", "with_level"]

Raw = dict[str, Any]
TEXTS = ("code", "functional", "dispersion", "pseudopotential", "method")
NUMBERS = ("cutoff_ev", "k_spacing")
#: Fields that a level may be given by, as flat records have them.
LEVEL_FIELDS = (*TEXTS, *NUMBERS, "kpoints", "pseudopotentials", "hubbard_u", "spin_polarised")
EXAMPLE = "code=VASP,functional=PBEsol,cutoff_ev=700,k_spacing=0.2"
BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
MAX_FILE = 1024 * 1024


def level_of_text(text: str) -> Raw:
    """Read ``code=VASP,functional=PBEsol,cutoff_ev=700,hubbard_u.Fe=5.3``.

    Raises
    ------
    UsageError
        If a field is unknown or its value of the wrong kind.
    """
    given: Raw = {}
    for part in re.split(r",(?=\s*[A-Za-z_]+(?:\.[A-Za-z]+)?\s*=)", text):
        name, sign, value = (word.strip() for word in part.partition("="))
        if not sign or not value:
            raise UsageError(f"--level: {part.strip()!r} is no field with a value; write it as {EXAMPLE!r}")
        field, dot, element = name.partition(".")
        target, key = (given.setdefault(field, {}), element) if dot else (given, field)
        if not isinstance(target, dict) or key in target:
            raise UsageError(f"--level: {name} is given twice")
        target[key] = _value(field, value)
    return check_level(given, "--level")


def level_of_file(path: Path) -> Raw:
    """Read the fields of a level of theory from a YAML file.

    Raises
    ------
    UsageError
        If the file cannot be read, or a field is unknown or of the wrong kind.
    """
    import yaml

    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE:
            raise UsageError(f"--level-file: {path} is no file of a few lines of YAML")
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"--level-file: {path} cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(given, dict):
        raise UsageError(f"--level-file: {path} must hold fields such as `functional: PBEsol`")
    return check_level(given, f"--level-file {path.name}")


def check_level(given: Mapping[str, Any], where: str) -> Raw:
    """The fields of a level of theory, checked.

    Raises
    ------
    UsageError
        If a field is unknown or of the wrong kind.
    """
    for name, value in given.items():
        if name not in LEVEL_FIELDS:
            raise UsageError(f"{where}: there is no field {name!r}; {', '.join(LEVEL_FIELDS)} are known")
        if not _is_right(name, value):
            raise UsageError(f"{where}: {name} is {value!r:.80}; {_WANTED.get(name, 'text is needed')}")
    return dict(given)


_WANTED = {
    "cutoff_ev": "a number above zero, in eV, is needed",
    "k_spacing": "a number above zero (VASP's KSPACING, 1/Angstrom) is needed",
    "spin_polarised": "true or false is needed",
    "kpoints": "a mesh is needed, such as 4x4x4, or {mesh: [4, 4, 4]} in a file",
    "pseudopotentials": "names by element are needed, such as pseudopotentials.Li=Li_sv",
    "hubbard_u": "eV by element are needed, such as hubbard_u.Fe=5.3",
}


def _value(field: str, text: str) -> Any:
    """A value of the command line as what it stands for."""
    if field in NUMBERS or field == "hubbard_u":
        try:
            return float(text)
        except ValueError:
            return text
    if field == "spin_polarised":
        return BOOLEANS.get(text.lower(), text)
    if field == "kpoints" and re.fullmatch(r"\d{1,4}x\d{1,4}x\d{1,4}", text):
        return {"mesh": [int(number) for number in text.split("x")]}
    return text


def _is_right(name: str, value: Any) -> bool:
    if name in TEXTS:
        return isinstance(value, str) and bool(value)
    if name in NUMBERS:
        return _is_number(value) and 0 < value < 1e6
    if name == "spin_polarised":
        return isinstance(value, bool)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    if name == "kpoints":
        mesh = value.get("mesh")
        return set(value) == {"mesh"} and isinstance(mesh, list) and len(mesh) == 3 and all(map(_is_count, mesh))
    if name == "hubbard_u":
        return all(map(_is_number, value.values()))
    return all(isinstance(item, str) and item for item in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000


def with_level(record: Record, given: Mapping[str, Any] | None) -> Record:
    """A record with what the user says of its level of theory where the file says nothing.

    Where both say something else the record is refused, and one without code and functional as well.
    """
    raw = record.raw
    if raw is None:
        return record
    place = f"{record.path.name} item {record.item}"
    merged = dict(raw)
    for name, value in (given or {}).items():
        if name not in merged:
            merged[name] = _of_elements(name, value, raw)
        elif not _agree(merged[name], value):
            problem = IngestError(
                f"{place}: says {name} {merged[name]!r:.80}, but the level of theory given for it says {value!r:.80}; "
                "leave it out, or add this file on its own",
                reason="level_conflict",
            )
            return replace(record, raw=None, problem=problem)
    missing = [name for name in ("code", "functional") if not merged.get(name)]
    if missing:
        problem = IngestError(
            f"{place}: does not say its {' and '.join(missing)}; give the level of theory, such as "
            f'`mlipdb add PATH --level "{EXAMPLE}"`, or the same fields in a YAML file by `--level-file`',
            reason="no_level",
        )
        return replace(record, raw=None, problem=problem)
    return replace(record, raw=merged)


def _of_elements(name: str, value: Any, raw: Mapping[str, Any]) -> Any:
    """What concerns the elements of this structure: the level may be given for many structures."""
    if name not in ("pseudopotentials", "hubbard_u") or not isinstance(value, Mapping):
        return value
    sites = raw["structure"]["sites"]
    elements = {site["species"][0]["element"] for site in sites}
    return {element: item for element, item in value.items() if element in elements}


def _agree(stated: Any, given: Any) -> bool:
    if isinstance(given, Mapping) and isinstance(stated, Mapping) and "mesh" not in given:
        return all(stated[key] == value for key, value in given.items() if key in stated)
    if _is_number(stated) and _is_number(given):
        return bool(abs(stated - given) <= 1e-3 * max(abs(stated), abs(given)))
    if isinstance(stated, str) and isinstance(given, str):
        return stated.lower() == given.lower()
    return bool(stated == given)
