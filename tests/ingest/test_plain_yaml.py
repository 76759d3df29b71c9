from __future__ import annotations

import math

import pytest

from mlipdb.errors import IngestError
from mlipdb.ingest.plain_yaml import MAX_NESTING, plain_yaml


def test_what_phonopy_writes() -> None:
    text = """
phonopy:
  version: "4.1"
  calculator: vasp # a comment
lattice:
- [  1.0,  0.0, -0.5 ] # a*
- []
points:
- symbol: N # 1
  coordinates: [ 1e-5, .5, 2. ]
empty:
"""
    assert plain_yaml(text, "p.yaml") == {
        "phonopy": {"version": "4.1", "calculator": "vasp"},
        "lattice": [[1.0, 0.0, -0.5], []],
        "points": [{"symbol": "N", "coordinates": [1e-5, 0.5, 2.0]}],
        "empty": None,
    }


def test_words_that_yaml_turns_into_something_else() -> None:
    found = plain_yaml("[no, 'true', true, null, 1_0, 4.10.0, 0o7, 12:30, 7, -3, x y]", "p.yaml")
    assert found == ["no", "true", True, None, "1_0", "4.10.0", "0o7", "12:30", 7, -3, "x y"]


def test_numbers_that_are_none_stay_what_they_are() -> None:
    found = plain_yaml("[nan, inf, -inf, .nan, -.inf, 1e999]", "p.yaml")
    assert [math.isfinite(value) for value in found] == [False] * 6


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['exit 1']",
        "a: !!python/name:os.system",
        "a: !custom {x: 1}",
        "a: &x [1, 2]\nb: [*x, *x]",
        "[" * 100_000,
        "- " * 100_000 + "1",
        "{a: " * 100_000,
        "\n".join(" " * depth + "- " for depth in range(3000)),
        "a: [1, 2",
        "a: 1\n\x00",
        "a\n---\nb",
        "",
        "? [1]\n: 2",
        "\ud800",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(IngestError) as caught:
        plain_yaml(text, "p.yaml")
    assert caught.value.reason == "bad_yaml"
    assert caught.value.message.startswith("p.yaml ")


def test_nesting_up_to_the_limit() -> None:
    assert plain_yaml("[" * MAX_NESTING + "]" * MAX_NESTING, "p.yaml") != []
    with pytest.raises(IngestError, match="nested more than"):
        plain_yaml("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1), "p.yaml")


@pytest.mark.parametrize("bound", ["MAX_CONTAINERS", "MAX_SCALARS"])
def test_the_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(f"mlipdb.ingest.plain_yaml.{bound}", 100)
    text = "[" + ("[], " if bound == "MAX_CONTAINERS" else "1, ") * 99 + "]"
    assert len(plain_yaml(text, "p.yaml")) == 99
    with pytest.raises(IngestError, match="holds more than 100") as caught:
        plain_yaml(text.replace("[", "[[], 1, 1, ", 1), "p.yaml")
    assert caught.value.reason == "too_large"
