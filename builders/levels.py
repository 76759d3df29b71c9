"""Levels of theory in the database, and which of them may stand together."""

from __future__ import annotations

from collections.abc import Iterable

from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.stores import Database

__all__ = ["agreeing_classes", "load_levels", "save_level"]


def load_levels(database: Database, keys: Iterable[str]) -> dict[str, LevelOfTheory]:
    """Levels by their key."""
    query = {"level_id": {"$in": sorted(set(keys))}}
    found = database.collection("levels_of_theory").find(query, {"_id": 0})
    return {doc["level_id"]: LevelOfTheory.model_validate(doc) for doc in found}


def save_level(database: Database, level: LevelOfTheory) -> None:
    """Write a level unless it is there."""
    if database.collection("levels_of_theory").find_one({"level_id": level.level_id}, {"_id": 1}) is None:
        database.replace("levels_of_theory", level.to_bson())


def agreeing_classes(levels: Iterable[LevelOfTheory]) -> list[list[LevelOfTheory]]:
    """Levels sorted into classes whose members all agree with each other."""
    classes: list[list[LevelOfTheory]] = []
    for level in sorted(levels, key=lambda item: item.level_id):
        for members in classes:
            if all(level.agrees(other) for other in members):
                members.append(level)
                break
        else:
            classes.append([level])
    return classes
