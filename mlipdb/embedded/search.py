"""Documents that match a filter, in order, read as far as they are asked for."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any, Final

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.planner import best_plan, candidate_numbers, ordered_numbers
from mlipdb.embedded.storage import Collection, Storage, decode

__all__ = ["Found", "find", "matching"]

Found = tuple[int, dict[str, Any], bytes]
"""Number of a document, the document, its bytes."""

_MANY: Final = 2_000
_INVERTED: Final = bytes(range(255, -1, -1))


def matching(storage: Storage, collection: Collection, matcher: Matcher) -> Iterator[Found]:
    """All documents that match, in the order of insertion."""
    numbers = candidate_numbers(storage, collection, matcher)
    rows = storage.scan(collection) if numbers is None else storage.documents(collection, numbers)
    yield from _judged(rows, matcher)


def _judged(rows: Iterator[tuple[int, bytes]], matcher: Matcher) -> Iterator[Found]:
    for number, raw in rows:
        document = decode(raw)
        if matcher(document):
            yield number, document, raw


def find(
    storage: Storage,
    collection: Collection,
    matcher: Matcher,
    order: list[tuple[str, int]] | None = None,
    skip: int = 0,
    limit: int = 0,
) -> Iterator[Found]:
    """Documents that match, sorted, without the first `skip`, at most `limit` (0: all)."""
    stop = skip + limit if limit else None
    if not order:
        if order is None and not matcher.query and skip:
            return itertools.islice(_skipped(storage, collection, skip), limit or None)
        return itertools.islice(matching(storage, collection, matcher), skip, stop)
    numbers = _numbers_in_order(storage, collection, matcher, order, stop)
    rows = storage.documents(collection, numbers)
    return itertools.islice(_judged(rows, matcher), skip, stop)


def _skipped(storage: Storage, collection: Collection, skip: int) -> Iterator[Found]:
    for number, raw in itertools.islice(storage.scan(collection), skip, None):
        yield number, decode(raw), raw


def _numbers_in_order(
    storage: Storage, collection: Collection, matcher: Matcher, order: list[tuple[str, int]], stop: int | None
) -> Iterator[int]:
    """Numbers of documents in the order of the sort; all that match are among the first `stop` matches."""
    if order[0][0] == "$natural":
        numbers = [number for number, _, _ in matching(storage, collection, matcher)]
        return iter(numbers if order[0][1] > 0 else numbers[::-1])
    best = best_plan(storage, collection, matcher)
    if best is None or (stop is not None and best[1] >= _MANY):
        walk = ordered_numbers(storage, collection, order)
        if walk is not None:
            return walk
    parts = [(path.split("."), direction < 0) for path, direction in order]
    keyed = ((_sort_key(document, parts), number) for number, document, _ in matching(storage, collection, matcher))
    ranked = sorted(keyed) if stop is None else heapq.nsmallest(stop, keyed)
    return (number for _, number in ranked)


def _sort_key(document: dict[str, Any], parts: list[tuple[list[str], bool]]) -> bytes:
    joined = []
    for path, descending in parts:
        key = keys.sort_key(document, path, descending=descending)
        # No encoding is the beginning of another one, so inverted bytes sort the other way round.
        joined.append(key.translate(_INVERTED) if descending else key)
    return b"".join(joined)
