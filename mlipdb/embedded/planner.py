"""Which documents a filter needs to look at, and in which order they come.

An index never decides a match: it only gives a superset of the documents, which
the filter then judges one by one.  Bounds come from the clauses that all have
to hold.  With arrays (a multikey index) different elements may fulfil different
clauses, so that only one bound per field is used there.
"""

# ruff: noqa: S608 - names of tables are made of numbers of the catalogue, values are bound

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from bson import MaxKey, MinKey, Regex

from mlipdb.embedded import keys
from mlipdb.embedded.adapter import Matcher
from mlipdb.embedded.indexes import Index
from mlipdb.embedded.operators import Membership
from mlipdb.embedded.storage import Collection, Storage

__all__ = ["Plan", "best_plan", "candidate_numbers", "ordered_numbers"]

_MAX_INTERVALS: Final = 50_000
_MAX_PREFIXES: Final = 1_000
_ESTIMATE: Final = 2_000
_PAGE: Final = 256


@dataclass
class _Bounds:
    """What the clauses on one field allow as keys; ``points`` and ``span`` as far as there are any."""

    points: set[bytes] | None = None
    low: bytes | None = None
    high: bytes | None = None
    ranges: int = field(default=0)
    nullable: bool = False

    @property
    def empty(self) -> bool:
        return self.points is None and self.low is None


@dataclass(frozen=True)
class Plan:
    """Intervals ``low <= key < high`` of one table that hold every possible match."""

    table: str
    key: str
    intervals: tuple[tuple[bytes, bytes], ...]

    def estimate(self, storage: Storage) -> int:
        """Count the keys, up to a bound."""
        total = 0
        for low, high in self.intervals[:_ESTIMATE]:
            statement = (
                f"SELECT count(*) FROM (SELECT 1 FROM {self.table} "
                f"WHERE {self.key}>=? AND {self.key}<? LIMIT {_ESTIMATE})"
            )
            total += storage.sql.execute(statement, (low, high)).fetchone()[0]
            if total >= _ESTIMATE:
                break
        return total

    def numbers(self, storage: Storage) -> list[int]:
        """Numbers of the documents, each once, in the order of insertion."""
        found: set[int] = set()
        statement = f"SELECT number FROM {self.table} WHERE {self.key}>=? AND {self.key}<?"
        for interval in self.intervals:
            found.update(row[0] for row in storage.sql.execute(statement, interval))
        return sorted(found)


def _equality_keys(value: Any) -> set[bytes]:
    """Keys under which documents that equal a value may stand."""
    points = {keys.encode(value)}
    if isinstance(value, (list, tuple)):
        # An array stands under each of its elements; an empty one has a key of its own.
        points.add(keys.encode(value[0]) if value else keys.UNDEFINED)
    return points


def _nullable(value: Any) -> bool:
    return value is None


def _add_clause(bounds: _Bounds, operator: str, argument: Any, *, single: bool) -> None:
    """Narrow the bounds of a field; `single` says that one bound has to do."""
    if operator in ("$eq", "$in"):
        if isinstance(argument, Membership):
            if argument.patterns:
                return
            values = argument.values
        else:
            values = [argument]
        points = {key for value in values for key in _equality_keys(value)}
        nullable = any(map(_nullable, values))
        if bounds.points is None or (not single and len(points) < len(bounds.points)):
            bounds.points, bounds.nullable = points, nullable
    elif operator in ("$gt", "$gte", "$lt", "$lte"):
        _add_range(bounds, operator, argument, single=single)


def _add_range(bounds: _Bounds, operator: str, argument: Any, *, single: bool) -> None:
    if isinstance(argument, (list, tuple, dict, MinKey, MaxKey, Regex)) or argument is None:
        return
    if bounds.ranges and single:
        return
    key = keys.encode(argument)
    first, last = keys.bracket(key)
    # A cut key equals its beginning, so that both ends are taken in and the filter decides.
    if operator in ("$gt", "$gte"):
        low, high = key[: keys.MAX_KEY_BYTES], last
    else:
        low, high = first, keys.successor(key)
    bounds.low = low if bounds.low is None else max(bounds.low, low)
    bounds.high = high if bounds.high is None else min(bounds.high, high)
    bounds.ranges += 1


def _bounds(matcher: Matcher, *, multikey: bool) -> dict[str, _Bounds]:
    found: dict[str, _Bounds] = {}
    for clause in matcher.clauses:
        path, predicate = next(iter(clause.items()))
        if path.startswith("$") or not path:
            continue
        for operator, argument in predicate.items():
            _add_clause(found.setdefault(path, _Bounds()), operator, argument, single=multikey)
    return found


def _usable(index: Index, matcher: Matcher, bounds: dict[str, _Bounds]) -> bool:
    """Whether every match is in the index: partial and sparse ones lack documents."""
    if not index.usable:
        return False
    if index.partial is not None:
        # Compared as text, because True equals 1 in Python and not in MongoDB.
        present = set(map(repr, matcher.clauses))
        if not all(repr(clause) in present for clause in index.partial.clauses):
            return False
    if not index.sparse:
        return True
    return any(not bounds[path].empty and not bounds[path].nullable for path, _ in index.fields if path in bounds)


def _intervals(paths: list[str], bounds: dict[str, _Bounds]) -> list[tuple[bytes, bytes]] | None:
    """Intervals of the joined keys: points of the first fields, then at most one range."""
    prefixes: list[bytes] = [b""]
    for path in paths:
        bound = bounds.get(path)
        if bound is None or bound.empty:
            break
        if bound.points is None:
            if bound.low is None or bound.high is None:
                break
            return [(prefix + bound.low, prefix + bound.high) for prefix in prefixes]
        if prefixes != [b""] and len(prefixes) * len(bound.points) > _MAX_PREFIXES:
            break
        if len(bound.points) > _MAX_INTERVALS:
            break
        prefixes = [prefix + point for prefix, point in itertools.product(prefixes, sorted(bound.points))]
    if prefixes == [b""]:
        return None
    return [(prefix[: keys.MAX_KEY_BYTES], keys.successor(prefix)) for prefix in prefixes]


def _cut(intervals: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    # Kept keys are cut, so the lower end must be too; a longer upper end is above every kept key of its kind.
    return tuple((low[: keys.MAX_KEY_BYTES], high) for low, high in intervals)


def _plans(collection: Collection, matcher: Matcher) -> Iterator[Plan]:
    plain = _bounds(matcher, multikey=False)
    found = _intervals(["_id"], plain)
    if found is not None:
        yield Plan(collection.table, "id", tuple(found))
    careful = _bounds(matcher, multikey=True)
    for index in collection.indexes.values():
        bounds = careful if index.multikey else plain
        if not _usable(index, matcher, bounds):
            continue
        found = _intervals([path for path, _ in index.fields], bounds)
        if found is not None:
            yield Plan(f"x{index.number}", "key", _cut(found))


def best_plan(storage: Storage, collection: Collection, matcher: Matcher) -> tuple[Plan, int] | None:
    """Cheapest way to the candidates with the number of its keys; None when all documents have to be read."""
    plans = list(_plans(collection, matcher))
    if not plans:
        return None
    costs = [(plan.estimate(storage), place) for place, plan in enumerate(plans)]
    cost, place = min(costs)
    return plans[place], cost


def candidate_numbers(storage: Storage, collection: Collection, matcher: Matcher) -> list[int] | None:
    """Numbers of all documents that may match, in the order of insertion; None for all documents."""
    best = best_plan(storage, collection, matcher)
    return None if best is None else best[0].numbers(storage)


def ordered_numbers(storage: Storage, collection: Collection, order: list[tuple[str, int]]) -> Iterator[int] | None:
    """Numbers of all documents in the order of a single field, from an index; None when no index can give it.

    A document with several keys comes at the first of them, which is the one
    that MongoDB sorts by.  Ties come in the order of insertion.
    """
    if len(order) != 1:
        return None
    path, direction = order[0]
    if path == "_id":
        return _walk(storage, collection.table, "id", direction, repeated=False)
    for index in collection.indexes.values():
        fits = [name for name, _ in index.fields] == [path] and index.usable
        # An index that lacks documents, or has keys whose end is not kept, cannot give the order.
        if fits and not index.sparse and index.partial is None and not index.cut:
            return _walk(storage, f"x{index.number}", "key", direction, repeated=index.multikey)
    return None


def _walk(storage: Storage, table: str, key: str, direction: int, *, repeated: bool) -> Iterator[int]:
    """Numbers in the order of a table's keys, read in pages so that writers may come between."""
    way, beyond = ("DESC", "<") if direction < 0 else ("ASC", ">")
    select = f"SELECT {key}, number FROM {table}"
    order = f"ORDER BY {key} {way}, number LIMIT {_PAGE}"
    seen: set[int] = set()
    rows = storage.sql.execute(f"{select} {order}").fetchall()
    while rows:
        for _, number in rows:
            if repeated and number in seen:
                continue
            if repeated:
                seen.add(number)
            yield number
        last, number = rows[-1]
        # First what is left of the same key: one condition for both would not use the order of the table.
        rows = storage.sql.execute(f"{select} WHERE {key}=? AND number>? {order}", (last, number)).fetchall()
        if not rows:
            rows = storage.sql.execute(f"{select} WHERE {key}{beyond}? {order}", (last,)).fetchall()
