"""Taking raw tasks into the database, exactly as they came."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from mlipdb.errors import IngestError
from mlipdb.ingest.archives import unpack
from mlipdb.ingest.files import Record
from mlipdb.ingest.jobflow_data import join_blobs
from mlipdb.ingest.prepare import Prepared, raw_hash
from mlipdb.ingest.reading import Member, Portion, died, portions, read_work
from mlipdb.ingest.walk import ARCHIVE, Unit, walk
from mlipdb.ingest.writer import AddReport, TaskWriter
from mlipdb.stores import Database
from mlipdb.workers import run_in_order

__all__ = ["AddProgress", "AddReport", "TaskWriter", "add_paths", "raw_hash"]

Raw = dict[str, Any]
#: Items and bytes that are written at once, and seconds after which fewer are.
BATCH_ITEMS, BATCH_BYTES, BATCH_SECONDS = 200, 4 * 1024 * 1024, 1.0
#: Below both, processes would take longer to start than the reading takes.
FEW_UNITS, FEW_BYTES = 32, 4 * 1024 * 1024


class AddProgress(Protocol):
    """Who is told how far `add_paths` is."""

    def begin(self, units: int) -> None:
        """The files and directories to read have been counted."""

    def advance(self, units: int, items: int) -> None:
        """So many more of them are done, and so many items were written."""


def add_paths(
    database: Database,
    paths: Iterable[Path],
    *,
    group: str | None = None,
    replace: bool = False,
    progress: AddProgress | None = None,
    workers: int = 1,
    level: Mapping[str, Any] | None = None,
    keep: int | None = 40,
) -> AddReport:
    """Read every task below some paths and keep it.

    A task that is there already with the same content is left alone; one with new content replaces
    the old if it comes from the same file, and is refused if it comes from another one.  Where an id is a
    hash of the content (extxyz, ASE, outputs, VASP directories, phonopy), other content at the same place
    (file and item) replaces the task that stood there once the whole file was read, unless that is still
    somewhere in the file; what was made from the old task is withdrawn by the next build.  What cannot
    be read becomes a failed entry that names its file, and goes away when that file is read without a
    problem.

    Parameters
    ----------
    database
        Open database.
    paths
        Files, folders and archives.
    group
        Owner written into the tasks.
    replace
        Let new content replace the old whichever file it comes from.
    progress
        Told how far it is.
    workers
        Processes that read; what is read goes in in the same order with any number of them.
    level
        Level of theory of files that do not say theirs, as fields of flat records.
    keep
        Number of items of which the report tells what was understood; None for all.
    """
    report = AddReport(keep=keep)
    writer = TaskWriter(database, group, report, replace)
    try:
        with tempfile.TemporaryDirectory(prefix="mlipdb-add-", ignore_cleanup_errors=True) as folder:
            units = [unit for path in paths for unit in _units(writer, path)]
            if progress is not None:
                progress.begin(len(units))
            works = _works(writer, units, Path(folder), dict(level) if level else None)
            results = join_blobs(_results(works, units, workers), Path(folder), writer.leave)
            _write(writer, results, progress)
    finally:
        if report.added or report.updated:
            database.touch("tasks")
    return report


def _units(writer: TaskWriter, path: Path) -> list[Unit]:
    try:
        found = walk(path)
    except IngestError as error:
        writer.reject(Record(path, "", None, error))
        return []
    writer.accept(path)
    writer.leave(found.others)
    return found.units


def _works(writer: TaskWriter, units: list[Unit], folder: Path, level: Raw | None) -> Iterator[Raw]:
    """What workers are given, in order: a portion each, and whether a unit ends with it."""
    for number, unit in enumerate(units):
        if unit.format == ARCHIVE:
            yield from _archive_works(writer, unit, folder / str(number), level)
        else:
            yield from _ended(portions(unit, None, level), {"forget": unit.path})


def _ended(found: Iterator[Portion], end: Raw) -> Iterator[Raw]:
    """Portions of a unit, the last with what is to be done after it."""
    last: Portion | None = None
    for portion in found:
        if last is not None:
            yield {"portion": last, "label": last.unit.path.name}
        last = portion
    if last is not None:
        yield {"portion": last, "label": last.unit.path.name, **end}


def _archive_works(writer: TaskWriter, unit: Unit, folder: Path, level: Raw | None) -> Iterator[Raw]:
    """The same of an archive, which is unpacked here."""
    folder.mkdir()
    done = unpack(unit.path, folder)
    refused = done.refused
    found: list[Unit] = []
    try:
        walked = walk(folder)
        # Archives in archives are left alone: their depth would have no end.
        found = [inner for inner in walked.units if inner.format != ARCHIVE]
        writer.leave(done.others + walked.others + len(walked.units) - len(found))
    except IngestError:
        if not refused:
            refused = [("", IngestError("holds no task", reason="empty_directory"))]
    for name, error in refused:
        yield {"portion": Portion(Unit(unit.path, "", error), None, Member(unit.path, name)), "label": unit.path.name}
    for inner in found:
        for portion in portions(inner, Member(unit.path, inner.path.relative_to(folder).as_posix()), level):
            yield {"portion": portion, "label": unit.path.name}
    end = {"forget": unit.path, "remove": folder}
    yield {"portion": Portion(Unit(unit.path, "")), "label": unit.path.name, **end}


def _results(works: Iterator[Raw], units: list[Unit], workers: int) -> Generator[Raw]:
    """What was read, in order."""
    many = len(units) > FEW_UNITS or sum(map(_size, units)) > FEW_BYTES
    if workers > 1 and many:
        yield from run_in_order(read_work, works, workers, died, preload="mlipdb.ingest.preload")
    else:
        yield from map(read_work, works)


def _size(unit: Unit) -> int:
    try:
        return unit.path.stat().st_size
    except OSError:
        return 0


def _write(writer: TaskWriter, results: Generator[Raw], progress: AddProgress | None) -> None:
    """Write results in batches; what failed earlier in a file is forgotten once all of it is written."""
    batch: list[Prepared] = []
    ended: list[Raw] = []
    size, began = 0, time.monotonic()

    def flush() -> None:
        writer.write(batch)
        if ended:
            writer.forget(*(path for end in ended for path in end["paths"]))
        for end in ended:
            if "remove" in end:
                shutil.rmtree(end["remove"], ignore_errors=True)
        if progress is not None:
            progress.advance(len(ended), len(batch))
        batch.clear()
        ended.clear()

    paths: set[Path] = set()
    with closing(results):
        for result in results:
            batch.extend(result["prepared"])
            size += sum(len(item.content) for item in result["prepared"])
            paths.update(item.record.path for item in result["prepared"])
            if "forget" in result:
                ended.append({**result, "paths": {result["forget"], *paths}})
                paths = set()
            if len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES or time.monotonic() - began >= BATCH_SECONDS:
                flush()
                size, began = 0, time.monotonic()
    flush()
