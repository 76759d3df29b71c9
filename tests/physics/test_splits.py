from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.errors import RecipeError
from mlipdb.physics.splits import split_by_group, split_within_groups

GROUPS = st.dictionaries(st.text(max_size=5), st.sampled_from(["bulk", "rattled", "strained"]), max_size=40)
FRACTIONS = st.floats(0, 0.99)
SEEDS = st.integers(0, 100)
EASY = settings(deadline=None, max_examples=60)


def shuffled(groups: dict[str, str], seed: int) -> dict[str, str]:
    items = list(groups.items())
    random.Random(seed).shuffle(items)
    return dict(items)


@given(GROUPS, FRACTIONS, SEEDS, SEEDS)
@EASY
def test_order_does_not_matter(groups: dict[str, str], fraction: float, seed: int, other: int) -> None:
    assert split_within_groups(groups, fraction, seed) == split_within_groups(shuffled(groups, other), fraction, seed)


@given(GROUPS, FRACTIONS, SEEDS)
@EASY
def test_every_group_gives_its_share(groups: dict[str, str], fraction: float, seed: int) -> None:
    test = split_within_groups(groups, fraction, seed)
    assert test <= set(groups)
    for group in set(groups.values()):
        members = {member for member, its in groups.items() if its == group}
        assert len(test & members) == round(fraction * len(members))


@given(GROUPS, FRACTIONS, SEEDS, st.text(min_size=6, max_size=8))
@EASY
def test_one_more_member_moves_at_most_one_other(groups: dict[str, str], fraction: float, seed: int, new: str) -> None:
    before = split_within_groups(groups, fraction, seed)
    after = split_within_groups({**groups, new: "bulk"}, fraction, seed)
    assert len((before ^ after) - {new}) <= 1


def test_pinned() -> None:
    groups = {f"cfg-{number}": "rattled" for number in range(10)}
    assert split_within_groups(groups, 0.3, 1) == {"cfg-4", "cfg-7", "cfg-8"}
    assert split_within_groups(groups, 0.3, 2) != split_within_groups(groups, 0.3, 1)


def materials(names: str, each: int = 3) -> dict[str, str]:
    return {f"{name}{number}": name for name in names for number in range(each)}


@given(st.integers(2, 12), FRACTIONS, SEEDS, SEEDS)
@EASY
def test_whole_groups_are_left_out(count: int, fraction: float, seed: int, other: int) -> None:
    groups = materials("abcdefghijkl"[:count])
    expected = max(1, round(fraction * count)) if fraction > 0 else 0
    if expected >= count:
        with pytest.raises(RecipeError):
            split_by_group(groups, fraction, seed)
        return
    test = split_by_group(groups, fraction, seed)
    left_out = {groups[member] for member in test}
    assert len(left_out) == expected
    assert test == {member for member, group in groups.items() if group in left_out}
    assert test == split_by_group(shuffled(groups, other), fraction, seed)


def test_chosen_groups() -> None:
    groups = {**materials("abc"), "atom": ""}
    assert split_by_group(groups, 0.1, 0, ["b"]) == {"b0", "b1", "b2"}
    assert split_by_group(groups, 0.0, 0) == set()
    with pytest.raises(RecipeError, match="names x, which the selection does not hold; it holds a, b, c"):
        split_by_group(groups, 0.1, 0, ["x"])


def test_something_must_be_left_to_train_on() -> None:
    for groups, chosen in ((materials("a"), []), (materials("ab"), ["a", "b"])):
        with pytest.raises(RecipeError) as caught:
            split_by_group(groups, 0.1, 0, chosen)
        assert caught.value.reason == "nothing_to_train"


def test_members_without_a_group_stay_in_train() -> None:
    for seed in range(20):
        assert "atom" not in split_by_group({**materials("abc"), "atom": ""}, 0.5, seed)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_that_make_no_split(fraction: float) -> None:
    for split in (split_within_groups, split_by_group):
        with pytest.raises(RecipeError, match="makes no split"):
            split(materials("ab"), fraction, 0)
