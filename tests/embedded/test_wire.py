"""Framing, and what garbage on the socket does: that connection ends, the server goes on."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bson
import pymongo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.embedded.wire import MAX_MESSAGE_BYTES, Message, WireError, read_message, reply_bytes

PING = bson.encode({"ping": 1, "$db": "admin"})


def op_msg(body: bytes, flags: int = 0, length: int | None = None, opcode: int = 2013) -> bytes:
    size = 20 + len(body) if length is None else length
    return struct.pack("<iiii", size, 7, 0, opcode) + struct.pack("<I", flags) + body


def section(name: str, *documents: dict[str, Any]) -> bytes:
    payload = name.encode() + b"\x00" + b"".join(map(bson.encode, documents))
    return b"\x01" + struct.pack("<i", len(payload) + 4) + payload


def parse(data: bytes) -> Message | None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(data)
        left.close()
        return read_message(right)


def test_a_command_and_its_payload_are_read() -> None:
    command = b"\x00" + bson.encode({"insert": "c", "$db": "d"})
    message = parse(op_msg(command + section("documents", {"_id": 1}, {"_id": 2})))
    assert message is not None
    assert message.command == {"insert": "c", "$db": "d", "documents": [{"_id": 1}, {"_id": 2}]}
    assert message.raw == {"documents": [bson.encode({"_id": 1}), bson.encode({"_id": 2})]}
    assert message.wants_reply
    assert message.request_id == 7


def test_checksum_and_more_to_come_are_understood() -> None:
    message = parse(op_msg(b"\x00" + PING + b"\x01\x02\x03\x04", flags=3))
    assert message is not None
    assert not message.wants_reply


def test_the_greeting_of_old_is_read_and_answered() -> None:
    body = struct.pack("<i", 0) + b"admin.$cmd\x00" + struct.pack("<ii", 0, -1) + bson.encode({"isMaster": 1})
    message = parse(struct.pack("<iiii", 16 + len(body), 9, 0, 2004) + body)
    assert message is not None
    assert message.command == {"isMaster": 1, "$db": "admin"}
    reply = reply_bytes(message, {"ok": 1.0})
    assert struct.unpack("<iiii", reply[:16])[2:] == (9, 1)
    assert bson.decode(reply[36:]) == {"ok": 1.0}


def test_the_end_between_messages_is_no_error() -> None:
    assert parse(b"") is None


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "cut header": b"\x10\x00",
    "negative length": op_msg(b"\x00" + PING, length=-5),
    "too short": op_msg(b"", length=16),
    "too long": op_msg(b"\x00" + PING, length=MAX_MESSAGE_BYTES + 1),
    "cut body": op_msg(b"\x00" + PING, length=500),
    "unknown opcode": op_msg(b"\x00" + PING, opcode=2012),
    "unknown flags": op_msg(b"\x00" + PING, flags=8),
    "unknown section": op_msg(b"\x05" + PING),
    "two commands": op_msg(b"\x00" + PING + b"\x00" + PING),
    "no command": op_msg(section("documents", {"a": 1})),
    "no database": op_msg(b"\x00" + bson.encode({"ping": 1})),
    "document beyond the message": op_msg(b"\x00" + struct.pack("<i", 9999) + PING[4:]),
    "document of no length": op_msg(b"\x00" + struct.pack("<i", 0) + PING[4:]),
    "broken document": op_msg(b"\x00" + PING[:6] + b"\xff" * (len(PING) - 6)),
    "section beyond the message": op_msg(b"\x00" + PING + b"\x01" + struct.pack("<i", 10_000) + b"documents\x00"),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_an_error_of_the_connection(data: bytes) -> None:
    with pytest.raises(WireError):
        parse(data)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_flipped_bytes_never_raise_anything_else(seed: int, flips: int) -> None:
    chance = random.Random(seed)
    command = b"\x00" + bson.encode({"insert": "c", "$db": "d", "n": {"m": [1, 2.5, "x"]}})
    data = bytearray(op_msg(command + section("documents", {"_id": 1, "t": "text"})))
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(WireError):
        parse(bytes(data))


def test_the_server_survives_garbage(client: pymongo.MongoClient[dict[str, Any]], server_address: str) -> None:
    path = unquote(server_address.removeprefix("mongodb://").rstrip("/"))
    assert Path(path).is_socket()
    assert Path(path).stat().st_mode & 0o777 == 0o600
    for data in GARBAGE.values():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10.0)
            connection.connect(path)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert client.admin.command("ping")["ok"] == 1.0
