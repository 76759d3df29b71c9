from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import KEY_DIGITS, canonical_json, content_hash, make_key, rounded

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def shuffled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        names = list(value)
        random.Random(seed).shuffle(names)
        return {name: shuffled(value[name], seed) for name in names}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


@given(VALUES, st.integers())
@settings(deadline=None)
def test_order_of_keys_does_not_matter(value: Any, seed: int) -> None:
    assert content_hash(value) == content_hash(shuffled(value, seed))


@given(st.lists(FLOATS, min_size=2, max_size=5, unique=True))
@settings(deadline=None)
def test_order_of_lists_matters(values: list[float]) -> None:
    assert content_hash(values) != content_hash(values[::-1])


@given(VALUES)
@settings(deadline=None)
def test_what_is_hashed_is_the_value_itself(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(FLOATS)
@settings(deadline=None)
def test_numpy_and_python_numbers_are_one(value: float) -> None:
    assert content_hash({"a": [value]}) == content_hash({"a": np.array([value])})
    assert content_hash(value) == content_hash(np.float64(value))


def test_negative_zero_is_zero() -> None:
    assert content_hash([-0.0, 1.0]) == content_hash([0.0, 1.0])
    assert canonical_json(-0.0) == b"0.0"
    assert canonical_json(rounded([-1e-9], 5)) == b"[0.0]"


def test_types_stay_apart() -> None:
    hashes = {content_hash(value) for value in (1, 1.0, True, "1", [1], None, "None")}
    assert len(hashes) == 7


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.array([1.0, np.nan])])
def test_numbers_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        content_hash({"a": value})
    with pytest.raises(ValueError, match="finite"):
        content_hash(rounded([value], 5))


@pytest.mark.parametrize("value", [b"bytes", {1: "a"}, object(), {"a": 1j}])
def test_other_things_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        content_hash(value)


def test_sets_have_no_order() -> None:
    assert content_hash({"b", "a", "c"}) == content_hash(frozenset({"c", "b", "a"}))


def test_dates_and_models() -> None:
    ref = ArtifactRef.of("a", b"1")
    assert content_hash(ref) == content_hash(ref.model_dump())
    assert canonical_json(datetime.fromisoformat("2026-01-02T03:00:00")) == b'"2026-01-02T03:00:00"'


def test_digests_never_change() -> None:
    value = {"b": [1, 2.5, -0.0, 1e-7, 1e22], "a": {"x": None, "y": True}, "text": "Å"}
    assert canonical_json(value) == ('{"a":{"x":null,"y":true},"b":[1,2.5,0.0,1e-07,1e+22],"text":"Å"}'.encode())
    assert make_key("cfg", value) == "cfg-4353a2aba2b5d0d173aa"
    assert make_key("cfg", {}) == "cfg-44136fa355b3678a1146"
    assert len(make_key("cfg", {})) == len("cfg-") + KEY_DIGITS


@given(st.lists(st.floats(-1e6, 1e6), max_size=5), st.integers(0, 6))
@settings(deadline=None)
def test_rounding_is_stable(values: list[float], decimals: int) -> None:
    once = rounded(values, decimals)
    assert rounded(once, decimals) == once
    assert np.allclose(once, values, atol=0.51 * 10.0**-decimals)
    assert rounded(np.array(values), decimals) == once
