"""Phonon benchmarks: every potential against every DFT phonon document it can be held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

from mlipdb.artifacts import Artifacts
from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.calculations import raw_task
from mlipdb.builders.external_benchmarks import external_items, missing_tasks
from mlipdb.builders.items import WorkItem
from mlipdb.builders.levels import load_levels
from mlipdb.builders.names import material_ids
from mlipdb.builders.shared_benchmarks import (
    Shared,
    build_together,
    group_item,
    grouped,
    results_of,
    share_key,
    share_memory,
)
from mlipdb.derive import Built
from mlipdb.derive.external_benchmarks import external_benchmark_of
from mlipdb.derive.phonon_benchmarks import phonon_benchmark_of
from mlipdb.errors import RecipeError
from mlipdb.query import check_field
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.potential import Potential

__all__ = ["PhononBenchmarksBuilder"]

Raw = dict[str, Any]


class PhononBenchmarksBuilder(DocumentBuilder):
    """Runs the benchmarks of kind ``phonons`` on potentials and references of one level of theory.

    At the reference's own cell, potentials that share their sparse points are evaluated together: one
    item to work on, a document for each.
    """

    name: ClassVar[str] = "phonon_benchmarks"
    version: ClassVar[str] = "1"
    source_names: ClassVar[tuple[str, ...]] = ("potentials", "phonons", "materials", "tasks")
    target_name: ClassVar[str] = "phonon_benchmarks"
    packages: ClassVar[tuple[str, ...]] = ("phonopy", "quippy-ase", "ase", "spglib")
    settings_used: ClassVar[tuple[str, ...]] = ("benchmarks", "phonons")
    heavy: ClassVar[bool] = True

    def plan(self) -> Iterator[WorkItem]:
        """Potential by potential, so that a worker loads each one only a few times."""
        settings = self.settings.settings
        for name, benchmark in settings.benchmarks.items():
            protocol = settings.protocol_of(benchmark)
            references = self._references(name, benchmark.materials)
            for field in benchmark.potentials:
                if not field.startswith("$"):
                    check_field("potentials", field)
            query = {"$and": [{"state": "complete"}, benchmark.potentials]}
            external: list[Raw] = []
            for potential in (
                self.database.collection("potentials").find(query, POTENTIAL_FIELDS).sort("potential_id", 1)
            ):
                if potential.get("origin") == "external":
                    external.append(potential)
                    continue
                potential["share"] = share_key(potential, protocol)
                for phonon in references:
                    if self.comparable(potential, phonon):
                        yield self.item_of(name, potential, phonon, protocol)
            yield from external_items(self, name, external, references, protocol)

    def comparable(self, potential: Raw, phonon: Raw) -> bool:
        """Whether a potential knows all elements of a reference and was made at a level that agrees with its."""
        if not set(phonon["elements"]) <= set(potential.get("elements", [])):
            return False
        own, reference = potential.get("level_id"), phonon["level_id"]
        if own is None or own == reference:
            return True
        cache: dict[str, LevelOfTheory] = self.__dict__.setdefault("_levels", {})
        cache.update(load_levels(self.database, {own, reference} - cache.keys()))
        return own in cache and reference in cache and cache[own].agrees(cache[reference])

    def _references(self, name: str, materials: list[str]) -> list[Raw]:
        query: Raw = {"state": "complete"}
        if materials and self.database.collection("materials").find_one({}, {"_id": 1}) is None:
            return []  # nothing is there yet to be named
        if materials:
            try:
                query["material_id"] = {"$in": material_ids(self.database, materials)}
            except RecipeError as error:
                raise RecipeError(f"benchmarks.{name}.materials: {error.message}", reason=error.reason) from None
        return list(self.database.collection("phonons").find(query, PHONON_FIELDS).sort("phonon_id", 1))

    def item_of(
        self, name: str, potential: Raw, phonon: Raw, protocol: PhononProtocol, task: Raw | None = None
    ) -> WorkItem:
        """The item of one potential on one reference; with the raw task of forces for an external potential."""
        protocol_id = make_key("protocol", protocol)
        key = make_key(
            "bm",
            {"potential_id": potential["potential_id"], "phonon_id": phonon["phonon_id"], "protocol_id": protocol_id},
        )
        stub = {
            "benchmark": name,
            "potential_id": potential["potential_id"],
            "phonon_id": phonon["phonon_id"],
            "reference_hash": phonon["inputs_hash"],
            "material_id": phonon["material_id"],
            "material_name": phonon.get("material_name"),
            "framework": potential["framework"],
            "protocol": protocol.model_dump(mode="json"),
            "protocol_id": protocol_id,
            **{field: potential.get(field) for field in ("training_set", "n_sparse", "delta", "f")},
        }
        if task is not None:
            stub |= {"origin": "phonopy_file", "task_ids": [task["task_id"]]}
        # The potential's and the reference's hashes stand for their content, also after a rebuild.
        digest = self.hash_inputs(
            key=key,
            potential=potential["inputs_hash"],
            phonon=phonon["inputs_hash"],
            **({} if task is None else {"task": [task["task_id"], task["content_hash"]]}),
        )
        return WorkItem(
            label=f"{potential['potential_id']} on {phonon.get('material_name')}",
            inputs_hash=digest,
            plan={
                "task_id": None if task is None else task["task_id"],
                "share": None if task is not None else potential.get("share"),
                "memory": share_memory(potential, phonon),
            },
            key=key,
            skeleton=stub,
        )

    def finalize(self) -> None:
        """Withdraw what was measured against a reference that has been replaced; a new result stands beside it."""
        superseded, self._orphans = self._outdated()
        self.withdraw(superseded, guarded=False)
        super().finalize()

    def withdrawable(self) -> Iterator[str]:
        """Benchmarks whose potential or reference is there no more."""
        return iter(self._orphans)

    def _outdated(self) -> tuple[list[str], list[str]]:
        complete = {"state": "complete"}
        phonons = self.database.collection("phonons").find(complete, {"phonon_id": 1, "inputs_hash": 1})
        current = {doc["phonon_id"]: doc["inputs_hash"] for doc in phonons}
        potentials = self.database.collection("potentials").find(complete, {"potential_id": 1})
        fitted = {doc["potential_id"] for doc in potentials}
        superseded, orphans = [], []
        external: list[Raw] = []
        fields = {"task_ids": 1, "benchmark_id": 1, "phonon_id": 1, "potential_id": 1, "reference_hash": 1}
        for doc in self.database.collection("phonon_benchmarks").find({"state": {"$ne": "withdrawn"}}, fields):
            if doc["phonon_id"] not in current or doc["potential_id"] not in fitted:
                orphans.append(doc["benchmark_id"])
            elif current[doc["phonon_id"]] != doc.get("reference_hash"):
                superseded.append(doc["benchmark_id"])
            elif doc.get("task_ids"):
                external.append(doc)
        return superseded, [*orphans, *sorted(missing_tasks(self, external))]

    def stale_items(self) -> list[WorkItem]:
        """Single benchmarks as they are, and those that share an evaluation as one item."""
        died = {
            "$or": [
                {"state": "failed", "failure.reason": "worker_died"},
                {"rebuild_failure.reason": "worker_died"},
            ]
        }
        # One that ends its process takes its group along, so those of such a group are tried again one by one.
        alone = {
            doc["benchmark_id"] for doc in self.database.collection(self.target_name).find(died, {"benchmark_id": 1})
        }
        return grouped(super().stale_items(), self.n_workers, alone)

    def prepared(self, item: WorkItem) -> Raw:
        """The item; a group brings its members along, each with its inputs or its failure."""
        if "members" not in item.plan:
            return super().prepared(item)
        self.__dict__["_kept"] = {}  # the reference and the side files are the same for all
        try:
            members = [super(PhononBenchmarksBuilder, self).prepared(member) for member in item.plan["members"]]
        finally:
            del self.__dict__["_kept"]
        return group_item(item, members)

    def _once(self, key: str, read: Callable[[], Any]) -> Any:
        """What is read, once for all members of a group."""
        kept: Raw | None = self.__dict__.get("_kept")
        if kept is None:
            return read()
        if key not in kept:
            kept[key] = read()
        return kept[key]

    def fetch(self, item: WorkItem) -> Raw:
        """Potential, its verified files, and the reference."""
        stub = item.skeleton
        raw = self.database.collection("potentials").find_one({"potential_id": stub["potential_id"]}, {"_id": 0})
        potential = Potential.model_validate(raw)
        phonon: Phonon = self._once(stub["phonon_id"], partial(self._phonon, stub["phonon_id"]))
        artifacts = Artifacts(self.database)
        overall = potential.errors.get("test", {}).get("overall", {})
        trained_on = self._trained_on(potential.training_set_id, potential.hyperparameters.get("config_types"))
        used = [key for key in phonon.configuration_ids if key in trained_on]
        # Of supercells in a file it is not known whether they were trained on.
        known = potential.training_set_id is not None and bool(phonon.configuration_ids)
        task_id = item.plan["task_id"]
        return {
            "raw": None if task_id is None else raw_task(self.database, task_id)[0],
            "stub": {
                "benchmark_id": item.key,
                **stub,
                "energy_rmse": overall.get("energy_rmse"),
                "force_rmse": overall.get("force_rmse"),
                "reference_in_training": bool(used) if known else None,
                "reference_in_training_fraction": len(used) / len(phonon.configuration_ids) if known else None,
            },
            "potential": potential,
            "files": {ref.name: self._once(ref.sha256, partial(artifacts.get, ref)) for ref in potential.files},
            "phonon": phonon,
        }

    def _phonon(self, phonon_id: str) -> Phonon:
        return Phonon.model_validate(self.database.collection("phonons").find_one({"phonon_id": phonon_id}, {"_id": 0}))

    def _trained_on(self, training_set_id: str | None, config_types: list[str] | None) -> set[str]:
        if training_set_id is None:
            return set()
        cache: dict[str, dict[str, str]] = self.__dict__.setdefault("_members", {})
        if training_set_id not in cache:
            document = self.database.collection("training_sets").find_one(
                {"training_set_id": training_set_id},
                {"members.configuration_id": 1, "members.config_type": 1, "members.split": 1},
            )
            members = (document or {}).get("members", [])
            cache[training_set_id] = {m["configuration_id"]: m["config_type"] for m in members if m["split"] == "train"}
        kinds = cache[training_set_id]
        return {key for key, kind in kinds.items() if config_types is None or kind in config_types}

    @staticmethod
    def build(inputs: Raw) -> Built | Shared:  # type: ignore[override]  # a group is many documents
        """Run one benchmark, or those of a group."""
        if "members" in inputs:
            return build_together(inputs["members"], _single)
        return _single(inputs)

    def update_targets(self, items: list[Raw]) -> None:
        """Write single results, and those of each member of a group."""
        for item in items:
            super().update_targets(results_of(item) if "members" in item else [item])


def _single(inputs: Raw) -> Built:
    stub = PhononBenchmark.model_validate(inputs["stub"])
    protocol = PhononProtocol.model_validate(stub.protocol)
    if inputs["raw"] is not None:
        return external_benchmark_of(stub, inputs["raw"], inputs["phonon"], protocol)
    return phonon_benchmark_of(stub, inputs["potential"], inputs["files"], inputs["phonon"], protocol)


POTENTIAL_FIELDS = {
    "potential_id": 1,
    "framework": 1,
    "origin": 1,
    "training_set": 1,
    "n_sparse": 1,
    "delta": 1,
    "f": 1,
    "elements": 1,
    "level_id": 1,
    "inputs_hash": 1,
    "engine": 1,
    "hyperparameters": 1,
    "files": 1,
    "main_file": 1,
    "_id": 0,
}
PHONON_FIELDS = {
    "phonon_id": 1,
    "material_id": 1,
    "material_name": 1,
    "elements": 1,
    "level_id": 1,
    "inputs_hash": 1,
    "n_atoms_supercell": 1,
    "n_displacements": 1,
    "_id": 0,
}
