"""Framing of MongoDB's wire protocol: OP_MSG, and OP_QUERY for the first greeting.

See https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
"""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from mlipdb.errors import EmbeddedError

MAX_MESSAGE_BYTES: Final = 48_000_000
MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
# A document on the wire may exceed the limit on stored ones by what a command adds around it.
OVERHEAD_BYTES: Final = 16 * 1024

_OP_REPLY = 1
_OP_QUERY = 2004
_OP_MSG = 2013
_CHECKSUM = 1
_MORE_TO_COME = 2
_EXHAUST_ALLOWED = 1 << 16
_HEADER = struct.Struct("<iiii")
_INT = struct.Struct("<i")

# A date beyond Python's years stays a number of milliseconds instead of failing the whole message.
CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
RAW_CODEC: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

_request_ids = itertools.count(1)


class WireError(EmbeddedError):
    """Bytes on the socket are not a message; the connection has to be closed."""

    default_reason = "wire"


@dataclass
class Message:
    """One request: the command, and what is needed to answer it."""

    request_id: int
    command: dict[str, Any]
    legacy: bool = False
    wants_reply: bool = True
    raw: dict[str, list[bytes]] = field(default_factory=dict)
    """Documents of the payload sections as they came, beside their decoded form in the command."""


def read_message(connection: socket.socket) -> Message | None:
    """Read one message; None when the peer has closed between two messages.

    Raises
    ------
    WireError
        The bytes are not a message of a supported kind, are cut short, or too many.
    OSError
        The connection broke.
    """
    header = _read(connection, _HEADER.size, may_end=True)
    if header is None:
        return None
    length, request_id, _, opcode = _HEADER.unpack(header)
    if not _HEADER.size + 5 <= length <= MAX_MESSAGE_BYTES:
        raise WireError(f"a message says it is {length} bytes long; 21 to {MAX_MESSAGE_BYTES} are allowed")
    if opcode not in (_OP_MSG, _OP_QUERY):
        raise WireError(f"opcode {opcode} is not supported; use OP_MSG")
    body = _read(connection, length - _HEADER.size) or b""
    try:
        return _parse_msg(request_id, body) if opcode == _OP_MSG else _parse_query(request_id, body)
    except (BSONError, ValueError, struct.error, IndexError, RecursionError, OverflowError) as error:
        raise WireError(f"a message cannot be read: {error}") from error


def _read(connection: socket.socket, size: int, *, may_end: bool = False) -> bytes | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    position = 0
    while position < size:
        received = connection.recv_into(view[position:], size - position)
        if not received:
            if may_end and position == 0:
                return None
            raise WireError(f"the connection ended after {position} of {size} bytes")
        position += received
    return bytes(buffer)


def _document(body: bytes, start: int, end: int) -> tuple[bytes, int]:
    """One BSON document of a larger buffer, and the place after it."""
    (size,) = _INT.unpack_from(body, start)
    if size < 5 or start + size > end:
        raise WireError(f"a document says it is {size} bytes long, which its message does not hold")
    return body[start : start + size], start + size


def _parse_query(request_id: int, body: bytes) -> Message:
    name_end = body.index(b"\x00", 4)
    raw, _ = _document(body, name_end + 9, len(body))
    command = bson.decode(raw, CODEC)
    command = command.get("$query", command)
    if not isinstance(command, dict) or not command:
        raise WireError("OP_QUERY holds no command")
    command["$db"] = body[4:name_end].decode().split(".")[0]
    return Message(request_id, command, legacy=True)


def _parse_msg(request_id: int, body: bytes) -> Message:
    (flags,) = struct.unpack_from("<I", body)
    if flags & 0xFFFF & ~(_CHECKSUM | _MORE_TO_COME):
        raise WireError(f"an OP_MSG has unknown required flags {flags & 0xFFFF:#x}")
    end = len(body) - (4 if flags & _CHECKSUM else 0)
    command: dict[str, Any] | None = None
    payloads: dict[str, list[bytes]] = {}
    position = 4
    while position < end:
        kind = body[position]
        if kind == 0 and command is None:
            raw, position = _document(body, position + 1, end)
            command = bson.decode(raw, CODEC)
        elif kind == 1:
            section, position = _document(body, position + 1, end)
            name_end = section.index(b"\x00", 4)
            payloads[section[4:name_end].decode()] = _split(section, name_end + 1)
        else:
            raise WireError(f"an OP_MSG has a section of kind {kind} that does not belong there")
    if not command or "$db" not in command:
        raise WireError("an OP_MSG holds no command with a $db")
    for name, documents in payloads.items():
        command[name] = [bson.decode(document, CODEC) for document in documents]
    return Message(request_id, command, wants_reply=not flags & _MORE_TO_COME, raw=payloads)


def _split(section: bytes, start: int) -> list[bytes]:
    documents = []
    while start < len(section):
        document, start = _document(section, start, len(section))
        documents.append(document)
    return documents


def reply_bytes(message: Message, reply: dict[str, Any]) -> bytes:
    """Bytes that answer a message."""
    document = bson.encode(reply, codec_options=CODEC)
    if message.legacy:
        body = struct.pack("<iqii", 8, 0, 0, 1) + document
        opcode = _OP_REPLY
    else:
        body = b"\x00\x00\x00\x00\x00" + document
        opcode = _OP_MSG
    header = _HEADER.pack(_HEADER.size + len(body), next(_request_ids) & 0x7FFFFFFF, message.request_id, opcode)
    return header + body
