"""Records in JSON and JSON-lines files, plain or compressed, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from mlipdb.errors import IngestError
from mlipdb.ingest.streams import DAMAGED, open_stream, plain_name

__all__ = ["Record", "numbered_lines", "read_lines", "read_records"]

#: A record larger than this is no task: real ones stay below a few hundred megabytes.
MAX_LINE = 512 * 1024 * 1024
#: Items of a list in a JSON file, all of which are in memory at once, and how many of them may be no objects.
MAX_ITEMS, MAX_NO_OBJECTS = 100_000, 1000
#: Bytes of a line that are looked at before the rest of it is read.
FIRST_PIECE = 64 * 1024
#: Bytes that a JSON file is told from anything else by.
HEAD = 4096
#: White space of JSON, as a text and one by one.
SPACE = " \t\n\r"
WHITE = frozenset(SPACE)
#: Beginnings of JSON in UTF-8 with a mark, UTF-16 and UTF-32.
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True)
class Record:
    """One item of a file or of a service: its raw content, or why it has none.

    What comes from a database or a web service has an `address` (without password), which then stands
    in place of the path, and the date its producer changed it (`changed`), where it tells one.  What a
    source of `mlipdb.ingest.sources` read has that source's name as its `format`.
    """

    path: Path
    item: str
    raw: dict[str, Any] | None
    problem: IngestError | None = None
    address: str | None = None
    changed: datetime | None = None
    format: str | None = None


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
    lines = plain_name(path).endswith(".jsonl")
    try:
        with open_stream(path) as stream:
            yield from read_lines(path, numbered_lines(path, stream)) if lines else _json_file(path, stream)
    except IngestError as error:
        yield Record(path, "end", None, error)
    except DAMAGED as error:
        problem = IngestError(
            f"{path.name} is cut off or damaged ({error}); what stands before that was read", reason="truncated"
        )
        yield Record(path, "end", None, problem)


def read_lines(path: Path, lines: Iterable[tuple[int, bytes]]) -> Iterator[Record]:
    """Records of numbered lines of a JSON-lines file."""
    for number, line in lines:
        yield _decode(path, str(number), line)


def numbered_lines(path: Path, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines of a JSON-lines file that are not empty.

    Raises
    ------
    IngestError
        If a line has no end and is no JSON, or is too long for a task: the rest is not read then.
    """
    number = 0
    while line := stream.readline(FIRST_PIECE):
        number += 1
        if len(line) == FIRST_PIECE and not line.endswith(b"\n"):
            if line.lstrip()[:1] not in (b"{", b"["):
                raise IngestError(
                    f"{path.name} line {number} is no complete JSON: {FIRST_PIECE} bytes without an object or a line "
                    "end; what stands before that was read",
                    reason="no_json",
                )
            line += stream.readline(MAX_LINE)
            if len(line) >= MAX_LINE:
                raise IngestError(
                    f"{path.name} line {number} is longer than {MAX_LINE // 1024**2} MB; what stands before that was "
                    "read", reason="too_large",
                )  # fmt: skip
        if line.strip():
            yield number, line


def _json_file(path: Path, stream: IO[bytes]) -> Iterator[Record]:
    beginning = stream.read(HEAD)
    # Nothing but white space may stand before an object or a list; so a file of zeros is not read to its end.
    is_json = beginning.lstrip()[:1] in (b"{", b"[", b"") or beginning.startswith(BYTE_ORDER_MARKS)
    rest = stream.read(MAX_LINE) if is_json else b""
    if len(rest) == MAX_LINE:
        problem = IngestError(
            f"{path.name} is longer than {MAX_LINE // 1024**2} MB; write it as JSON lines (.jsonl), one task a line",
            reason="too_large",
        )
        yield Record(path, "0", None, problem)
        return
    content = beginning + rest
    try:
        text = content.decode(json.detect_encoding(content), "surrogatepass").removeprefix("\ufeff")
        del content, rest
        if text.lstrip(SPACE)[:1] != "[":
            yield _checked(path, "1", json.loads(text))
            return
        yield from _listed(path, text)
    except (ValueError, RecursionError) as error:
        yield Record(path, "0", None, _no_json(path, "", error))


def _listed(path: Path, text: str) -> Iterator[Record]:
    """The items of a JSON list one by one: a list of nothing takes little room in a file, and much in memory.

    Raises
    ------
    ValueError
        If the text is no list; what stands before that is given.
    """
    decoder = json.JSONDecoder()
    end, number, no_objects = text.index("[") + 1, 0, 0
    while True:
        place = _after_space(text, end)
        if text[place : place + 1] == "]" and number == 0:
            break
        item, end = decoder.raw_decode(text, place)
        number += 1
        no_objects += not isinstance(item, dict)
        if number > MAX_ITEMS or no_objects > MAX_NO_OBJECTS:
            what = f"{MAX_ITEMS} items" if number > MAX_ITEMS else f"{MAX_NO_OBJECTS} items that are no objects"
            message = f"{path.name} is a list of more than {what}; write it as JSON lines (.jsonl), one task a line"
            yield Record(path, "end", None, IngestError(message, reason="too_large"))
            return
        yield _checked(path, str(number), item)
        place = _after_space(text, end)
        if text[place : place + 1] == "]":
            break
        if text[place : place + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
        end = place + 1
    place = _after_space(text, place + 1)
    if place < len(text):
        raise json.JSONDecodeError("Extra data", text, place)


def _after_space(text: str, start: int) -> int:
    """Where the next character that is no white space stands."""
    while text[start : start + 1] in WHITE:
        start += 1
    return start


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
