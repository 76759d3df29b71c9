"""Training sets from the recipes of ``mlipdb.yaml``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pymongo.errors import OperationFailure

from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.items import WorkItem, batched
from mlipdb.builders.levels import agreeing_classes, load_levels, nearest_in_cutoff, save_level
from mlipdb.builders.names import material_ids
from mlipdb.derive import Built
from mlipdb.derive.quality import QUALITY_FIELDS, gated
from mlipdb.derive.training_sets import training_set_of
from mlipdb.errors import RecipeError, UsageError
from mlipdb.query import check_field
from mlipdb.schemas.common import Document, utc_now
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.settings import Recipe

__all__ = ["TrainingSetsBuilder"]

Raw = dict[str, Any]
Member = tuple[str, str, str]
FIELDS = dict.fromkeys(("configuration_id", "level_id", "elements", "config_type", "material_id", *QUALITY_FIELDS), 1)


@dataclass(frozen=True)
class Selection:
    """What a recipe selects, and what only its quality keeps out.

    Attributes
    ----------
    members
        Id, kind and material of each configuration.
    left_out
        Number of configurations by reason.
    """

    members: list[Member] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


class TrainingSetsBuilder(DocumentBuilder):
    """One training set a recipe; a changed recipe or selection gives a new one beside the old."""

    name: ClassVar[str] = "training_sets"
    version: ClassVar[str] = "2"
    source_names: ClassVar[tuple[str, ...]] = ("configurations", "materials")
    target_name: ClassVar[str] = "training_sets"
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    settings_used: ClassVar[tuple[str, ...]] = ("training_sets",)

    def plan(self) -> Iterator[WorkItem]:
        """One item for each recipe, once there is something to select from."""
        self._current: set[str] = set()
        if self.database.collection("configurations").find_one({"state": "complete"}, {"_id": 1}) is None:
            return
        for name, recipe in self.settings.settings.training_sets.items():
            try:
                selected, problem = self._select(name, recipe), None
                test_materials = material_ids(self.database, recipe.split.test_materials)
            except RecipeError as error:
                selected, test_materials, problem = Selection(), [], error
            described = recipe.model_dump(mode="json")
            message = None if problem is None else problem.message
            # A member's kind decides on its sigmas, its material on its side of the split.
            digest = self.hash_inputs(
                name=name,
                recipe=described,
                selected=selected.members,
                left_out=selected.left_out,
                test_materials=test_materials,
                problem=message,
            )
            self._current.add(digest)
            yield WorkItem(
                label=f"training set {name!r}",
                inputs_hash=digest,
                plan={
                    "name": name,
                    "ids": [member[0] for member in selected.members],
                    "left_out": selected.left_out,
                    "problem": problem,
                },
                skeleton={"name": name, "recipe": described},
                supersedes={"name": name},
            )

    def _select(self, name: str, recipe: Recipe) -> Selection:
        """What a recipe selects, at one level of theory, with the isolated atoms."""
        query: Raw = {"state": "complete", "config_type": {"$in": [*recipe.config_types]}}
        if recipe.materials:
            query["material_id"] = {"$in": material_ids(self.database, recipe.materials)}
        wanted = {"$and": [query, recipe.query, {"config_type": {"$ne": "isolated_atom"}}]}
        found = self._find(name, recipe, wanted)
        levels = load_levels(self.database, {doc["level_id"] for doc in found})
        if recipe.level is not None:
            named = [item for item in levels.values() if recipe.level in (item.level_id, item.label)]
            levels = {key: item for key, item in levels.items() if any(item.agrees(other) for other in named)}
            found = [doc for doc in found if doc["level_id"] in levels]
        good, left_out = gated(found, recipe)
        if not good:
            return Selection(left_out=dict(left_out))
        levels = {key: levels[key] for key in {doc["level_id"] for doc in good}}
        self._require_one_level(name, recipe, levels, Counter(doc["level_id"] for doc in good))
        elements = sorted({element for doc in good for element in doc["elements"]})
        atoms, left_out_atoms = gated(self._isolated_atoms(elements, list(levels.values())), recipe)
        own = load_levels(self.database, {doc["level_id"] for doc in atoms})
        atoms = nearest_in_cutoff(atoms, own, list(levels.values()))
        members = {(doc["configuration_id"], doc.get("config_type") or "", doc.get("material_id") or "")
                   for doc in (*good, *atoms)}  # fmt: skip
        return Selection(sorted(members), dict(left_out + left_out_atoms))

    def _find(self, name: str, recipe: Recipe, query: Raw) -> list[Raw]:
        """Configurations that a recipe's query finds; a query nobody can answer is the recipe's failure."""
        try:
            for field in recipe.query:
                if not field.startswith("$"):
                    check_field("configurations", field)
            return list(self.database.collection("configurations").find(query, FIELDS))
        except (UsageError, OperationFailure) as error:
            said = error.message if isinstance(error, UsageError) else str(error).split(", full error")[0]
            raise RecipeError(f"training set {name!r}: its query cannot be asked: {said}", reason="bad_query") from None

    def _require_one_level(
        self, name: str, recipe: Recipe, levels: dict[str, LevelOfTheory], counts: Counter[str]
    ) -> None:
        classes = agreeing_classes(levels.values(), spin="mixed_spin" not in recipe.allow)
        if len(classes) == 1:
            return
        listed = "; ".join(
            f"{members[0].level_id} ({members[0].label}): {sum(counts[item.level_id] for item in members)}"
            for members in classes
        )
        if len(agreeing_classes(levels.values(), spin=False)) == 1:
            raise RecipeError(
                f"training set {name!r}: the recipe selects configurations with and without spin polarisation; set "
                f"its `level` to one of {listed}; or let both in by `allow: [mixed_spin]`",
                reason="mixed_spin",
            )
        raise RecipeError(
            f"training set {name!r}: the recipe selects configurations of {len(classes)} levels of theory, which "
            f"never mix; set its `level` to one of {listed}",
            reason="mixed_levels",
        )

    def _isolated_atoms(self, elements: list[str], levels: list[LevelOfTheory]) -> list[Raw]:
        """Isolated atoms whose pseudopotential and Hamiltonian are those of the crystals; the cutoff may differ."""
        query = {"state": "complete", "config_type": "isolated_atom", "elements": {"$in": elements}}
        found = list(self.database.collection("configurations").find(query, FIELDS))
        own = load_levels(self.database, {doc["level_id"] for doc in found})
        return [
            doc
            for doc in found
            if len(doc["elements"]) == 1 and all(own[doc["level_id"]].agrees(level, atom=True) for level in levels)
        ]

    def fetch(self, item: WorkItem) -> Raw:
        """The configurations themselves."""
        if item.plan["problem"] is not None:
            raise item.plan["problem"]
        name = item.plan["name"]
        recipe = self.settings.settings.training_sets[name]
        collection = self.database.collection("configurations")
        configurations: list[Configuration] = []
        for batch in batched(item.plan["ids"], 500):
            found = collection.find({"configuration_id": {"$in": batch}}, {"_id": 0})
            configurations.extend(Configuration.model_validate(doc) for doc in found)
        crystals = {c.level_id for c in configurations if c.config_type != "isolated_atom" and c.level_id}
        levels = load_levels(self.database, {c.level_id for c in configurations if c.level_id})
        return {
            "name": name,
            "recipe": recipe,
            "configurations": configurations,
            "test_materials": material_ids(self.database, recipe.split.test_materials),
            "levels": [levels[key] for key in sorted(crystals)],
            "atom_levels": {key: levels[key] for key in sorted(levels.keys() - crystals)},
            "left_out": item.plan["left_out"],
        }

    @staticmethod
    def build(inputs: Raw) -> Built:
        """Split, weight and freeze."""
        return training_set_of(
            inputs["name"],
            inputs["recipe"],
            inputs["configurations"],
            inputs["test_materials"],
            inputs["levels"],
            inputs["atom_levels"],
            inputs["left_out"],
        )

    def save(self, document: Document, item: Raw) -> None:
        """Write the level of theory that the set's crystals have in common, then the set."""
        save_level(self.database, item["built"].extra["level"])
        super().save(document, item)

    def finalize(self) -> None:
        """Tell what the recipes give today from what they gave before."""
        collection = self.database.collection("training_sets")
        current = sorted(self._current)
        now = utc_now()
        collection.update_many(
            {"inputs_hash": {"$nin": current}, "current": True}, {"$set": {"current": False, "last_updated": now}}
        )
        collection.update_many(
            {"inputs_hash": {"$in": current}, "current": False}, {"$set": {"current": True, "last_updated": now}}
        )
        names = list(self.settings.settings.training_sets)
        collection.delete_many({"state": "failed", "name": {"$nin": names}})
        self._touch()
        super().finalize()
