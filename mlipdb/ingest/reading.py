"""Reading the units of a walk in portions, in worker processes or here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError, MlipdbError
from mlipdb.ingest.files import Record, numbered_lines, read_lines, read_records
from mlipdb.ingest.given_level import with_level
from mlipdb.ingest.prepare import Prepared, place_of, prepare, storable
from mlipdb.ingest.sources import source
from mlipdb.ingest.streams import DAMAGED, open_stream, plain_name
from mlipdb.ingest.walk import JSON, Unit

__all__ = ["Member", "Portion", "died", "portions", "read_portion", "read_work"]

Raw = dict[str, Any]
#: Text of JSON lines that is decoded at once; a larger line is a portion of its own.
PORTION_BYTES = 1024 * 1024
#: Lines that are decoded at once: each refused one is a sentence, however short the line is.
PORTION_LINES = 2000


@dataclass(frozen=True)
class Member:
    """Where a file stands that was unpacked from an archive."""

    archive: Path
    name: str


@dataclass(frozen=True)
class Portion:
    """What a worker reads at once.

    Attributes
    ----------
    unit
        File or directory.
    part
        A part of it as its source (or the lines of JSON) wants it; None for the whole.
    member
        Where it stands in an archive.
    level
        Level of theory given by the user.
    """

    unit: Unit
    part: Any = None
    member: Member | None = None
    level: Raw | None = None


def portions(unit: Unit, member: Member | None = None, level: Raw | None = None) -> Iterator[Portion]:
    """The portions of a unit, in order; together they hold all of it."""
    if unit.format == JSON and plain_name(unit.path).endswith(".jsonl") and unit.path.is_file():
        parts: Iterator[Any] | None = _lines(unit.path)
    elif unit.format and unit.format != JSON and hasattr(source(unit.format), "parts"):
        parts = source(unit.format).parts(unit.path)
    else:
        parts = None
    if parts is None:
        yield Portion(unit, None, member, level)
        return
    empty = True
    try:
        for part in parts:
            empty = False
            yield Portion(unit, part, member, level)
    except Exception as error:  # noqa: BLE001 - libraries raise anything on damaged files
        yield Portion(replace(unit, problem=_damage(unit.path, error)), None, member, level)
        return
    if empty:  # the reader of the whole says what is wrong with a file without any part
        yield Portion(unit, None, member, level)


def _lines(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, some at a time; what stands before a damage comes first."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    with open_stream(path) as stream:
        lines = numbered_lines(path, stream)
        while True:
            damage: Exception | None = None
            try:
                found = next(lines, None)
            except Exception as error:  # noqa: BLE001 - libraries raise anything on damaged files
                found, damage = None, error
            if found is not None:
                batch.append(found)
                size += len(found[1])
            if batch and (found is None or size >= PORTION_BYTES or len(batch) >= PORTION_LINES):
                yield batch
                batch, size = [], 0
            if damage is not None:
                raise damage
            if found is None:
                return


def read_work(work: Raw) -> Raw:
    """Read a portion in a worker process: its items come back in its place, all else as it is."""
    rest = {key: value for key, value in work.items() if key != "portion"}
    return {**rest, "prepared": read_portion(work["portion"])}


def read_portion(portion: Portion) -> list[Prepared]:
    """Every item of a portion, ready to be written; what cannot be read is one refused item."""
    found: list[Prepared] = []
    try:
        found.extend(prepare(_placed(record, portion)) for record in _records(portion))
    except MlipdbError as error:
        found.append(_failed(portion, error))
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001 - libraries raise anything on damaged files
        found.append(_failed(portion, _damage(portion.unit.path, error)))
    return found


def _records(portion: Portion) -> Iterator[Record]:
    unit = portion.unit
    if unit.problem is not None:
        yield Record(unit.path, "end" if portion.part is None and unit.format else "", None, unit.problem)
    elif not unit.format:
        return  # only a mark that something ends
    elif unit.format == JSON:
        yield from read_records(unit.path) if portion.part is None else read_lines(unit.path, portion.part)
    else:
        reader = source(unit.format)
        records = reader.read(unit.path) if portion.part is None else reader.read_part(unit.path, portion.part)
        for record in records:
            yield with_level(record, portion.level) if getattr(reader, "TAKES_LEVEL", False) else record


def _placed(record: Record, portion: Portion) -> Record:
    """A record with the archive that its file was unpacked from as its place."""
    member = portion.member
    if member is None:
        return record
    # A directory's record may name a file in it; which member it was read from is told by the unit.
    problem = record.problem
    if problem is not None:
        problem = IngestError(f"{member.archive.name}: {problem.message}", reason=problem.reason)
    return replace(record, path=member.archive, item=f"{storable(member.name)} {record.item}".strip(), problem=problem)


def _failed(portion: Portion, error: MlipdbError) -> Prepared:
    record = Record(portion.unit.path, _item(portion), None, None, format=portion.unit.format or None)
    known = error if isinstance(error, IngestError) else IngestError(error.message, reason=error.reason)
    placed = _placed(replace(record, problem=known), portion)
    if placed.problem is not None and portion.unit.path.name not in placed.problem.message:
        message = f"{place_of(placed)}: {placed.problem.message}"
        placed = replace(placed, problem=IngestError(message, reason=placed.problem.reason))
    return prepare(placed)


def _item(portion: Portion) -> str:
    """Which part of a file could not be read at all."""
    part = portion.part
    if isinstance(part, (list, tuple)) and part and isinstance(part[0], (int, tuple)):
        return str(part[0] if isinstance(part[0], int) else part[0][0])
    return "0"


def _damage(path: Path, error: BaseException) -> IngestError:
    if isinstance(error, IngestError):
        return error
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return IngestError(f"{path.name} cannot be read ({error.strerror}); is it yours, and whole?", reason="no_file")
    if isinstance(error, DAMAGED):
        message = f"{path.name} is cut off or damaged ({error}); what stands before that was read"
        return IngestError(message, reason="truncated")
    detail = storable(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
    return IngestError(f"{path.name} cannot be read ({detail}); is it whole?", reason="unreadable")


def died(work: Raw, _: str) -> Raw:
    """What becomes of a portion whose worker process died twice: one refused item."""
    error = IngestError("reading it ended the process twice (out of memory, or killed)", reason="worker_died")
    rest = {key: value for key, value in work.items() if key != "portion"}
    return {**rest, "prepared": [_failed(work["portion"], error)]}
