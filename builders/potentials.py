"""Potentials: one for each current training set and grid point of the fits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from mlipdb.artifacts import Artifacts
from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.items import WorkItem
from mlipdb.derive import Built
from mlipdb.derive.potentials import potential_key, potential_of
from mlipdb.schemas.keys import content_hash
from mlipdb.schemas.potential import Potential
from mlipdb.schemas.training_set import TrainingSet
from mlipdb.settings import FitSettings

__all__ = ["PotentialsBuilder"]

Raw = dict[str, Any]
log = logging.getLogger("mlipdb")


class PotentialsBuilder(DocumentBuilder):
    """Fits what is missing; a changed grid or training set gives new potentials beside the old.

    With the engine ``grid``, points that share descriptors are one study: one item to work on, many
    documents.
    """

    name: ClassVar[str] = "potentials"
    version: ClassVar[str] = "1"
    source_names: ClassVar[tuple[str, ...]] = ("training_sets",)
    target_name: ClassVar[str] = "potentials"
    packages: ClassVar[tuple[str, ...]] = ("quippy-ase", "ase", "numpy")
    settings_used: ClassVar[tuple[str, ...]] = ("fits",)
    heavy: ClassVar[bool] = True

    def plan(self) -> Iterator[WorkItem]:
        """Grid points, training set by training set."""
        settings = self.settings.settings
        planned: set[str] = set()
        for fit_name, fit in settings.fits.items():
            points = self._points(fit_name, fit)
            for recipe in settings.recipes_of(fit):
                query = {"name": recipe, "state": "complete", "current": True}
                found = self.database.collection("training_sets").find(query, {"training_set_id": 1})
                for document in found.sort("training_set_id", 1):
                    for point, study, number in points:
                        item = self._item(fit_name, fit, recipe, document["training_set_id"], point, study, number)
                        if item.inputs_hash not in planned:
                            planned.add(item.inputs_hash)
                            yield item

    def _points(self, fit_name: str, fit: FitSettings) -> list[tuple[Raw, Raw | None, int]]:
        """Hyperparameters of each point, the study it is part of (None: a fit of its own) and its number."""
        points = list(fit.points())
        if fit.engine != "grid":
            return [(point, None, 0) for point in points]
        from mlipdb.frameworks.gap_grid.points import eligible_config_types, partition
        from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters

        models = [GapHyperparameters.model_validate(point) for point in points]
        studies, alone = partition(models)
        for reason in sorted(set(alone.values())):
            log.warning("fit %s: some points go to gap_fit: %s", fit_name, reason)
        found: list[tuple[Raw, Raw | None, int]] = [(points[index], None, 0) for index in sorted(alone)]
        for number, members in enumerate(studies):
            # Sparse sets are nested, so a point's depends on the sizes of the others.
            study: Raw = {"n_sparse": sorted({points[index]["soap"]["n_sparse"] for index in members})}
            eligible = eligible_config_types([models[index] for index in members], fit.sparse_from)
            if eligible is not None:
                # So do the environments they were chosen from, where these are not all.
                study |= {"sparse_from": fit.sparse_from, "sparse_config_types": sorted(eligible)}
            found += [(points[index], study, number) for index in members]
        return found

    def _item(
        self,
        fit_name: str,
        fit: FitSettings,
        recipe: str,
        training_set_id: str,
        point: Raw,
        study: Raw | None,
        number: int,
    ) -> WorkItem:
        engine = "gap_fit" if study is None else "grid"
        key = potential_key(fit.framework, training_set_id, point, engine, study)
        stub = {
            "framework": fit.framework,
            "engine": engine if fit.framework == "gap" else None,
            "study": study,
            "fit_name": fit_name,
            "training_set": recipe,
            "training_set_id": training_set_id,
            "hyperparameters": point,
        }
        return WorkItem(
            label=f"{fit.framework} on {recipe} ({key})",
            inputs_hash=self.hash_inputs(key=key),
            plan={
                "timeout": fit.timeout,
                "train_errors": fit.train_errors,
                "memory_mb": fit.memory_mb,
                "sparse_from": fit.sparse_from,
                "number": number,
            },
            key=key,
            skeleton=stub,
        )

    def stale_items(self) -> list[WorkItem]:
        """Single fits as they are; the points of a study as one item, all of them solved if one is stale."""
        stale = super().stale_items()
        single = [item for item in stale if item.skeleton["study"] is None]
        wanted = {item.inputs_hash for item in stale if item.skeleton["study"] is not None}
        studies: dict[tuple[str, str, int], list[WorkItem]] = {}
        for item in self.plan() if wanted else ():
            if item.skeleton["study"] is not None:
                place = (item.skeleton["fit_name"], item.skeleton["training_set_id"], item.plan["number"])
                studies.setdefault(place, []).append(item)
        groups = [members for members in studies.values() if wanted & {item.inputs_hash for item in members}]
        return single + [self._study(members, wanted, n, len(groups)) for n, members in enumerate(groups, start=1)]

    def _study(self, members: list[WorkItem], wanted: set[str], number: int, n_studies: int) -> WorkItem:
        first = members[0]
        workers = self.n_workers
        plan = {
            **first.plan,
            "members": members,
            "wanted": wanted,
            # Studies run side by side up to the number of workers; one alone gets them all.
            "processes": max(1, workers // min(n_studies, workers)),
        }
        label = f"study of {len(members)} {first.skeleton['framework']} on {first.skeleton['training_set']}"
        if n_studies > 1:  # two that differ in their descriptors would be called the same
            label += f" ({number} of {n_studies})"
        return WorkItem(label, content_hash([item.inputs_hash for item in members]), plan, skeleton=first.skeleton)

    def prepared(self, item: WorkItem) -> Raw:
        """The item; a study brings its points along."""
        ready = super().prepared(item)
        if "members" in item.plan:
            ready["members"] = [
                {
                    "label": member.label,
                    "inputs_hash": member.inputs_hash,
                    "key": member.key,
                    "skeleton": member.skeleton,
                    "supersedes": member.supersedes,
                    "stale": member.inputs_hash in item.plan["wanted"],
                }
                for member in item.plan["members"]
            ]
        return ready

    def fetch(self, item: WorkItem) -> Raw:
        """The training set and its files."""
        document = self.database.collection("training_sets").find_one(
            {"training_set_id": item.skeleton["training_set_id"]}, {"_id": 0}
        )
        training_set = TrainingSet.model_validate(document)
        artifacts = Artifacts(self.database)
        assert training_set.train_file is not None
        test_file = training_set.test_file
        inputs: Raw = {
            # Members are not needed for the fit and may be many.
            "training_set": training_set.model_copy(update={"members": [], "configuration_ids": []}),
            "train": artifacts.get(training_set.train_file),
            "test": None if test_file is None else artifacts.get(test_file),
            **{name: item.plan[name] for name in ("timeout", "train_errors", "memory_mb", "sparse_from")},
        }
        if "members" not in item.plan:
            return {**inputs, "stub": {"potential_id": item.key, **item.skeleton}}
        stubs = [{"potential_id": member.key, **member.skeleton} for member in item.plan["members"]]
        directory = self.settings.data_directory / "studies" / item.inputs_hash[:20]
        return {**inputs, "stubs": stubs, "directory": str(directory), "processes": item.plan["processes"]}

    @staticmethod
    def build(inputs: Raw) -> Built | list[Built]:  # type: ignore[override]  # a study is many documents
        """Fit and test."""
        if "stubs" in inputs:
            from mlipdb.derive.studies import study_of

            return study_of(
                [Potential.model_validate(stub) for stub in inputs["stubs"]],
                inputs["training_set"],
                inputs["train"],
                inputs["test"],
                Path(inputs["directory"]),
                processes=inputs["processes"],
                memory_mb=inputs["memory_mb"],
                train_errors=inputs["train_errors"],
                sparse_from=inputs["sparse_from"],
            )
        return potential_of(
            Potential.model_validate(inputs["stub"]),
            inputs["training_set"],
            inputs["train"],
            inputs["test"],
            timeout=inputs["timeout"],
            train_errors=inputs["train_errors"],
        )

    def update_targets(self, items: list[Raw]) -> None:
        """Write single fits, and each stale point of a study; then the study's sums may go."""
        for item in items:
            if "members" not in item:
                super().update_targets([item])
                continue
            rest = {key: item[key] for key in ("failure",) if key in item}
            built = item.get("built") or [None] * len(item["members"])
            results = [
                {**member, **rest, **({} if rest else {"built": one})}
                for member, one in zip(item["members"], built, strict=True)
                if member["stale"]
            ]
            super().update_targets(results)
            if not rest:
                self._forget(self.settings.data_directory / "studies" / item["inputs_hash"][:20])

    @staticmethod
    def _forget(directory: Path) -> None:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
