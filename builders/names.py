"""Materials by any of their names."""

from __future__ import annotations

from collections.abc import Iterable

from mlipdb.errors import RecipeError
from mlipdb.stores import Database

__all__ = ["material_ids"]


def material_ids(database: Database, names: Iterable[str]) -> list[str]:
    """Ids of materials given by id, name or foreign id.

    Raises
    ------
    RecipeError
        If a name is unknown; the message lists what there is.
    """
    collection = database.collection("materials")
    found: set[str] = set()
    for name in names:
        query = {"$or": [{"material_id": name}, {"names": name}, {"foreign_ids": name}]}
        ids = [doc["material_id"] for doc in collection.find(query, {"material_id": 1})]
        if not ids:
            known = sorted({(doc.get("names") or [doc["material_id"]])[0] for doc in collection.find({})})
            raise RecipeError(
                f"no material is called {name!r}; there are {', '.join(known) or 'none yet'}", reason="unknown_material"
            )
        found.update(ids)
    return sorted(found)
