"""Open cursors: result streams of which clients fetch batch after batch."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bson import Int64
from bson.raw_bson import RawBSONDocument

from mlipdb.embedded.failures import BAD_VALUE, CURSOR_NOT_FOUND, CommandError
from mlipdb.embedded.wire import MAX_DOCUMENT_BYTES

__all__ = ["FIRST_BATCH", "Cursors"]

FIRST_BATCH: Final = 101
_IDLE_SECONDS: Final = 600.0
_MAX_OPEN: Final = 10_000


@dataclass
class _Cursor:
    namespace: str
    documents: Iterator[bytes]
    used: float
    patient: bool


class Cursors:
    """All open cursors of a server; a cursor that nobody asks for ten minutes long is closed."""

    def __init__(self) -> None:
        self._open: dict[int, _Cursor] = {}

    def __len__(self) -> int:
        return len(self._open)

    def start(
        self,
        namespace: str,
        documents: Iterator[bytes],
        size: Any = None,
        *,
        single: bool = False,
        patient: bool = False,
    ) -> dict[str, Any]:
        """First batch of a result, and a cursor for the rest where there is one.

        Parameters
        ----------
        namespace
            Database and collection.
        documents
            Stream of BSON documents; it is read as far as batches need it.
        size
            Most documents of the batch; by default 101.
        single
            Send one batch and close.
        patient
            Keep the cursor however long nobody asks.

        Returns
        -------
        dict
            The reply.

        Raises
        ------
        CommandError
            The batch size is not a number, or too many cursors are open.
        """
        size = FIRST_BATCH if size is None else _batch_size(size)
        batch, rest = _take(documents, size)
        number = 0
        if rest is not None and not single:
            if len(self._open) >= _MAX_OPEN:
                raise CommandError(BAD_VALUE, f"{_MAX_OPEN} cursors are open; close some before opening more")
            number = secrets.randbits(62) | 1
            self._open[number] = _Cursor(namespace, rest, time.monotonic(), patient)
        return {"cursor": {"id": Int64(number), "ns": namespace, "firstBatch": batch}, "ok": 1.0}

    def more(self, number: int, size: Any = None) -> dict[str, Any]:
        """Next batch of a cursor, which closes after the last.

        Raises
        ------
        CommandError
            There is no such cursor.
        """
        cursor = self._open.pop(number, None)
        if cursor is None:
            raise CommandError(CURSOR_NOT_FOUND, f"cursor id {number} not found")
        batch, rest = _take(cursor.documents, _batch_size(size) if size else None)
        if rest is not None:
            cursor.documents, cursor.used = rest, time.monotonic()
            self._open[number] = cursor
        reply = {"id": Int64(number if rest is not None else 0), "ns": cursor.namespace, "nextBatch": batch}
        return {"cursor": reply, "ok": 1.0}

    def kill(self, numbers: list[int]) -> tuple[list[int], list[int]]:
        """Close cursors; gives those that were open and those that were not."""
        killed = [number for number in numbers if self._open.pop(number, None) is not None]
        return killed, [number for number in numbers if number not in killed]

    def expire(self, now: float | None = None) -> None:
        """Close the cursors that nobody asked for ten minutes long."""
        now = time.monotonic() if now is None else now
        for number, cursor in list(self._open.items()):
            if not cursor.patient and now - cursor.used > _IDLE_SECONDS:
                del self._open[number]


def _batch_size(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, (int, float)) or size < 0:
        raise CommandError(BAD_VALUE, f"the batch size is {size!r}; it must be a number that is not negative")
    return int(size)


def _take(documents: Iterator[bytes], size: int | None) -> tuple[list[RawBSONDocument], Iterator[bytes] | None]:
    """Up to `size` documents of at most 16 MB together, and the rest unless there is none."""
    batch: list[RawBSONDocument] = []
    total = 0
    for document in documents:
        if (size is not None and len(batch) >= size) or (batch and total + len(document) > MAX_DOCUMENT_BYTES):
            return batch, itertools.chain([document], documents)
        batch.append(RawBSONDocument(document))
        total += len(document)
    return batch, None
