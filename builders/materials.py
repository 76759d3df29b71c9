"""Reference crystals from tasks: relaxed cells first, else what displaced supercells were made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.calculations import calculation_of, task_stubs
from mlipdb.builders.items import WorkItem, batched, run_item
from mlipdb.builders.levels import save_level
from mlipdb.derive import Built
from mlipdb.derive.matching import match_material
from mlipdb.derive.materials import better_reference, material_behind, material_of, may_be_displaced
from mlipdb.errors import ArtifactError, ConfigurationError
from mlipdb.ingest.calculation import Calculation, require_usable
from mlipdb.schemas.common import Failure, utc_now
from mlipdb.schemas.keys import content_hash
from mlipdb.schemas.material import Material
from mlipdb.schemas.structure import formula_of

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["MaterialsBuilder"]

Raw = dict[str, Any]


class MaterialsBuilder(DocumentBuilder):
    """Finds the crystals that configurations are supercells of."""

    name: ClassVar[str] = "materials"
    version: ClassVar[str] = "1"
    source_names: ClassVar[tuple[str, ...]] = ("tasks",)
    target_name: ClassVar[str] = "materials"
    packages: ClassVar[tuple[str, ...]] = ("ase", "spglib", "pymatgen")

    def plan(self) -> Iterator[WorkItem]:
        """Every task; those behind a configuration have been looked at."""
        self._displaced: list[str] = []
        self._written: set[str] = set()
        for task in task_stubs(self.database):
            digest = self.hash_inputs(task_id=task["task_id"], content=task["content_hash"])
            yield WorkItem(task["task_id"], digest, {"task_id": task["task_id"], "content": task["content_hash"]})

    def stale_items(self) -> list[WorkItem]:
        """Tasks that no configuration shows to have been looked at."""
        stale = super().stale_items()
        if self._other_version():
            return stale
        seen = self._seen({item.plan["content"] for item in stale})
        fresh = [item for item in stale if item.plan["content"] not in seen]
        self.counts.unchanged += len(stale) - len(fresh)
        return fresh

    def finished(self, hashes: list[str]) -> set[str]:  # noqa: ARG002 - the base class gives the hashes
        """Nothing by its hash: most tasks are no new crystal and leave no document."""
        return set()

    def _other_version(self) -> bool:
        query = {"builder_meta.builder": self.name, "builder_meta.builder_version": {"$ne": self.version}}
        return self.database.collection("materials").find_one(query, {"_id": 1}) is not None

    def _seen(self, contents: set[str]) -> set[str]:
        complete = self.database.collection("materials").find({"state": "complete"}, {"material_id": 1})
        known = {doc["material_id"] for doc in complete}
        seen: set[str] = set()
        fields = {"sources.content_hash": 1, "material_id": 1}
        for doc in self.database.collection("configurations").find({"state": {"$ne": "withdrawn"}}, fields):
            if doc.get("material_id") is None or doc["material_id"] in known:
                seen |= {source.get("content_hash") for source in doc.get("sources", [])} & contents
        return seen

    def fetch(self, item: WorkItem) -> Raw:
        """The calculation; one that cannot be read is left for the configurations to report.

        Remembered is what may be a displaced supercell of a crystal nobody calculated.
        """
        try:
            calculation = calculation_of(self.database, item.plan["task_id"])
            require_usable(calculation)
        except (ConfigurationError, ArtifactError):
            return {"calculation": None}
        if may_be_displaced(calculation):
            self._displaced.append(item.plan["task_id"])
        return {"calculation": calculation}

    @staticmethod
    def build(inputs: Raw) -> Built | None:
        """The crystal that a calculation at rest is."""
        calculation: Calculation | None = inputs["calculation"]
        return None if calculation is None else material_of(calculation)

    def _write(self, item: Raw) -> None:
        """Merge with the material there is, if there is one, and write."""
        document = self._merge(item["built"])
        if document is None:
            self.counts.unchanged += 1
        else:
            if "level" in item["built"].extra:
                save_level(self.database, item["built"].extra["level"])
            super()._write({**item, "built": Built(document)})
            if document.material_id in self._written:
                # One more task of a crystal that was counted before.
                self.counts.built -= 1
                self.counts.unchanged += 1
            self._written.add(document.material_id)

    def _write_failure(self, item: Raw) -> None:
        """Count it: most tasks are no crystal, so none of them stands for a failed material."""
        self._count_failure(item["label"], Failure.model_validate(item["failure"]))

    def finalize(self) -> None:
        """Add the crystals that only displaced supercells know, now that all references are in."""
        for task_id in self._displaced:
            digest = self.hash_inputs(task_id=task_id)
            item = {"label": task_id, "inputs_hash": digest, "key": None, "inputs": {"task_id": task_id}}
            result = run_item(self._recover, item)
            if result.get("built") is not None or "failure" in result:
                self.update_targets([result])
        self._displaced = []
        super().finalize()

    def _recover(self, inputs: Raw) -> Built | None:
        """The crystal behind a displaced supercell, unless it is known."""
        calculation = calculation_of(self.database, inputs["task_id"])
        known = self._known(calculation.atoms, calculation.material_names)
        return material_behind(calculation) if known is None else None

    def withdrawable(self) -> Iterator[str]:
        """Materials none of whose tasks is there any more; single tasks that are gone are taken out of others."""
        collection = self.database.collection("materials")
        found = collection.find({"state": "complete"}, {"material_id": 1, "task_ids": 1})
        for batch in batched(found.sort("material_id", 1), 500):
            wanted = sorted({task_id for doc in batch for task_id in doc["task_ids"]})
            tasks = self.database.collection("tasks").find({"task_id": {"$in": wanted}}, {"task_id": 1})
            present = {task["task_id"] for task in tasks}
            for doc in batch:
                left = [task_id for task_id in doc["task_ids"] if task_id in present]
                if not left and doc["task_ids"]:
                    yield doc["material_id"]
                elif left != doc["task_ids"]:
                    change = {"$set": {"task_ids": left, "last_updated": utc_now()}}
                    collection.update_one({"material_id": doc["material_id"]}, change)

    def _known(self, atoms: Atoms, names: list[str], state: str = "complete") -> Material | None:
        """The material some atoms are a supercell of."""
        query = {"chemsys": formula_of(atoms.numbers.tolist())[1], "state": state}
        documents = list(self.database.collection("materials").find(query, {"_id": 0}).sort("material_id", 1))
        found = match_material(atoms, names, documents)[0]
        return None if found is None else Material.model_validate(found)

    def _merge(self, built: Built) -> Material | None:
        """The new material under a free id, or the known one with what the new adds; None if that is nothing."""
        new = built.document
        assert isinstance(new, Material)
        old = self._known(built.extra["atoms"], new.names)
        if old is not None:
            return _joined(old, new)
        gone = self._known(built.extra["atoms"], new.names, "withdrawn")
        if gone is not None:
            return new.model_copy(update={"material_id": gone.material_id})
        query = {"material_id": {"$regex": f"^{re.escape(new.material_id)}"}}
        taken = {doc["material_id"] for doc in self.database.collection("materials").find(query, {"material_id": 1})}
        number, material_id = 2, new.material_id
        while material_id in taken:
            material_id, number = f"{new.material_id}-{number}", number + 1
        return new.model_copy(update={"material_id": material_id})


def _joined(old: Material, new: Material) -> Material | None:
    """The known material with what the new calculation adds; None if that is nothing."""
    if new.structure_from == "displaced":
        return None
    base = better_reference(old, new)
    joined = base.model_copy(
        update={
            "material_id": old.material_id,
            "names": sorted({*old.names, *new.names}),
            "foreign_ids": sorted({*old.foreign_ids, *new.foreign_ids}),
            "task_ids": sorted({*old.task_ids, *new.task_ids}),
        }
    )
    same = content_hash(joined.model_dump(mode="json")) == content_hash(old.model_dump(mode="json"))
    return None if same else joined
