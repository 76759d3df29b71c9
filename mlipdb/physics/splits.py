"""Dividing a selection into train and test, the same way on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from mlipdb.errors import RecipeError

__all__ = ["split_by_group", "split_within_groups"]


def split_within_groups(groups: Mapping[str, str], fraction: float, seed: int) -> set[str]:
    """Draw the same share of every group for the test side.

    Members are ranked by a hash of seed and name, not by a random generator that depends on their
    number and order: when one member joins, at most one other changes sides.

    Parameters
    ----------
    groups
        Member to its group, such as configuration to config_type.
    fraction
        Share of each group, 0 to below 1; each group gives round(fraction * its size) members.
    seed
        Another seed gives another draw.

    Returns
    -------
    set of str
        Members of the test side.
    """
    _check(fraction)
    by_group: dict[str, list[str]] = {}
    for member, group in groups.items():
        by_group.setdefault(group, []).append(member)
    test: set[str] = set()
    for members in by_group.values():
        test |= set(_ranked(members, seed)[: round(fraction * len(members))])
    return test


def split_by_group(groups: Mapping[str, str], fraction: float, seed: int, chosen: Sequence[str] = ()) -> set[str]:
    """Leave whole groups out, such as all configurations of some materials.

    Parameters
    ----------
    groups
        Member to its group; members whose group is empty stay in train.
    fraction
        Share of the groups; at least one where it is above zero.
    seed
        Another seed leaves other groups out.
    chosen
        Names the groups to leave out, instead of drawing them.

    Returns
    -------
    set of str
        Members of the test side.

    Raises
    ------
    RecipeError
        If a chosen group has no members, or nothing would be left to train on.
    """
    _check(fraction)
    names = sorted({group for group in groups.values() if group})
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise RecipeError(
            f"test_materials names {', '.join(unknown)}, which the selection does not hold; it holds "
            f"{', '.join(names) or 'none'}",
            reason="unknown_material",
        )
    count = max(1, round(fraction * len(names))) if fraction > 0 else 0
    left_out = set(chosen) or set(_ranked(names, seed)[:count])
    if names and left_out >= set(names):
        raise RecipeError(
            f"the split leaves all of {', '.join(names)} to the test side; at least one material must remain to "
            "train on",
            reason="nothing_to_train",
        )
    return {member for member, group in groups.items() if group in left_out}


def _ranked(names: Iterable[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def _check(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise RecipeError(f"a test fraction of {fraction} makes no split; use 0 up to below 1", reason="bad_fraction")
