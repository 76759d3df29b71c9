"""Opening files that may be compressed, and looking at how they begin."""

from __future__ import annotations

import stat
import zlib
from pathlib import Path
from typing import IO, cast

from mlipdb.errors import IngestError

__all__ = ["COMPRESSIONS", "DAMAGED", "head", "open_stream", "plain_name"]

#: Endings of compressed files that are read as what they hold.
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
#: Bytes that a source may look at to tell its files.
HEAD = 4096
#: What reading a damaged compressed file raises (lzma.LZMAError and ZstdError become OSError in `open_stream`).
DAMAGED = (EOFError, OSError, zlib.error)


def plain_name(path: Path) -> str:
    """File name in lower case without the ending of its compression."""
    name = path.name.lower()
    for ending in COMPRESSIONS:
        if name.endswith(ending):
            return name[: -len(ending)]
    return name


def open_stream(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, decompressed where its name says that it is compressed.

    Raises
    ------
    OSError
        If it cannot be opened.
    IngestError
        If the package for its compression is not installed.
    """
    ending = path.suffix.lower()
    if ending == ".gz":
        import gzip

        return cast("IO[bytes]", gzip.open(path, "rb"))
    if ending == ".bz2":
        import bz2

        return cast("IO[bytes]", bz2.open(path, "rb"))
    if ending == ".xz":
        import lzma

        return cast("IO[bytes]", lzma.open(path, "rb"))
    if ending == ".zst":
        return _open_zstandard(path)
    return path.open("rb")


def _open_zstandard(path: Path) -> IO[bytes]:
    import io

    try:
        import zstandard
    except ImportError:
        raise IngestError(
            f"{path.name} is compressed by Zstandard; `pip install zstandard` lets it be read", reason="no_zstandard"
        ) from None
    reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
    return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader)))


def head(path: Path, size: int = HEAD) -> bytes:
    """The first bytes of a regular file, decompressed; nothing where it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with open_stream(path) as stream:
            return stream.read(size)
    except Exception:  # noqa: BLE001 - whoever reads the file will say what is wrong with it
        return b""
