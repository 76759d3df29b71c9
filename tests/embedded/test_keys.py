"""The order of encoded keys is MongoDB's order of the values."""

# ruff: noqa: DTZ001 - dates of BSON are naive, in UTC

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.code import Code
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.embedded import keys
from mlipdb.embedded.failures import CommandError

FAST = settings(deadline=None, max_examples=200)

integers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(2**53 - 4, 2**53 + 4), st.integers(-5, 5))
doubles = st.floats(allow_nan=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
numbers = st.one_of(integers, integers.map(Int64), doubles, decimals.map(Decimal128))
dates = st.datetimes().map(lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.text(max_size=6),
    st.binary(max_size=6),
    dates,
    st.builds(ObjectId, st.binary(min_size=12, max_size=12)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


def exact(value: Any) -> Fraction | float:
    if isinstance(value, Decimal128):
        return Fraction(value.to_decimal())
    return value if isinstance(value, float) and math.isinf(value) else Fraction(value)


@FAST
@given(numbers, numbers)
def test_numbers_of_all_types_compare_exactly(left: Any, right: Any) -> None:
    a, b = exact(left), exact(right)
    assert (keys.encode(left) < keys.encode(right)) == (a < b)
    assert (keys.encode(left) == keys.encode(right)) == (a == b)


@FAST
@given(st.text(), st.text())
def test_strings_compare_by_their_bytes(left: str, right: str) -> None:
    assert (keys.encode(left) < keys.encode(right)) == (left.encode() < right.encode())


@FAST
@given(dates, dates)
def test_dates_compare_by_time(left: dt.datetime, right: dt.datetime) -> None:
    assert (keys.encode(left) < keys.encode(right)) == (left < right)


@FAST
@given(st.binary(max_size=20), st.binary(max_size=20))
def test_binaries_compare_by_length_first(left: bytes, right: bytes) -> None:
    assert (keys.encode(left) < keys.encode(right)) == ((len(left), left) < (len(right), right))


@FAST
@given(st.lists(values, min_size=1, max_size=3), st.lists(values, min_size=1, max_size=3))
def test_joined_keys_compare_field_by_field(left: list[Any], right: list[Any]) -> None:
    # This holds only if no encoding is the beginning of another one.
    separate = [keys.encode(value) for value in left], [keys.encode(value) for value in right]
    shortest = min(len(left), len(right))
    joined = [b"".join(parts[:shortest]) for parts in separate]
    assert (joined[0] < joined[1]) == (separate[0][:shortest] < separate[1][:shortest])
    assert (joined[0] == joined[1]) == (separate[0][:shortest] == separate[1][:shortest])


@FAST
@given(st.lists(numbers, max_size=4), st.lists(numbers, max_size=4))
def test_arrays_compare_element_by_element(left: list[Any], right: list[Any]) -> None:
    a, b = [exact(value) for value in left], [exact(value) for value in right]
    assert (keys.encode(left) < keys.encode(right)) == (a < b)


def test_types_stand_in_the_documented_order() -> None:
    ordered = [
        MinKey(), None, math.nan, -math.inf, -1, Decimal128("-0.5"), 0, 1, 2**53, 2**53 + 1, 1e300, math.inf,
        "", "a",
        "a\x00", "b", {}, {"a": 1}, {"b": 0}, {"a": "x"}, [], [1], [2],
        b"", b"a", Binary(b"a", 5), ObjectId("0" * 24),
        False, True, dt.datetime(1960, 1, 1), dt.datetime(2020, 1, 1), Timestamp(1, 1), Timestamp(2, 0),
        Regex("a"), Code("f"), MaxKey(),
    ]  # fmt: skip
    encoded = [keys.encode(value) for value in ordered]
    assert [pair for pair in pairwise(encoded) if not pair[0] < pair[1]] == []


@pytest.mark.parametrize(
    "same",
    [
        (1, 1.0, Int64(1), Decimal128("1"), Decimal128("1.00")),
        (0.0, -0.0, 0, Decimal128("-0")),
        (math.nan, -math.nan, Decimal128(decimal.Decimal("NaN"))),
        (dt.datetime(2020, 1, 1, 12), dt.datetime(2020, 1, 1, 13, tzinfo=dt.timezone(dt.timedelta(hours=1)))),
        (Regex("a", "i"), re.compile("a", re.IGNORECASE)),
        (None, keys.MISSING),
    ],
)
def test_equal_values_have_equal_bytes(same: tuple[Any, ...]) -> None:
    assert len({keys.encode(value) for value in same}) == 1


def test_truth_values_are_no_numbers_and_field_order_counts() -> None:
    assert keys.encode(True) != keys.encode(1)
    assert keys.encode({"a": 1, "b": 2}) != keys.encode({"b": 2, "a": 1})


def test_numbers_beyond_doubles_keep_to_their_side() -> None:
    ordered = [-math.inf, Decimal128("-1E+400"), -1.7e308, 1.7e308, Decimal128("1E+400"), math.inf]
    encoded = [keys.encode(value) for value in ordered]
    assert encoded == sorted(encoded)
    assert len(set(encoded)) == len(encoded)


def test_foreign_types_are_refused() -> None:
    with pytest.raises(CommandError, match="complex"):
        keys.encode(1j)


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": 1}, "a", [1]),
        ({}, "a", [keys.MISSING]),
        ({"a": [1, 2]}, "a", [1, 2]),
        ({"a": [[1, 2]]}, "a", [[1, 2]]),
        ({"a": [{"b": 1}, {"b": [2, 3]}, {}]}, "a.b", [1, 2, 3, keys.MISSING]),
        ({"a": [{"b": 1}, 5]}, "a.0.b", [keys.MISSING, keys.MISSING, 1]),
        ({"a": 5}, "a.b", [keys.MISSING]),
    ],
)
def test_path_values(document: dict[str, Any], path: str, expected: list[Any]) -> None:
    assert keys.path_values(document, path.split(".")) == expected


def test_keys_of_a_document_in_a_compound_index() -> None:
    found, multikey = keys.document_keys({"a": [1, 2], "b": 3}, [["a"], ["b"]], sparse=False)
    assert found == {keys.encode(1) + keys.encode(3), keys.encode(2) + keys.encode(3)}
    assert multikey
    assert keys.document_keys({"c": 1}, [["a"], ["b"]], sparse=True) == (set(), False)
    assert keys.document_keys({"a": []}, [["a"]], sparse=False) == ({keys.UNDEFINED}, True)


def test_arrays_that_multiply_are_refused() -> None:
    many = list(range(200))
    with pytest.raises(CommandError, match="index one array only"):
        keys.document_keys({"a": many, "b": many}, [["a"], ["b"]], sparse=False)


@FAST
@given(st.binary(min_size=1, max_size=4), st.binary(max_size=4))
def test_successor_is_above_all_that_begin_so(prefix: bytes, rest: bytes) -> None:
    assert keys.successor(prefix) > prefix + rest


def test_sorting_by_an_array_takes_its_smallest_or_largest() -> None:
    assert keys.sort_key({"v": [5, 1]}, ["v"], descending=False) == keys.encode(1)
    assert keys.sort_key({"v": [5, 1]}, ["v"], descending=True) == keys.encode(5)
