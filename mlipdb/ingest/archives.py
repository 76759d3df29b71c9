"""Archives: their members unpacked into a temporary folder, under bounds, and nothing outside it.

Only regular files and directories are unpacked.  Links and special files are left alone; a member whose
name is absolute or leads outside is refused.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from mlipdb.errors import IngestError
from mlipdb.ingest.prepare import storable
from mlipdb.ingest.streams import DAMAGED, open_stream, plain_name

__all__ = ["Unpacked", "unpack"]

#: Bytes and members that an archive may hold.
MAX_BYTES = 16 * 1024**3
MAX_MEMBERS = 200_000
#: Bytes of the headers before one member (long names, maps of holes), and of all above what a plain one has.
MAX_HEADER, PLAIN_HEADER, MAX_HEADERS = 1024**2, 8 * 1024, 64 * 1024**2
#: Large files of VASP that no reader wants.
UNUSED = frozenset({
    "aeccar0", "aeccar1", "aeccar2", "chg", "chgcar", "doscar", "elfcar", "locpot", "procar", "tmpcar", "wavecar",
    "waveder", "vaspwave.h5",
})  # fmt: skip
BLOCK = 1024 * 1024


@dataclass
class Unpacked:
    """What became of the members of an archive.

    Attributes
    ----------
    refused
        Name and problem of each member, or of the archive itself, that was not taken.
    others
        Number of links, special files and files that no reader wants.
    """

    refused: list[tuple[str, IngestError]] = field(default_factory=list)
    others: int = 0
    _bytes: int = 0
    _members: int = 0

    def refuse(self, name: str, message: str, reason: str) -> None:
        """Note a member that is not taken."""
        self.refused.append((storable(name), IngestError(message, reason=reason)))


class _TooLargeError(Exception):
    """The archive holds more than is believed."""


def unpack(path: Path, folder: Path) -> Unpacked:
    """Unpack an archive into an empty folder.

    What stands before a damage is unpacked.

    Parameters
    ----------
    path
        ``.tar`` (also ``.gz``, ``.bz2``, ``.xz``, ``.zst``), ``.tgz`` or ``.zip``.
    folder
        An empty folder that nobody else writes to.
    """
    done = Unpacked()
    try:
        members = _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
        with members as found:
            for name, kind, content in found:
                _take(name, kind, content, folder, done)
    except _TooLargeError as error:
        done.refuse("", f"{error}; unpack it and add the folder", "too_large")
    except IngestError as error:
        done.refuse("", error.message, error.reason)
    except Exception as error:  # noqa: BLE001 - libraries raise anything on damaged archives
        damaged = (*DAMAGED, tarfile.TarError, zipfile.BadZipFile)
        detail = storable(error if isinstance(error, damaged) else f"{type(error).__name__}: {error}")
        done.refuse("", f"is cut off or damaged ({detail.splitlines()[0] if detail else 'nothing in it'}); "
                        "what stands before that was read", "truncated")  # fmt: skip
    return done


Member = tuple[str, str, Any]


@contextmanager
def _tar_members(path: Path) -> Iterator[Iterator[Member]]:
    """Name, kind (directory, file, link, special) and opener of each member of a tar file."""
    opened = _gzip(path) if path.name.lower().endswith(".tgz") else open_stream(path)
    with opened as stream, tarfile.TarFile(fileobj=cast("IO[bytes]", _Forward(stream)), tarinfo=_Header) as archive:
        yield ((item.name, _tar_kind(item), lambda item=item: archive.extractfile(item)) for item in archive)


class _Forward:
    """A stream that is only read on: no seeking back in compressed files, and one pass over large ones."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self._extra = 0
        self.left: int | None = None

    def read(self, size: int) -> bytes:
        """Read so many bytes, of a header no more than are left for it."""
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise _TooLargeError(f"has a member with a header of more than {MAX_HEADER} bytes")
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int) -> int:
        """Read up to a position."""
        if position < self._position:
            raise tarfile.StreamError("seeking backwards is not allowed")
        while self._position < position and self.read(min(BLOCK, position - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        """Position in the decompressed stream."""
        return self._position

    def end_header(self) -> None:
        """Count what a header took above what a plain one does: global ones are kept for all members."""
        self._extra += max(0, MAX_HEADER - PLAIN_HEADER - max(0, self.left or 0))
        self.left = None
        if self._extra > MAX_HEADERS:
            raise _TooLargeError(f"has headers of more than {MAX_HEADERS} bytes")


class _Header(tarfile.TarInfo):
    """The header of a member, of bounded size: tarfile reads those of long names as a whole."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Header:
        """Read the header, and those that stand before it for its long names."""
        stream = cast("_Forward", tarfile.fileobj)
        if stream.left is not None:  # what a long name belongs to
            return super().fromtarfile(tarfile)
        stream.left = MAX_HEADER
        try:
            return super().fromtarfile(tarfile)
        finally:
            stream.end_header()


def _gzip(path: Path) -> IO[bytes]:
    import gzip

    return gzip.open(path, "rb")  # type: ignore[return-value]  # the same interface; only typed apart


def _tar_kind(item: tarfile.TarInfo) -> str:
    if item.isdir():
        return "directory"
    if item.isreg():
        return "file"
    return "link" if item.issym() or item.islnk() else "special"


@contextmanager
def _zip_members(path: Path) -> Iterator[Iterator[Member]]:
    """The same of a zip file."""
    with zipfile.ZipFile(path) as archive:
        yield ((item.filename, _zip_kind(item), lambda item=item: archive.open(item)) for item in archive.infolist())


def _zip_kind(item: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(item.external_attr >> 16)
    if item.is_dir():
        return "directory"
    if kind == stat.S_IFLNK:
        return "link"
    return "file" if kind in (0, stat.S_IFREG) else "special"


def _take(name: str, kind: str, content: Any, folder: Path, done: Unpacked) -> None:
    """Unpack one member, or say why not."""
    done._members += 1
    if done._members > MAX_MEMBERS:
        raise _TooLargeError(f"holds more than {MAX_MEMBERS} members")
    shown = storable(name)[:200]
    if not _is_inside(name):
        done.refuse(shown, f"the member {shown!r} would lie outside the folder it is unpacked to; it was left in the "
                           "archive", "unsafe_member")  # fmt: skip
        return
    target = folder / PurePosixPath(name)
    if kind in ("link", "special") or (kind == "file" and plain_name(target) in UNUSED):
        done.others += 1
        return
    try:
        if kind == "directory":
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with content() as source:
            _copy(source, target, done)
    except RuntimeError as error:  # a zip file with a password, or of an unknown compression
        done.refuse(shown, f"the member {shown!r} cannot be unpacked ({error})", "unreadable")
    except OSError as error:
        if error.errno is None:  # not the system's but the decompressor's
            raise
        done.refuse(shown, f"the member {shown!r} cannot be unpacked ({error.strerror})", "unreadable")


def _is_inside(name: str) -> bool:
    """Whether a member's name is a plain relative path."""
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":"):
        return False
    return (len(parts) <= 100 and any(part not in ("", ".") for part in parts)) or name in (".", "./")


def _copy(source: IO[bytes], target: Path, done: Unpacked) -> None:
    """Copy within the bounds; runs of zeros stay holes, so that sparse files take no room."""
    # A name that came before is written again, as tar does; it can be no link, since none is made.
    with target.open("wb") as stream:
        while block := source.read(BLOCK):
            done._bytes += len(block)
            if done._bytes > MAX_BYTES or (
                done._bytes % (64 * BLOCK) < BLOCK and shutil.disk_usage(target.parent).free < 64 * BLOCK
            ):
                raise _TooLargeError(f"holds more than {MAX_BYTES // 1024**3} GB, or than the disk has room for")
            if block.count(0) == len(block):
                stream.seek(len(block), os.SEEK_CUR)
            else:
                stream.write(block)
        stream.truncate()
