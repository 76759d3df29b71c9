"""DFT phonons from the displacement sets among the configurations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, ClassVar

from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.calculations import raw_task
from mlipdb.builders.items import WorkItem
from mlipdb.builders.levels import save_level
from mlipdb.builders.mp_phonon_sets import materials_project_sets
from mlipdb.builders.phonopy_sets import PhonopySet, phonopy_sets
from mlipdb.derive import Built
from mlipdb.derive.mp_phonons import phonon_of_materials_project
from mlipdb.derive.phonons import phonon_of
from mlipdb.derive.phonopy_phonons import phonon_of_file
from mlipdb.errors import PhononError
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon, phonon_identity
from mlipdb.schemas.phonon_protocol import PhononProtocol

__all__ = ["PhononsBuilder"]

Raw = dict[str, Any]
FIELDS = {
    "configuration_id": 1,
    "task_ids": 1,
    "material_id": 1,
    "material_name": 1,
    "level_id": 1,
    "supercell_matrix": 1,
    "superlattice": 1,
    "displacement": 1,
    "volume_ratio": 1,
    "_id": 0,
}

#: What no quality gate holds back: one force that is wrong is enough to spoil all force constants.
GOOD = {"quality.reason": {"$exists": False}}


class PhononsBuilder(DocumentBuilder):
    """One document for each material, level of theory and supercell that has displacements."""

    name: ClassVar[str] = "phonons"
    version: ClassVar[str] = "2"
    source_names: ClassVar[tuple[str, ...]] = ("configurations", "materials", "tasks")
    target_name: ClassVar[str] = "phonons"
    packages: ClassVar[tuple[str, ...]] = ("phonopy", "seekpath", "spglib")
    settings_used: ClassVar[tuple[str, ...]] = ("phonons",)
    heavy: ClassVar[bool] = True

    def plan(self) -> Iterator[WorkItem]:
        """One item for each displacement set."""
        self._planned: set[str] = set()
        given = (*phonopy_sets(self.database), *materials_project_sets(self.database))
        files = {item.key: item for item in given}
        query = {"state": "complete", "config_type": "single_displacement", "material_id": {"$exists": True}}
        query |= GOOD
        order = [("material_id", 1), ("level_id", 1), ("configuration_id", 1)]
        members = self.database.collection("configurations").find(query, FIELDS).sort(order)
        for (material_id, level_id), group in groupby(members, key=lambda d: (d["material_id"], d["level_id"])):
            sets: dict[str, list[Raw]] = {}
            for doc in group:
                sets.setdefault(make_key("ph", _identity(doc)), []).append(doc)
            for phonon_id, docs in sorted(sets.items()):
                self._planned.add(phonon_id)
                yield self._item(phonon_id, material_id, level_id, docs, files.pop(phonon_id, None))
        for phonon_id, file in sorted(files.items()):
            self._planned.add(phonon_id)
            yield self._file_item(file)

    def _file_item(self, file: PhonopySet) -> WorkItem:
        """The item of a displacement set, or of force constants, that only a phonopy file has."""
        digest = self.hash_inputs(
            key=file.key,
            file=[file.task_id, file.content_hash],
            structure=file.structure,
            problem=file.problem,
            protocol=self.settings.settings.phonons,
        )
        return WorkItem(
            label=f"phonons of {file.stub.get('material_name') or file.task_id}",
            inputs_hash=digest,
            plan={"ids": [], "residual": None, "material_id": file.stub["material_id"], "file": file},
            key=file.key,
            skeleton=file.stub,
        )

    def _item(
        self, phonon_id: str, material_id: str, level_id: str, docs: list[Raw], file: PhonopySet | None
    ) -> WorkItem:
        protocol = self.settings.settings.phonons
        material = self.database.collection("materials").find_one({"material_id": material_id}, {"structure": 1})
        residual = self._residual(docs[0])
        ids = sorted(doc["configuration_id"] for doc in docs)
        first = docs[0]
        stub = {
            "material_id": material_id,
            "material_name": first.get("material_name"),
            "level_id": level_id,
            "supercell_matrix": first["supercell_matrix"],
            "superlattice": first["superlattice"],
            "displacement_distance": round(first["displacement"]["distance"], 4),
            "volume_ratio": volume_class(first),
            "configuration_ids": ids,
        }
        digest = self.hash_inputs(
            key=phonon_id,
            configurations=ids,
            tasks=sorted({task_id for doc in docs for task_id in doc["task_ids"]}),
            residual=residual,
            structure=None if material is None else material["structure"],
            protocol=protocol,
            # A file of the same set may complete it; without one the hash is what it always was.
            **({} if file is None else {"file": [file.task_id, file.content_hash]}),
        )
        return WorkItem(
            label=f"phonons of {first.get('material_name')}",
            inputs_hash=digest,
            plan={"ids": ids, "residual": residual, "material_id": material_id, "file": file},
            key=phonon_id,
            skeleton=stub,
        )

    def _residual(self, doc: Raw) -> str | None:
        """The undisplaced supercell of a set; the first by id where there are several."""
        query = {
            "state": "complete",
            "config_type": "bulk",
            "material_id": doc["material_id"],
            "level_id": doc["level_id"],
            **GOOD,
        }
        found = self.database.collection("configurations").find(query, FIELDS).sort("configuration_id", 1)
        for other in found:
            same = other.get("superlattice") == doc["superlattice"]
            if same and volume_class(other) == volume_class(doc):
                return str(other["configuration_id"])
        return None

    def fetch(self, item: WorkItem) -> Raw:
        """Configurations, residual and material; the content of a phonopy file."""
        file: PhonopySet | None = item.plan["file"]
        if file is not None and file.problem is not None:
            raise PhononError(file.problem, reason=file.reason)
        collection = self.database.collection("configurations")
        load = Configuration.model_validate
        docs = collection.find({"configuration_id": {"$in": item.plan["ids"]}}, {"_id": 0}).sort("configuration_id", 1)
        residual = item.plan["residual"]
        material = self.database.collection("materials").find_one({"material_id": item.plan["material_id"]}, {"_id": 0})
        return {
            "stub": {"phonon_id": item.key, **item.skeleton},
            "displaced": [load(doc) for doc in docs],
            "residual": None
            if residual is None
            else load(collection.find_one({"configuration_id": residual}, {"_id": 0})),
            "material": Material.model_validate(material),
            "protocol": self.settings.settings.phonons,
            "file": None if file is None else (file, raw_task(self.database, file.task_id)[0]),
        }

    @staticmethod
    def build(inputs: Raw) -> Built:
        """Analyse the set and compute its phonons."""
        protocol: PhononProtocol = inputs["protocol"]
        stub = Phonon.model_validate(inputs["stub"])
        if inputs["displaced"]:
            built = phonon_of(stub, inputs["material"], inputs["displaced"], inputs["residual"], protocol)
            if built.document.state == "complete" or inputs["file"] is None:
                return built
        file, raw = inputs["file"]
        stub = Phonon.model_validate({"phonon_id": stub.phonon_id, **file.stub})
        make = phonon_of_materials_project if stub.origin == "materials_project" else phonon_of_file
        built = make(stub, inputs["material"], file.task_id, raw, protocol)
        return Built(built.document, built.files, {"level": file.level})

    def _write(self, item: Raw) -> None:
        """Write the document, and the level of theory that no configuration has written."""
        if "level" in item["built"].extra:
            save_level(self.database, item["built"].extra["level"])
        super()._write(item)

    def withdrawable(self) -> Iterator[str]:
        """Phonons whose displacement set is there no more."""
        query = {"state": {"$in": ["complete", "incomplete", "failed"]}}
        for doc in self.database.collection("phonons").find(query, {"phonon_id": 1}):
            if doc["phonon_id"] not in self._planned:
                yield doc["phonon_id"]


def volume_class(doc: Raw) -> float:
    """Volume over the reference's, to the nearest half percent: sets at other volumes stay apart."""
    return round((doc.get("volume_ratio") or 1.0) * 200) / 200


def _identity(doc: Raw) -> Raw:
    distance = doc["displacement"]["distance"]
    return phonon_identity(doc["material_id"], doc["level_id"], doc["superlattice"], distance, volume_class(doc))
