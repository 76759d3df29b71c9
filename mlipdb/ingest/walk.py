"""Walking a tree: what in it is a task, or holds some, and what is left alone."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from mlipdb.errors import IngestError
from mlipdb.ingest.sources import claimed_by, source
from mlipdb.ingest.streams import COMPRESSIONS, head, plain_name

__all__ = ["ARCHIVE", "ARCHIVES", "JSON", "JSON_SUFFIXES", "Unit", "Walk", "walk"]

#: Formats of units besides those of the sources: JSON documents, and archives of any files.
JSON, ARCHIVE = "json", "archive"
JSON_SUFFIXES = (".json", ".jsonl")
ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
#: A tree deeper than this is a mistake, or made to be one.
MAX_DEPTH = 200


@dataclass(frozen=True)
class Unit:
    """One file or directory that is read as a whole.

    Attributes
    ----------
    path
        What is read.
    format
        Name of a source, `JSON` or `ARCHIVE`; empty where there is a problem.
    problem
        Why it cannot be read.
    """

    path: Path
    format: str
    problem: IngestError | None = None


@dataclass
class Walk:
    """What was found below a path.

    Attributes
    ----------
    units
        In the order of their names, the same on every machine.
    others
        Files that no reader claims, pipes, sockets and devices: left alone.
    """

    units: list[Unit] = field(default_factory=list)
    others: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)


def walk(path: Path) -> Walk:
    """Find what can be read below a path, or in a single file.

    Links to directories are followed, but every real directory is entered once, so loops end.
    Directories whose name begins with a dot are passed over, but for the one that was named.

    Raises
    ------
    IngestError
        If the path does not exist, is neither a file nor a directory, or holds nothing that is read.
    """
    found = Walk()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        detail = "does not exist" if missing else f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise IngestError(f"{path} {detail}; name a file or a folder", reason="no_file") from None
    if stat.S_ISREG(mode):
        found.units.append(_named_file(path))
        return found
    if not stat.S_ISDIR(mode):
        raise IngestError(f"{path} is a pipe, a socket or a device; name a file or a folder", reason="no_file")
    _enter(path, found, 0)
    if not found.units:
        raise IngestError(
            f"{path} holds no task; files that end in {', '.join(JSON_SUFFIXES)} (each also "
            f"{', '.join(COMPRESSIONS)}), VASP directories, outputs of DFT codes, extxyz, ASE databases and archives "
            "of them are read",
            reason="empty_directory",
        )
    return found


def _named_file(path: Path) -> Unit:
    """What a file is that the user named: a file of no known name may still hold JSON."""
    claimed = _file_format(path)
    if claimed:
        return Unit(path, claimed)
    beginning = head(path)
    # An empty file is of any format; the reader of JSON says that it is empty.
    if not beginning or beginning.lstrip()[:1] in (b"{", b"["):
        return Unit(path, JSON)
    return Unit(path, "", IngestError(
        f"{path.name} is of no known format; JSON documents, extxyz, ASE databases, VASP's files and outputs of other "
        "DFT codes are read", reason="unknown_format",
    ))  # fmt: skip


def _file_format(path: Path) -> str | None:
    """Who reads a regular file."""
    name = path.name.lower()
    if name.endswith(ARCHIVES):
        return ARCHIVE
    claimed = claimed_by(path, None)
    return claimed or (JSON if plain_name(path).endswith(JSON_SUFFIXES) else None)


def _enter(directory: Path, found: Walk, depth: int) -> None:
    """Add what a directory holds, in the order of the names."""
    try:
        status = directory.stat()
        if (status.st_dev, status.st_ino) in found.seen:
            return
        found.seen.add((status.st_dev, status.st_ino))
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths, are asked for
        if depth > MAX_DEPTH:
            raise OSError(None, f"is more than {MAX_DEPTH} directories deep")
    except OSError as error:
        problem = IngestError(f"{directory} cannot be listed ({error.strerror}); is it yours?", reason="no_directory")
        found.units.append(Unit(directory, "", problem))
        return
    claimed = claimed_by(directory, frozenset(names))
    covered: frozenset[str] = frozenset()
    if claimed is not None:
        found.units.append(Unit(directory, claimed))
        covers = getattr(source(claimed), "covers", None)
        covered = covers(directory, frozenset(names)) if covers is not None else covered
    for name in names:
        path = directory / name
        kind = _kind(path)
        if kind == "directory":
            if name not in covered and not name.startswith("."):
                _enter(path, found, depth + 1)
        elif claimed is None:
            _add_file(path, kind, found)


def _kind(path: Path) -> str:
    """What a path leads to: a directory, a file, something special, or nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "nothing"
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "special"


def _add_file(path: Path, kind: str, found: Walk) -> None:
    claimed = None
    if kind == "file":
        claimed = _file_format(path)
    elif kind == "nothing" and plain_name(path).endswith(JSON_SUFFIXES):
        claimed = JSON  # a link that leads nowhere, or a loop of links: reading it says so
    if claimed is None:
        found.others += 1
    else:
        found.units.append(Unit(path, claimed))
