"""Levels of theory in the database, and which of them may stand together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.stores import Database

__all__ = ["agreeing_classes", "load_levels", "nearest_in_cutoff", "save_level"]

Raw = dict[str, Any]


def load_levels(database: Database, keys: Iterable[str]) -> dict[str, LevelOfTheory]:
    """Levels by their key."""
    query = {"level_id": {"$in": sorted(set(keys))}}
    found = database.collection("levels_of_theory").find(query, {"_id": 0})
    return {doc["level_id"]: LevelOfTheory.model_validate(doc) for doc in found}


def save_level(database: Database, level: LevelOfTheory) -> None:
    """Write a level unless it is there."""
    if database.collection("levels_of_theory").find_one({"level_id": level.level_id}, {"_id": 1}) is None:
        database.replace("levels_of_theory", level.to_bson())


def nearest_in_cutoff(
    atoms: Sequence[Raw], own: Mapping[str, LevelOfTheory], levels: Sequence[LevelOfTheory]
) -> list[Raw]:
    """Of each element the isolated atoms nearest in cutoff to the crystals: several where spin states differ.

    Parameters
    ----------
    atoms
        Configurations with ``elements`` and ``level_id``, which agree with the crystals.
    own
        Their levels of theory by key.
    levels
        Levels of theory of the crystals.
    """
    distance = {key: max(own[key].cutoff_difference(level) for level in levels) for key in own}
    nearest: dict[str, float] = {}
    for doc in atoms:
        element = doc["elements"][0]
        nearest[element] = min(distance[doc["level_id"]], nearest.get(element, float("inf")))
    return [doc for doc in atoms if distance[doc["level_id"]] == nearest[doc["elements"][0]]]


def agreeing_classes(levels: Iterable[LevelOfTheory], *, spin: bool = True) -> list[list[LevelOfTheory]]:
    """Levels sorted into classes whose members all agree with each other; without `spin`, whatever their spin."""

    def compared(level: LevelOfTheory) -> LevelOfTheory:
        return level if spin else level.model_copy(update={"spin_polarised": None})

    classes: list[list[LevelOfTheory]] = []
    for level in sorted(levels, key=lambda item: item.level_id):
        for members in classes:
            if all(compared(level).agrees(compared(other)) for other in members):
                members.append(level)
                break
        else:
            classes.append([level])
    return classes
