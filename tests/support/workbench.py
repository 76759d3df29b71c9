"""A project on a fresh database, with the shipped silicon tasks at hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mlipdb.ingest.add import AddReport, add_paths
from mlipdb.runner import Options, RunReport, run_builders
from mlipdb.settings import Project, load_project
from mlipdb.stores import Database

Raw = dict[str, Any]

#: Fits in a second, of no accuracy: what is tested is the way to a potential.
SMALL_FIT = """
fits:
  gap:
    train_errors: false
    hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}
    grid: {n_sparse: [10]}
benchmarks:
  phonons: {}
phonons: {mesh_length: 20.0, path_density: 30.0}
"""
RECIPE = """
training_sets:
  full: {split: {test_fraction: 0.2, seed: 1}}
"""
DIAMOND = (
    "isolated-atom",
    "relax-diamond",
    "phonon-diamond-01",
    *(f"rattled-diamond-{number:02d}" for number in range(5)),
)


class Workbench:
    """One project: write its settings, add tasks, build, look."""

    small_fit = SMALL_FIT
    recipe = RECIPE
    diamond = DIAMOND

    def __init__(self, database: Database, directory: Path, records: dict[str, Raw]) -> None:
        self.database = database
        self.directory = directory
        self.records = records
        self._number = 0
        self.settle(RECIPE)

    @property
    def project(self) -> Project:
        return load_project(self.directory)

    def settle(self, text: str) -> None:
        """Write mlipdb.yaml."""
        address = self.database._address
        (self.directory / "mlipdb.yaml").write_text(f"database: {address}\nworkers: 2\n{text}")

    def record(self, task_id: str, /, **changes: Any) -> Raw:
        """A shipped task, changed."""
        return {**copy.deepcopy(self.records[task_id]), **changes}

    def add(self, items: Iterable[str | Raw]) -> AddReport:
        """Take tasks in."""
        self._number += 1
        path = self.directory / f"tasks-{self._number}.jsonl"
        records = [self.records[item] if isinstance(item, str) else item for item in items]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return add_paths(self.database, [path], replace=True)

    def build(self, *names: str, **options: Any) -> dict[str, RunReport]:
        """Run builders."""
        reports = run_builders(self.project, self.database, names, options=Options(**options))
        return {report.builder: report for report in reports}

    def docs(self, collection: str, **query: Any) -> list[Raw]:
        """Documents, by key."""
        found = self.database.collection(collection).find(query, {"_id": 0})
        return sorted(found, key=lambda doc: json.dumps(doc, default=str))


@pytest.fixture
def bench(database: Database, tmp_path: Path, silicon_records: list[Raw]) -> Workbench:
    """A workbench with an empty database."""
    return Workbench(database, tmp_path, {record["task_id"]: record for record in silicon_records})
