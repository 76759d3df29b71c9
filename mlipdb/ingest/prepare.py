"""A record made ready to be written: recognised, hashed, encoded and understood, without a database.

This is most of the work of `mlipdb add`, and worker processes do it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlipdb.errors import ConfigurationError, IngestError, MlipdbError
from mlipdb.ingest import mp_phonon, mp_structure
from mlipdb.ingest.dates import to_utc
from mlipdb.ingest.files import Record
from mlipdb.ingest.interpret import interpret, recognise
from mlipdb.ingest.phonopy_file import PHONOPY_FORMATS, understood
from mlipdb.physics.quality import stated_problems

__all__ = ["MAX_INLINE", "Prepared", "Understood", "address_of", "place_of", "prepare", "raw_hash", "storable"]

#: A raw task above this becomes a file: MongoDB takes documents up to 16 MB.
MAX_INLINE = 15 * 1024 * 1024
#: MongoDB nests documents up to 100 levels; a task adds some of its own.
MAX_DEPTH = 90


#: Fields that sources take from the names of folders: the first word stays when a folder is renamed.
FROM_NAMES = {"vasp_directory": frozenset({"config_type"})}
#: Types that hold nothing further.
LEAVES = frozenset({bool, float, int, str, type(None)})


@dataclass(frozen=True)
class Understood:
    """What one item was taken for.

    Attributes
    ----------
    place
        Where it stands: file and item.
    format
        Name of its reader.
    formula
        Of the cell, in Hill's order; None where the structure cannot be read.
    n_atoms
        Number of atoms.
    kind
        `config_type` as its producer says; None where the geometry will tell.
    level
        Label of the level of theory.
    problem
        Why it was refused, or why it will not become a configuration as it is.
    """

    place: str
    format: str
    formula: str | None = None
    n_atoms: int | None = None
    kind: str | None = None
    level: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Prepared:
    """One item, ready to be written; no larger than its bytes, so that it can be sent between processes.

    Attributes
    ----------
    record
        Where it came from, without its content; with a problem where it is refused.
    understood
        What it was taken for.
    task_id, format
        Name of the task and of its reader.
    digest
        Hash of the content.
    content
        The raw task as BSON.
    """

    record: Record
    understood: Understood
    task_id: str = ""
    format: str = ""
    digest: str = ""
    content: bytes = b""


def prepare(record: Record) -> Prepared:
    """Make a record ready; one that cannot be taken becomes a refused one."""
    place, bare = place_of(record), replace(record, raw=None)
    if record.problem is not None or record.raw is None:
        return refused(bare, record.problem or IngestError(f"{place} holds nothing"))
    raw = record.raw
    bare = replace(bare, changed=record.changed or _changed(raw))
    try:
        try:
            source_format, task_id = (
                recognise(raw) if record.format is None else (record.format, _own_id(raw, record.format))
            )
        except IngestError as error:
            raise IngestError(f"{place}: {error.message}", reason=error.reason) from None
        content = _encoded(raw, place)
        digest = raw_hash(raw) if record.format is None else _source_hash(raw, record.format)
    except IngestError as error:
        return refused(bare, error)
    understood = _understand(_shown(record, place), task_id, source_format, raw)
    return Prepared(bare, understood, task_id, source_format, digest, content)


def _shown(record: Record, place: str) -> str:
    """A place with the folder that a directory lies in: ``outputs`` is a name of many."""
    if record.address is None and record.format is not None and record.path.is_dir():
        return f"{storable(record.path.parent.name)}/{place}"
    return place


def refused(record: Record, problem: MlipdbError) -> Prepared:
    """An item that is not taken."""
    known = problem if isinstance(problem, IngestError) else IngestError(problem.message, reason=problem.reason)
    place = place_of(record)
    return Prepared(
        replace(record, raw=None, problem=known), Understood(place, record.format or "unknown", problem=known.message)
    )


def _changed(raw: dict[str, Any]) -> datetime | None:
    """When its producer last changed a document that came in a file."""
    output = raw.get("output")
    return to_utc(raw.get("last_updated")) or to_utc(output.get("last_updated") if isinstance(output, dict) else None)


def _own_id(raw: dict[str, Any], source_format: str) -> str:
    value = raw.get("task_id")
    if not isinstance(value, str) or not value:
        raise IngestError(f"the reader {source_format} gave a record without a task_id", reason="no_id")
    return value


def raw_hash(raw: dict[str, Any]) -> str:
    """SHA-256 of a raw task; unlike keys it may hold NaN, which a producer did write."""
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _source_hash(raw: dict[str, Any], source_format: str) -> str:
    """Hash of what a source read; the files may be named, compressed and bundled otherwise the next time."""
    ignored = {"source_files"} | FROM_NAMES.get(source_format, frozenset())
    return raw_hash({key: value for key, value in raw.items() if key not in ignored})


def _understand(place: str, task_id: str, source_format: str, raw: dict[str, Any]) -> Understood:
    if source_format in PHONOPY_FORMATS:
        return Understood(place, source_format, *understood(task_id, raw))
    try:
        calculation = interpret(task_id, raw, source_format)
    except ConfigurationError as error:
        return Understood(place, source_format, problem=storable(error.message))
    except Exception as error:  # noqa: BLE001 - the task is kept as it came whatever its reader thinks of it
        return Understood(place, source_format, problem=storable(f"task {task_id}: {type(error).__name__}: {error}"))
    problem = None
    if source_format in (mp_structure.NAME, mp_phonon.NAME):
        pass  # a crystal, or its phonons: none of the two is meant to be a label
    elif not calculation.converged:
        problem = "its self-consistency did not converge"
    elif calculation.energy is None:
        problem = "it has no energy"
    elif calculation.forces is None:
        problem = "it has no forces"
    elif calculation.energy_kind != "free":
        problem = stated_problems(converged=True, energy_kind=calculation.energy_kind)[0].message
    return Understood(
        place,
        source_format,
        _formula(calculation.atoms.get_chemical_symbols()),
        len(calculation.atoms),
        calculation.config_type,
        calculation.level.label,
        problem,
    )


def _formula(symbols: list[str]) -> str:
    """Chemical formula in Hill's order; as ASE's, but faster."""
    counts = Counter(symbols)
    first = [name for name in ("C", "H") if name in counts] if "C" in counts else []
    names = [*first, *sorted(set(counts) - set(first))]
    return "".join(f"{name}{counts[name]}" if counts[name] > 1 else name for name in names)


def _encoded(raw: dict[str, Any], place: str) -> bytes:
    """A raw task as MongoDB keeps it.

    Raises
    ------
    IngestError
        If MongoDB could not keep it as it is.
    """
    import bson
    from bson.errors import BSONError

    try:
        content = bson.encode(raw)
    except (BSONError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise IngestError(f"{place}: cannot be stored in MongoDB: {error}", reason="not_storable") from None
    if _depth(raw) > MAX_DEPTH:
        raise IngestError(
            f"{place}: is nested more than {MAX_DEPTH} levels deep, which MongoDB does not store", reason="not_storable"
        )
    return content


def _depth(value: Any) -> int:
    """Levels of mappings and lists."""
    level, depth = [value], 0
    while level:
        depth += 1
        inside: list[Any] = []
        for item in level:
            values = item.values() if isinstance(item, dict) else item
            # Most are lists of numbers; to look at their types as a set is several times faster than one by one.
            if not {*map(type, values)} <= LEAVES:
                inside += [inner for inner in values if isinstance(inner, (dict, list))]
        level = inside
    return depth


def storable(value: object) -> str:
    """Text that can be stored: what is no Unicode (file names may be any bytes) is written as an escape."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def address_of(record: Record) -> str:
    """What `source.path` of a task says; absolute, as two files of one name in two folders are not the same file."""
    return path_address(record.path) if record.address is None else record.address


def path_address(path: Path) -> str:
    """A path as documents hold it."""
    return storable(path.absolute())


def place_of(record: Record) -> str:
    """Where a record stands, in a few words."""
    return f"{storable(record.path.name) if record.address is None else record.address} item {record.item}"
