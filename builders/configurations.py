"""Labelled configurations from raw tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.calculations import calculation_of, task_stubs
from mlipdb.builders.items import WorkItem, batched
from mlipdb.builders.levels import save_level
from mlipdb.builders.quality import judge_stresses
from mlipdb.derive import Built
from mlipdb.derive.configurations import KIND_FIELDS, configuration_of, kind_of, matching_hash
from mlipdb.derive.quality import QUALITY_FIELDS, STATED, quality_of
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.mp_phonon import NAME as MP_PHONON
from mlipdb.ingest.mp_structure import NAME as MP_STRUCTURE
from mlipdb.ingest.phonopy_file import PHONOPY_FORMATS
from mlipdb.physics.quality import MEASURES
from mlipdb.schemas.common import Document, utc_now
from mlipdb.schemas.configuration import Configuration, ConfigurationSource
from mlipdb.schemas.structure import formula_of

__all__ = ["ConfigurationsBuilder"]

Raw = dict[str, Any]


class ConfigurationsBuilder(DocumentBuilder):
    """One configuration for each distinct calculation; the tasks that hold it are its sources."""

    name: ClassVar[str] = "configurations"
    version: ClassVar[str] = "2"
    source_names: ClassVar[tuple[str, ...]] = ("tasks", "materials")
    target_name: ClassVar[str] = "configurations"
    packages: ClassVar[tuple[str, ...]] = ("ase", "spglib")

    def plan(self) -> Iterator[WorkItem]:
        """One item for each complete task."""
        self._materials = self._load_materials()
        for task in task_stubs(self.database, without=(*PHONOPY_FORMATS, MP_STRUCTURE, MP_PHONON)):
            task_id = task["task_id"]
            digest = self.hash_inputs(task_id=task_id, content=task["content_hash"])
            source = {"task_id": task_id, "content_hash": task["content_hash"], "inputs_hash": digest}
            yield WorkItem(
                label=f"task {task_id}",
                inputs_hash=digest,
                plan={"source": source},
                skeleton={"task_ids": [task_id], "sources": [source]},
                supersedes={"task_ids": task_id},
            )

    def finished(self, hashes: list[str]) -> set[str]:
        """Tasks read by this version whose match would come out the same with today's materials."""
        states = ["complete", "incomplete"] if self.retry_failed else ["complete", "incomplete", "failed"]
        query = {"sources.inputs_hash": {"$in": hashes}, "state": {"$in": states}}
        fields = {"sources": 1, "material_id": 1, "chemsys": 1, "matching_hash": 1, "state": 1}
        done: set[str] = set()
        for doc in self.database.collection("configurations").find(query, fields):
            if doc["state"] == "failed" or self._still_matches(doc):
                done |= {source["inputs_hash"] for source in doc["sources"]}
        return done & set(hashes)

    def _load_materials(self) -> list[Raw]:
        query = {"state": "complete"}
        fields = {"material_id": 1, "names": 1, "chemsys": 1, "structure": 1, "_id": 0}
        return list(self.database.collection("materials").find(query, fields).sort("material_id", 1))

    def _still_matches(self, doc: Raw) -> bool:
        if doc.get("material_id") is None:
            return doc.get("matching_hash") == matching_hash(_of_system(self._materials, doc.get("chemsys", "")))
        matched = [item for item in self._materials if item["material_id"] == doc["material_id"]]
        return bool(matched) and doc.get("matching_hash") == matching_hash(matched)

    def fetch(self, item: WorkItem) -> Raw:
        """The calculation and the crystals of its chemical system."""
        source = item.plan["source"]
        calculation = calculation_of(self.database, source["task_id"])
        chemsys = formula_of(calculation.atoms.numbers.tolist())[1]
        return {
            "calculation": calculation,
            "materials": _of_system(self._materials, chemsys),
            "source": source,
        }

    @staticmethod
    def build(inputs: Raw) -> Built:
        """Check, match, classify and hash one calculation."""
        calculation: Calculation = inputs["calculation"]
        configuration = configuration_of(calculation, inputs["materials"])
        stated = [item.model_dump() for item in configuration.quality if item.reason in STATED]
        kind = configuration.model_dump(include=set(KIND_FIELDS))
        source = ConfigurationSource.model_validate({**inputs["source"], "quality": stated, **kind})
        return Built(configuration.model_copy(update={"sources": [source]}), extra={"level": calculation.level})

    def save(self, document: Document, item: Raw) -> None:
        """Join the tasks of one calculation, and take the task out of the configuration it was before."""
        assert isinstance(document, Configuration)
        task_id = document.task_ids[0]
        self._leave_others(task_id, document.configuration_id)
        # The sources of a withdrawn one say something else today, or nothing.
        query = {"configuration_id": document.configuration_id, "state": "complete"}
        old = self.database.collection("configurations").find_one(query, {"sources": 1})
        others = [source for source in (old or {}).get("sources", []) if source["task_id"] != task_id]
        sources = sorted([*others, *(s.model_dump() for s in document.sources)], key=lambda s: str(s["task_id"]))
        kind = kind_of(sources)
        quality = quality_of({**{name: getattr(document, name) for name in MEASURES}, **kind}, sources)
        task_ids = [source["task_id"] for source in sources]
        joined = document.model_copy(update={"task_ids": task_ids, "sources": sources, "quality": quality, **kind})
        # The document is checked again: the joined sources are plain data from the database.
        super().save(Configuration.model_validate(joined.model_dump(warnings=False)), item)
        save_level(self.database, item["built"].extra["level"])

    def _write_failure(self, item: Raw) -> None:
        """Leave a failed document; what the task said before it changed is no longer what the task says."""
        super()._write_failure(item)
        (source,) = item["skeleton"]["sources"]
        other = {"task_id": source["task_id"], "content_hash": {"$ne": source["content_hash"]}}
        query = {"sources": {"$elemMatch": other}, "state": "complete"}
        if self.database.collection("configurations").find_one(query, {"_id": 1}) is not None:
            self._leave_others(source["task_id"], "")

    def _leave_others(self, task_id: str, configuration_id: str) -> None:
        collection = self.database.collection("configurations")
        query = {"task_ids": task_id, "configuration_id": {"$ne": configuration_id}, "state": "complete"}
        for doc in collection.find(query, dict.fromkeys(("configuration_id", "sources", *QUALITY_FIELDS), 1)):
            left = [source for source in doc["sources"] if source["task_id"] != task_id]
            change: Raw = {"last_updated": utc_now()}
            absent: list[str] = []
            if left:
                kind = kind_of(left)
                absent = [name for name, value in kind.items() if value is None]
                change |= {"sources": left, "task_ids": [source["task_id"] for source in left]}
                change |= {name: value for name, value in kind.items() if value is not None}
                change["quality"] = quality_of({**doc, **kind}, left)
            else:
                # The last task moved on: the old content is kept for what was made from it.
                change |= {"state": "withdrawn", "inputs_hash": ""}
            update = {"$set": change} | ({"$unset": dict.fromkeys(absent, "")} if absent else {})
            collection.update_one({"configuration_id": doc["configuration_id"]}, update)

    def withdraw(self, keys: list[str], *, guarded: bool = True) -> None:
        """Withdraw what lost its tasks; then hold the stresses of what is left against the energies."""
        super().withdraw(keys, guarded=guarded)
        if judge_stresses(self.database):
            self._touch()

    def withdrawable(self) -> Iterator[str]:
        """Configurations none of whose tasks is there any more; single tasks that are gone are taken out of others."""
        collection = self.database.collection("configurations")
        tasks = self.database.collection("tasks")
        query = {"state": {"$ne": "withdrawn"}}
        fields = {"configuration_id": 1, "task_ids": 1, "sources.task_id": 1, "state": 1}
        for batch in batched(collection.find(query, fields), 500):
            wanted = sorted({task_id for doc in batch for task_id in doc["task_ids"]})
            found = tasks.find({"task_id": {"$in": wanted}, "state": "complete"}, {"task_id": 1})
            present = {task["task_id"] for task in found}
            for doc in batch:
                if present.isdisjoint(doc["task_ids"]):
                    if doc["state"] == "failed":
                        collection.delete_one({"configuration_id": doc["configuration_id"]})
                    else:
                        yield doc["configuration_id"]
                else:
                    for task_id in set(doc["task_ids"]) - present:
                        self._leave_others(task_id, "")


def _of_system(materials: list[Raw], chemsys: str) -> list[Raw]:
    return [item for item in materials if item["chemsys"] == chemsys]
