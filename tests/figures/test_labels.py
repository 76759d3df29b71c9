"""Typesetting of labels."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipdb.figures.labels import described, families, number, plain, point_label, spaced_rows, text_width


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("GAMMA", "Γ"),
        ("X", "X"),
        ("X_1", "X$_{1}$"),
        ("SIGMA_0", "Σ$_{0}$"),
        ("LAMBDA", "Λ"),
        ("DELTA_0", "Δ$_{0}$"),
        ("Y_min", r"Y$_\mathrm{min}$"),
        ("X'", "X'"),
        ("$\\frac", r"\$\frac"),
    ],
)
def test_high_symmetry_points_are_typeset(label: str, shown: str) -> None:
    assert point_label(label) == shown
    assert text_width(shown, 10.0) > 0


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12))
def test_no_label_breaks_the_typesetting(label: str) -> None:
    for shown in (point_label(label), plain(label)):
        assert text_width(shown, 10.0) >= 0


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0.1, 2.0, -0.25, 1234.5, 16000.0)] == ["0.1", "2", "−0.25", "1234", "16000"]


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(1, 40)), min_size=1, max_size=20))
def test_labels_in_a_row_never_touch(items: list[tuple[float, float]]) -> None:
    items.sort()
    rows = spaced_rows([x for x, _ in items], [w for _, w in items], gap=2.0)
    for row in set(rows):
        mine = [(x - w / 2, x + w / 2) for (x, w), own in zip(items, rows, strict=True) if own == row]
        assert all(right[0] >= left[1] for left, right in pairwise(mine))


def test_labels_with_room_stay_in_the_first_row() -> None:
    assert spaced_rows([0.0, 50.0, 55.0, 100.0], [10.0] * 4, gap=2.0) == [0, 0, 1, 0]


def test_families_say_what_differs() -> None:
    base = {"training_set": "full", "framework": "gap", "f": 0.1}
    assert families([base, base]) == ["full", "full"]
    assert families([base, {**base, "f": 0.05}]) == ["full, f = 0.1", "full, f = 0.05"]
    assert families([{"framework": "mace"}]) == ["mace (imported)"]
    assert families([{**base, "training_set": "a$b"}]) == [r"a\$b"]


def test_no_two_potentials_have_the_same_label() -> None:
    base = {"training_set": "full", "n_sparse": 1000, "delta": 1.0}
    labels = described([{**base, "potential_id": "pot-aaaaaaaaaa"}, {**base, "potential_id": "pot-bbbbbbbbbb"}])
    assert labels == [
        "full, $n_\\mathrm{sparse}$ = 1000, pot-aaaaaa",
        "full, $n_\\mathrm{sparse}$ = 1000, pot-bbbbbb",
    ]
    assert [label.rpartition(", ")[2] for label in described([base, {**base, "delta": 3.0}])] == [
        "δ = 1 eV",
        "δ = 3 eV",
    ]
