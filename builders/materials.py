"""Reference crystals from tasks: relaxed cells first, else what displaced supercells were made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from mlipdb.builders.base import KEPT, DocumentBuilder
from mlipdb.builders.calculations import calculation_of, raw_task, task_stubs
from mlipdb.builders.items import WorkItem, batched, run_item
from mlipdb.builders.levels import save_level
from mlipdb.derive import Built
from mlipdb.derive.matching import match_material
from mlipdb.derive.materials import better_reference, material_behind, material_of, may_be_displaced
from mlipdb.errors import ArtifactError, ConfigurationError
from mlipdb.ingest.calculation import Calculation, require_good
from mlipdb.ingest.interpret import interpret
from mlipdb.ingest.mp_phonon import NAME as MP_PHONON
from mlipdb.ingest.mp_structure import NAME as MP_STRUCTURE
from mlipdb.ingest.phonopy_file import EXTERNAL
from mlipdb.ingest.phonopy_file import NAME as PHONOPY
from mlipdb.schemas.common import Failure, utc_now
from mlipdb.schemas.keys import content_hash
from mlipdb.schemas.material import Material, MaterialSource
from mlipdb.schemas.structure import formula_of

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["MaterialsBuilder"]

Raw = dict[str, Any]
#: Formats whose crystals are relaxed by their nature, without energy and forces to say so.
AT_REST = (PHONOPY, MP_STRUCTURE, MP_PHONON)


class MaterialsBuilder(DocumentBuilder):
    """Finds the crystals that configurations are supercells of."""

    name: ClassVar[str] = "materials"
    version: ClassVar[str] = "2"
    source_names: ClassVar[tuple[str, ...]] = ("tasks",)
    target_name: ClassVar[str] = "materials"
    packages: ClassVar[tuple[str, ...]] = ("ase", "spglib", "pymatgen")

    def plan(self) -> Iterator[WorkItem]:
        """Every task; those behind a configuration have been looked at."""
        self._displaced: list[str] = []
        self._joined_to: dict[str, str] = {}
        self._written: set[str] = set()
        for task in task_stubs(self.database, without=(EXTERNAL,)):
            digest = self.hash_inputs(task_id=task["task_id"], content=task["content_hash"])
            plan = {"task_id": task["task_id"], "content": task["content_hash"], "format": task["source"]["format"]}
            yield WorkItem(task["task_id"], digest, plan)

    def stale_items(self) -> list[WorkItem]:
        """Tasks that no configuration shows to have been looked at."""
        stale = super().stale_items()
        if self._other_version():
            return stale
        seen = self._seen({item.plan["content"] for item in stale})
        fresh = [item for item in stale if item.plan["content"] not in seen]
        self.counts.unchanged += len(stale) - len(fresh)
        return fresh

    def finished(self, hashes: list[str]) -> set[str]:
        """Tasks that stand in a material; most are no crystal and leave no document of their own."""
        query = {"sources.inputs_hash": {"$in": hashes}, "state": "complete"}
        found = self.database.collection("materials").find(query, {"sources.inputs_hash": 1})
        return {source["inputs_hash"] for doc in found for source in doc["sources"]} & set(hashes)

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
            if item.plan["format"] in AT_REST:
                return {"calculation": calculation, "at_rest": True}
            require_good(calculation)
        except (ConfigurationError, ArtifactError):
            return {"calculation": None}
        if may_be_displaced(calculation):
            self._displaced.append(item.plan["task_id"])
        return {"calculation": calculation}

    @staticmethod
    def build(inputs: Raw) -> Built | None:
        """The crystal that a calculation at rest is."""
        calculation: Calculation | None = inputs["calculation"]
        return None if calculation is None else material_of(calculation, at_rest=inputs.get("at_rest", False))

    def update_targets(self, items: list[Raw]) -> None:
        """Write results; then take the tasks out of the materials that they no longer show."""
        super().update_targets(items)
        # What may be displaced is looked at in the end, and of a failure nothing is known.
        unknown = set(self._displaced)
        self._leave_others([i["label"] for i in items if "failure" not in i and i["label"] not in unknown])

    def _leave_others(self, task_ids: list[str]) -> None:
        """Take tasks out of all materials but the one that each of them was just joined to."""
        query = {"task_ids": {"$in": task_ids}, "state": "complete"}
        found = self.database.collection("materials").find(query, {"material_id": 1, "task_ids": 1})
        for doc in sorted(found, key=lambda doc: str(doc["material_id"])):
            gone = {t for t in task_ids if self._joined_to.get(t) != doc["material_id"]} & set(doc["task_ids"])
            if gone:
                self._take_out(doc["material_id"], gone)

    def _take_out(self, material_id: str, gone: set[str]) -> None:
        """Take tasks out of a material; its structure is that of the best task left, and without one it goes."""
        collection = self.database.collection("materials")
        old = Material.model_validate(collection.find_one({"material_id": material_id}, {"_id": 0}))
        left = [task_id for task_id in old.task_ids if task_id not in gone]
        new = old if old.reference_task_id in left else self._reference_of(left)
        if new is None:
            # Others have taken its place, or the task itself says that it is no crystal: no guard is needed.
            self.withdraw([material_id], guarded=False)
            return
        kept: Raw = {"material_id": material_id, "names": old.names, "foreign_ids": old.foreign_ids, "task_ids": left}
        kept["sources"] = [source for source in old.sources if source.task_id in left]
        common = {name: getattr(old, name) for name in (*KEPT, "inputs_hash", "builder_meta")}
        document = new.model_copy(update={**common, **kept, "last_updated": utc_now()})
        self.database.replace("materials", document.to_bson())
        self._touch()

    def _reference_of(self, task_ids: list[str]) -> Material | None:
        """The crystal that some tasks show, by the best of them."""
        found: list[Material] = []
        for task_id in task_ids:
            try:
                raw, source_format = raw_task(self.database, task_id)
                calculation, at_rest = interpret(task_id, raw, source_format), source_format in AT_REST
                if not at_rest:
                    require_good(calculation)
            except (ConfigurationError, ArtifactError):
                continue
            built = material_of(calculation, at_rest=at_rest)
            if built is None and may_be_displaced(calculation):
                built = material_behind(calculation)
            if built is not None:
                save_level(self.database, built.extra["level"])
                assert isinstance(built.document, Material)
                found.append(built.document)
        return reduce(better_reference, found) if found else None

    def _write(self, item: Raw) -> None:
        """Merge with the material there is, if there is one, and write."""
        new = item["built"].document
        if new.structure_from == "reference":
            source = MaterialSource(task_id=item["label"], inputs_hash=item["inputs_hash"])
            new = new.model_copy(update={"sources": [source]})
        document = self._merge(Built(new, extra=item["built"].extra), item["label"])
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
        displaced, self._displaced = self._displaced, []
        for task_id in displaced:
            digest = self.hash_inputs(task_id=task_id)
            item = {"label": task_id, "inputs_hash": digest, "key": None, "inputs": {"task_id": task_id}}
            result = run_item(self._recover, item)
            if result.get("built") is not None or "failure" in result:
                self.update_targets([result])
            else:
                self._leave_others([task_id])
        # All tasks were read by this version: what it had nothing to add to is as it would make it.
        query = {"builder_meta.builder": self.name, "builder_meta.builder_version": {"$ne": self.version}}
        stamp = {"$set": {"builder_meta.builder_version": self.version}}
        self.database.collection("materials").update_many(query, stamp)
        super().finalize()

    def _recover(self, inputs: Raw) -> Built | None:
        """The crystal behind a displaced supercell, unless it is known."""
        calculation = calculation_of(self.database, inputs["task_id"])
        known = self._known(calculation.atoms, calculation.material_names)
        if known is None:
            return material_behind(calculation)
        if known.structure_from == "displaced" or known.reference_task_id != calculation.task_id:
            self._joined_to[calculation.task_id] = known.material_id
        return None

    def withdrawable(self) -> Iterator[str]:
        """Materials none of whose tasks is there any more; single tasks that are gone are taken out of others."""
        collection = self.database.collection("materials")
        found = collection.find({"state": "complete"}, {"material_id": 1, "task_ids": 1})
        for batch in batched(found.sort("material_id", 1), 500):
            wanted = sorted({task_id for doc in batch for task_id in doc["task_ids"]})
            tasks = self.database.collection("tasks").find({"task_id": {"$in": wanted}}, {"task_id": 1})
            present = {task["task_id"] for task in tasks}
            for doc in batch:
                gone = set(doc["task_ids"]) - present
                if gone and present.isdisjoint(doc["task_ids"]):
                    yield doc["material_id"]
                elif gone:
                    self._take_out(doc["material_id"], gone)

    def _known(self, atoms: Atoms, names: list[str], state: str = "complete") -> Material | None:
        """The material some atoms are a supercell of."""
        query = {"chemsys": formula_of(atoms.numbers.tolist())[1], "state": state}
        documents = list(self.database.collection("materials").find(query, {"_id": 0}).sort("material_id", 1))
        found = match_material(atoms, names, documents)[0]
        return None if found is None else Material.model_validate(found)

    def _merge(self, built: Built, task_id: str) -> Material | None:
        """The new material under a free id, or the known one with what the new adds; None if that is nothing."""
        document = self._placed(built, task_id)
        if document is not None:
            self._joined_to[task_id] = document.material_id
        return document

    def _placed(self, built: Built, task_id: str) -> Material | None:
        new = built.document
        assert isinstance(new, Material)
        old = self._known(built.extra["atoms"], new.names)
        if old is not None:
            self._joined_to[task_id] = old.material_id
            if old.reference_task_id != task_id:
                return _joined(old, new, better_reference(old, new))
            # What this task said before is no reference any more.
            rest = self._reference_of([other for other in old.task_ids if other != task_id])
            return _joined(old, new, new if rest is None else better_reference(new, rest))
        gone = self._known(built.extra["atoms"], new.names, "withdrawn")
        if gone is not None:
            return new.model_copy(update={"material_id": gone.material_id})
        query = {"material_id": {"$regex": f"^{re.escape(new.material_id)}"}}
        taken = {doc["material_id"] for doc in self.database.collection("materials").find(query, {"material_id": 1})}
        number, material_id = 2, new.material_id
        while material_id in taken:
            material_id, number = f"{new.material_id}-{number}", number + 1
        return new.model_copy(update={"material_id": material_id})


def _joined(old: Material, new: Material, base: Material) -> Material | None:
    """The known material with what the new calculation adds and the structure of `base`; None if that is nothing."""
    if new.structure_from == "displaced":
        return None
    others = [source for source in old.sources if source.task_id not in new.task_ids]
    joined = base.model_copy(
        update={
            "material_id": old.material_id,
            "names": sorted({*old.names, *new.names}),
            "foreign_ids": sorted({*old.foreign_ids, *new.foreign_ids}),
            "task_ids": sorted({*old.task_ids, *new.task_ids}),
            "sources": sorted([*others, *new.sources], key=lambda source: source.task_id),
        }
    )
    same = content_hash(joined.model_dump(mode="json")) == content_hash(old.model_dump(mode="json"))
    return None if same else joined
