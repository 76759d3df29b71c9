"""ASE databases (SQLite and JSON) and trajectories: every row or image is a calculation.

Databases are opened for reading only.  Labels, level of theory and names come from the calculator's
results, key-value pairs and data of a row, as `mlipdb.ingest.extxyz` takes them from a frame.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.errors import IngestError
from mlipdb.ingest.extxyz import raw_of
from mlipdb.ingest.files import Record
from mlipdb.ingest.streams import head

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["NAME", "TAKES_LEVEL", "claims", "parts", "read", "read_part"]

NAME = "ase_database"
TAKES_LEVEL = True
SQLITE, TRAJECTORY = b"SQLite format 3\0", b"- of UlmASE-Trajectory"
#: Rows or images that are read at once.
PART_ROWS = 100
#: Ids of rows that SQLite can hold.
FIRST_ID, LAST_ID = -(2**63), 2**63 - 1
#: A JSON database is read as a whole.
MAX_JSON = 256 * 1024 * 1024
Part = tuple[int, int]


def claims(path: Path, names: frozenset[str] | None) -> bool:
    """SQLite files with ASE's tables, JSON files that begin as ASE writes them, and trajectories."""
    if names is not None:
        return False
    suffix = path.suffix.lower()
    if suffix in (".db", ".sqlite", ".sqlite3"):
        return head(path, 16) == SQLITE and _has_systems(path)
    if suffix == ".traj":
        return head(path, 22) == TRAJECTORY
    beginning = head(path, 4096) if suffix == ".json" else b""
    return re.match(rb'\s*\{"\d+":\s*\{', beginning) is not None and b'"unique_id"' in beginning


def parts(path: Path) -> Iterator[Part]:
    """First and last id of some rows, or number of some images."""
    if path.suffix.lower() == ".json":
        yield 0, 0
        return
    if path.suffix.lower() != ".traj":
        yield from _row_parts(path)
        return
    last = _n_images(path)
    for first in range(1, last + 1, PART_ROWS):
        yield first, min(last, first + PART_ROWS - 1)


def read(path: Path) -> Iterator[Record]:
    """Every row of a database, or image of a trajectory."""
    empty = True
    for part in parts(path):
        for record in read_part(path, part):
            empty = False
            yield record
    if empty:
        raise IngestError(f"{path.name} holds no structure", reason="empty_file")


def read_part(path: Path, part: Part) -> Iterator[Record]:
    """The rows or images of a portion; one that cannot be read is one with a problem."""
    suffix = path.suffix.lower()
    if suffix == ".traj":
        yield from _images(path, part)
    elif suffix == ".json":
        yield from _json_rows(path)
    else:
        yield from _rows(path, part)


def _connect(path: Path) -> sqlite3.Connection:
    # mode=ro: neither the file nor a journal beside it is written.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=20)


def _has_systems(path: Path) -> bool:
    try:
        with closing(_connect(path)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type='table' AND name='systems'")
            return found.fetchone() is not None
    except (sqlite3.Error, ValueError):  # ValueError: a message of SQLite with bytes of the damaged file in it
        return False


def _row_parts(path: Path) -> Iterator[Part]:
    """First and last id of some rows, from the ids that there are: they may be any integers."""
    query = "SELECT id FROM systems WHERE id >= ? ORDER BY id LIMIT ?"
    first = FIRST_ID
    while True:
        try:
            with closing(_connect(path)) as connection:
                found = [int(row[0]) for row in connection.execute(query, (first, PART_ROWS))]
        except sqlite3.Error as error:
            raise IngestError(f"{path.name} is no readable ASE database ({error})", reason="truncated") from None
        # The tree of a damaged file may give an id twice, or out of order.
        numbers = sorted({number for number in found if number >= first})
        if numbers:
            yield numbers[0], numbers[-1]
        if len(found) < PART_ROWS or not numbers or numbers[-1] == LAST_ID:
            return
        first = numbers[-1] + 1


def _rows(path: Path, part: Part) -> Iterator[Record]:
    from ase.db.sqlite import SQLite3Database

    class ReadOnly(SQLite3Database):  # type: ignore[misc]  # ASE has no types
        def _connect(self) -> sqlite3.Connection:
            return _connect(path)

    database = ReadOnly(str(path), create_indices=False, use_lock_file=False)
    try:
        with closing(_connect(path)) as connection:
            query = "SELECT id FROM systems WHERE id BETWEEN ? AND ? ORDER BY id"
            numbers = sorted({int(row[0]) for row in connection.execute(query, part)})
    except sqlite3.Error as error:
        raise IngestError(f"{path.name} is no readable ASE database ({error})", reason="truncated") from None
    for number in numbers:
        yield _record(path, str(number), lambda number=number: _row_values(database.get(id=number)))  # type: ignore[misc]


def _json_rows(path: Path) -> Iterator[Record]:
    from ase.db.row import AtomsRow
    from ase.io.jsonio import decode

    if path.stat().st_size > MAX_JSON:
        raise IngestError(
            f"{path.name} is longer than {MAX_JSON // 1024**2} MB; write it as an SQLite database (.db)",
            reason="too_large",
        )
    content = decode(path.read_text(encoding="utf-8"))
    numbers = [number for number in content if isinstance(number, int)] if isinstance(content, dict) else []
    if not numbers:
        raise IngestError(f"{path.name} is no ASE database: it has no rows", reason="unreadable")
    for number in numbers:
        yield _record(  # one by one, so that a bad row costs no other
            path,
            str(number),
            lambda number=number: _row_values(AtomsRow({**content[number], "id": number})),  # type: ignore[misc]
        )


def _row_values(row: Any) -> tuple[Atoms, Mapping[str, Any]]:
    names = ("energy", "free_energy", "forces", "stress")
    results = {name: row.get(name) for name in names if row.get(name) is not None}
    data = row.data if isinstance(row.data, Mapping) else {}
    return row.toatoms(), {**data, **row.key_value_pairs, **results}


def _n_images(path: Path) -> int:
    from ase.io.trajectory import Trajectory

    with Trajectory(str(path)) as images:
        return len(images)


def _images(path: Path, part: Part) -> Iterator[Record]:
    from ase.io.trajectory import Trajectory

    with Trajectory(str(path)) as images:
        for number in range(part[0], part[1] + 1):
            yield _record(path, str(number), lambda number=number: _image_values(images[number - 1]))  # type: ignore[misc]


def _image_values(atoms: Atoms) -> tuple[Atoms, Mapping[str, Any]]:
    return atoms, {**atoms.info, **(atoms.calc.results if atoms.calc is not None else {})}


def _record(path: Path, item: str, values: Callable[[], tuple[Atoms, Mapping[str, Any]]]) -> Record:
    place = f"{path.name} item {item}"
    try:
        atoms, found = values()
        return Record(path, item, raw_of(atoms, found, NAME), format=NAME)
    except IngestError as error:
        problem = IngestError(f"{place}: {error.message}", reason=error.reason)
    except Exception as error:  # noqa: BLE001 - ASE raises anything on damaged rows
        detail = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        problem = IngestError(f"{place}: cannot be read ({detail})", reason="unreadable")
    return Record(path, item, None, problem, format=NAME)
