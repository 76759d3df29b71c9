"""Records in JSON and JSON-lines files, plain or gzipped, read one at a time."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlipdb.errors import IngestError

__all__ = ["Record", "count_others", "find_files", "read_records"]

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
#: A record larger than this is no task: real ones stay below a few hundred megabytes.
MAX_LINE = 512 * 1024 * 1024


@dataclass(frozen=True)
class Record:
    """One item of a file: its raw content, or why it has none."""

    path: Path
    item: str
    raw: dict[str, Any] | None
    problem: IngestError | None = None


def find_files(path: Path) -> list[Path]:
    """The files a path stands for: itself, or every JSON file below it in sorted order.

    A link of such a name that leads nowhere is one of them, so that reading it says so.

    Raises
    ------
    IngestError
        If the path does not exist, or is a folder without such a file.
    """
    try:
        if path.is_file():
            return [path]
        there = path.exists()
    except OSError as error:
        raise IngestError(
            f"{path} cannot be read ({error.strerror}); name a file or a folder", reason="no_file"
        ) from None
    if not there:
        raise IngestError(f"{path} does not exist; name a file or a folder", reason="no_file")
    found = sorted(file for file in path.rglob("*") if _is_ours(file))
    if not found:
        raise IngestError(
            f"{path} holds no task; files that end in {', '.join(SUFFIXES)} are read", reason="empty_directory"
        )
    return found


def count_others(path: Path) -> int:
    """Number of entries below a folder that `find_files` leaves alone: other names, pipes and the like."""
    if not path.is_dir():
        return 0
    return sum(1 for file in path.rglob("*") if not file.is_dir() and not _is_ours(file))


def _is_ours(file: Path) -> bool:
    return file.name.endswith(SUFFIXES) and (file.is_file() or (file.is_symlink() and not file.exists()))


def read_records(path: Path) -> Iterator[Record]:
    """Every record of a file, good and bad, in constant memory for JSON lines.

    A damaged line is one bad record; the lines after it are still read.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        problem = IngestError(
            f"{path.name} cannot be read ({error.strerror}); mend or remove the link", reason="no_file"
        )
        yield Record(path, "0", None, problem)
        return
    if size == 0:
        yield Record(path, "0", None, IngestError(f"{path.name} is empty (0 bytes)", reason="empty_file"))
        return
    lines = ".jsonl" in path.suffixes
    try:
        with _open(path) as stream:
            yield from _json_lines(path, stream) if lines else _json_file(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        problem = IngestError(
            f"{path.name} is cut off or damaged ({error}); what stands before that was read", reason="truncated"
        )
        yield Record(path, "end", None, problem)


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        # gzip.open gives the same interface; it is only typed apart.
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _json_lines(path: Path, stream: IO[bytes]) -> Iterator[Record]:
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if line.strip():
            yield _decode(path, str(number), line)


def _json_file(path: Path, stream: IO[bytes]) -> Iterator[Record]:
    try:
        content = json.loads(stream.read())
    except (ValueError, RecursionError) as error:
        yield Record(path, "0", None, _no_json(path, "", error))
        return
    items = content if isinstance(content, list) else [content]
    for number, item in enumerate(items, start=1):
        yield _checked(path, str(number), item)


def _decode(path: Path, item: str, line: bytes) -> Record:
    try:
        return _checked(path, item, json.loads(line))
    except (ValueError, RecursionError) as error:
        return Record(path, item, None, _no_json(path, f" line {item}", error))


def _checked(path: Path, item: str, content: Any) -> Record:
    if isinstance(content, dict):
        return Record(path, item, content)
    problem = IngestError(
        f"{path.name} item {item} is a {type(content).__name__}; an object with the fields of a task is needed",
        reason="no_object",
    )
    return Record(path, item, None, problem)


def _no_json(path: Path, place: str, error: Exception) -> IngestError:
    reason = "truncated" if isinstance(error, json.JSONDecodeError) and _at_end(error) else "no_json"
    return IngestError(f"{path.name}{place} is no complete JSON: {error}; write the file again", reason=reason)


def _at_end(error: json.JSONDecodeError) -> bool:
    """Whether the text was right as far as it goes."""
    return error.msg.startswith("Unterminated") or error.pos >= len(error.doc.rstrip())
