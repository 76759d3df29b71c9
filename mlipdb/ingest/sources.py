"""The formats of files and directories that are no JSON documents: who claims what, in order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from mlipdb.ingest.files import Record

__all__ = ["SOURCES", "Source", "claimed_by", "is_source", "source"]

#: Modules in this package, asked in this order; the first that claims a file or directory reads it.
#: A module's name is its NAME.  It imports at its top what is cheap; ase and the like inside functions.
SOURCES: tuple[str, ...] = ("phonopy_file", "vasp_directory", "extxyz", "ase_database", "ase_output")


class Source(Protocol):
    """What a module named in `SOURCES` holds.

    Optional besides: ``covers(path, names) -> frozenset[str]``, the sub-directories of a claimed
    directory that belong to it and are not walked; ``parts(path) -> Iterator[Any]`` and
    ``read_part(path, part) -> Iterator[Record]``, where a file holds so many records that it is read
    in portions (each small enough to be sent to another process; the first attribute asked for is
    ``parts``); ``TAKES_LEVEL = True``, where the level of theory on the command line fills what the
    file does not say.
    """

    NAME: str

    def claims(self, path: Path, names: frozenset[str] | None) -> bool:
        """Whether a file (`names` is None), or a directory with these names in it, is of this format.

        Asked for every regular file and directory of a tree, so a look at the name comes first and at
        the first bytes second (`mlipdb.ingest.files.head`).  Never raises.
        """

    def read(self, path: Path) -> Iterator[Record]:
        """Its records: flat (mlipdb/ingest/flat.py), with `format` set to NAME, or with a problem.

        Raising IngestError or ConfigurationError is the same as one record with that problem; anything
        else raised is reported as a damaged file.
        """


@cache
def source(name: str) -> Any:
    """The module of a source."""
    return import_module(f"mlipdb.ingest.{name}")


def is_source(name: str) -> bool:
    """Whether a task's format is that of a source, so that its raw content is a flat record."""
    return name in SOURCES


def claimed_by(path: Path, names: frozenset[str] | None) -> str | None:
    """Name of the source that claims a regular file (`names` is None) or a directory."""
    for name in SOURCES:
        try:
            if cast("Source", source(name)).claims(path, names):
                return name
        except (OSError, ValueError, RecursionError):  # a damaged file must not end the walk
            continue
    return None
