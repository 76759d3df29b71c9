"""Asking a server whether it lives, without pymongo."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

__all__ = ["ask", "is_alive"]

_ANSWER_SECONDS: Final = 5.0


def _connect(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    if host and port.isdigit():
        return socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_ANSWER_SECONDS)
    try:
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def _exchange(place: str, document: bytes) -> bytes | None:
    """Document that answers a command's document; None when nobody answers."""
    message = struct.pack("<iiii", 21 + len(document), 1, 0, 2013) + b"\x00\x00\x00\x00\x00" + document
    try:
        with _connect(place) as connection:
            connection.sendall(message)
            with connection.makefile("rb") as stream:
                header = stream.read(16)
                if len(header) < 16:
                    return None
                body = stream.read(struct.unpack("<i", header[:4])[0] - 16)
                return body[5:] if len(body) > 5 else None
    except OSError:
        return None


def is_alive(place: str) -> bool:
    """Whether a server answers there: a socket's path, or ``host:port``."""
    # {"ping": 1, "$db": "admin"} in BSON, spelled out because bson is not imported in clients.
    fields = b"\x10ping\x00\x01\x00\x00\x00" + b"\x02$db\x00\x06\x00\x00\x00admin\x00"
    return _exchange(place, struct.pack("<i", len(fields) + 5) + fields + b"\x00") is not None


def ask(place: str, command: dict[str, Any]) -> dict[str, Any] | None:
    """Reply of a server to a command; None when nobody answers."""
    import bson  # importing it takes time that only this needs

    reply = _exchange(place, bson.encode(command))
    return None if reply is None else bson.decode(reply)
