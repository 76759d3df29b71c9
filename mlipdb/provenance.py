"""From any document up to the DFT tasks it was made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlipdb.stores import COLLECTIONS, Database, spec

__all__ = ["Node", "dependents_of", "label_of", "tree_of"]

Raw = dict[str, Any]


@dataclass
class Node:
    """A document and its parents.

    Attributes
    ----------
    collection, key
        The document.
    label
        What a person calls it.
    parents
        What it was made from.
    missing
        It is named by a child but not there.
    """

    collection: str
    key: str
    label: str = ""
    parents: list[Node] = field(default_factory=list)
    missing: bool = False

    def as_dict(self) -> Raw:
        """Plain nested mapping for `--json`."""
        plain: Raw = {"collection": self.collection, "id": self.key, "label": self.label}
        if self.missing:
            plain["missing"] = True
        if self.parents:
            plain["parents"] = [parent.as_dict() for parent in self.parents]
        return plain

    def tasks(self) -> list[str]:
        """Ids of all DFT tasks below, sorted."""
        found = {self.key} if self.collection == "tasks" else set()
        for parent in self.parents:
            found.update(parent.tasks())
        return sorted(found)


def tree_of(database: Database, collection: str, key: str) -> Node:
    """A document with everything it was made from, down to the tasks.

    A document that several others were made from appears under each of them, so that every path
    can be followed.
    """
    cache: dict[tuple[str, str], Node] = {}
    return _node(database, collection, key, cache)


def _node(database: Database, collection: str, key: str, cache: dict[tuple[str, str], Node]) -> Node:
    if (collection, key) in cache:
        return cache[collection, key]
    item = spec(collection)
    fields = {**dict.fromkeys(item.parents, 1), **dict.fromkeys(_label_fields(collection), 1), "_id": 0}
    document = database.collection(collection).find_one({item.key: key}, fields)
    node = Node(collection, key, missing=document is None)
    cache[collection, key] = node
    if document is None:
        return node
    node.label = label_of(collection, document)
    for parent_field, parent_collection in item.parents.items():
        below = collection == "phonons" and parent_field == "task_ids" and document.get("configuration_ids")
        if parent_collection == "levels_of_theory" or below:
            continue  # levels are said in labels; the tasks of phonons stand below their configurations, if any
        value = document.get(parent_field)
        for parent_key in value if isinstance(value, list) else [value]:
            if parent_key is not None:
                node.parents.append(_node(database, parent_collection, str(parent_key), cache))
    return node


def dependents_of(database: Database, collection: str, key: str) -> list[tuple[str, str]]:
    """Collection and key of every document made directly from one."""
    found = []
    for item in COLLECTIONS.values():
        for parent_field, parent_collection in item.parents.items():
            if parent_collection == collection:
                query = {parent_field: key}
                found += [
                    (item.name, doc[item.key]) for doc in database.collection(item.name).find(query, {item.key: 1})
                ]
    return sorted(set(found))


def _label_fields(collection: str) -> tuple[str, ...]:
    return LABELS.get(collection, ())


LABELS: dict[str, tuple[str, ...]] = {
    "tasks": ("source",),
    "materials": ("names", "formula", "space_group_symbol"),
    "configurations": ("config_type", "material_name", "n_atoms"),
    "phonons": ("material_name", "level_label", "n_displacements"),
    "training_sets": ("name",),
    "potentials": ("framework", "training_set", "n_sparse", "delta", "f", "origin", "name"),
    "phonon_benchmarks": ("material_name", "training_set", "n_sparse"),
}


def label_of(collection: str, document: Raw) -> str:
    """A few words on a document."""
    if collection == "tasks":
        return str((document.get("source") or {}).get("path", "")).rsplit("/", 1)[-1]
    if collection == "materials":
        names = ", ".join(document.get("names") or []) or document.get("formula", "")
        return f"{names}, {document.get('space_group_symbol', '')}"
    if collection == "configurations":
        name = document.get("material_name") or ""
        return f"{document.get('config_type', '')} {name}, {document.get('n_atoms', 0)} atoms".strip()
    if collection == "phonons":
        return f"DFT phonons of {document.get('material_name')}, {document.get('level_label')}"
    if collection == "training_sets":
        return f"training set {document.get('name')}"
    if collection == "potentials" and document.get("origin") == "external":
        return f"external {document.get('framework')} {document.get('name')}"
    if collection == "potentials":
        return (
            f"{document.get('framework')} on {document.get('training_set')}, n_sparse {document.get('n_sparse')}, "
            f"delta {document.get('delta')}, f {document.get('f')}"
        )
    if collection == "phonon_benchmarks":
        return f"benchmark on {document.get('material_name')}"
    return ""
