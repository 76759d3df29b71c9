"""A small database without any fit: silicon configurations, and documents that stand for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlipdb.artifacts import Artifacts
from mlipdb.derive import Built
from mlipdb.derive.configurations import configuration_of
from mlipdb.derive.materials import material_of
from mlipdb.derive.potentials import potential_key
from mlipdb.derive.training_sets import training_set_of
from mlipdb.ingest.add import raw_hash
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.interpret import interpret
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_data import FrequencyErrors
from mlipdb.schemas.potential import Potential
from mlipdb.schemas.task import Task, TaskSource
from mlipdb.schemas.training_set import TrainingSet
from mlipdb.settings import Recipe
from mlipdb.stores import Database

Raw = dict[str, Any]
TASKS = ("isolated-atom", "relax-diamond", "phonon-diamond-01", "rattled-diamond-00", "rattled-diamond-01")
POTENTIAL_FILES = {"gap.xml": b"<GAP_params/>\n", "gap.xml.sparseX.1": b"0.25 0.5\n"}


@dataclass(frozen=True)
class Chain:
    """Keys of one document of each kind, each made from the ones before."""

    material: str
    configurations: dict[str, str]
    phonon: str
    training_set: str
    potential: str
    benchmark: str


def calculations(records: dict[str, Raw], names: tuple[str, ...] = TASKS) -> list[Calculation]:
    """Calculations of some shipped tasks."""
    return [interpret(name, records[name], "flat") for name in names]


def material(records: dict[str, Raw], name: str = "relax-diamond") -> Material:
    """The crystal a shipped relaxation shows."""
    built = material_of(interpret(name, records[name], "flat"))
    assert built is not None
    assert isinstance(built.document, Material)
    return built.document


def configurations(
    records: dict[str, Raw], names: tuple[str, ...] = TASKS, crystal: Material | None = None
) -> list[Configuration]:
    """Configurations of some shipped tasks, matched against one crystal."""
    known = [] if crystal is None else [crystal.to_bson()]
    return [configuration_of(calculation, known) for calculation in calculations(records, names)]


_made: dict[str, tuple[Material, list[Configuration], Built]] = {}


def _parts(records: dict[str, Raw]) -> tuple[Material, list[Configuration], Built]:
    """Crystal, configurations and training set; matching takes its time, so they are made once a session."""
    digest = raw_hash({name: records[name] for name in TASKS})
    if digest not in _made:
        crystal = material(records)
        made = configurations(records, crystal=crystal)
        levels = {item.level.level_id: item.level for item in calculations(records) if len(item.atoms) > 1}
        frozen = training_set_of("full", Recipe(split={"test_fraction": 0.3}), made, [], list(levels.values()))
        _made[digest] = crystal, made, frozen
    return _made[digest]


def insert_chain(database: Database, records: dict[str, Raw]) -> Chain:
    """One document of each kind, from shipped tasks to a benchmark; nothing is fitted."""
    crystal, made, frozen = _parts(records)
    for name in TASKS:
        source = TaskSource(format="flat", path="tasks.jsonl", item=name)
        task = Task(task_id=name, source=source, raw=records[name], content_hash=raw_hash(records[name]))
        database.replace("tasks", task.to_bson())
    for calculation in calculations(records):
        database.replace("levels_of_theory", calculation.level.to_bson())
    database.replace("materials", crystal.to_bson())
    for configuration in made:
        database.replace("configurations", configuration.to_bson())
    by_task = {item.task_ids[0]: item for item in made}
    phonon = _phonon(crystal, by_task["phonon-diamond-01"])
    _store(database, frozen.files)
    assert isinstance(frozen.document, TrainingSet)
    potential = _potential(frozen.document)
    _store(database, POTENTIAL_FILES)
    benchmark = _benchmark(crystal, phonon, potential)
    for collection, document in (
        ("phonons", phonon),
        ("training_sets", frozen.document),
        ("potentials", potential),
        ("phonon_benchmarks", benchmark),
    ):
        database.replace(collection, document.to_bson())
    return Chain(
        material=crystal.material_id,
        configurations={name: item.configuration_id for name, item in by_task.items()},
        phonon=phonon.phonon_id,
        training_set=frozen.document.training_set_id,
        potential=potential.potential_id,
        benchmark=benchmark.benchmark_id,
    )


def _store(database: Database, files: Any) -> None:
    for name, data in files.items():
        Artifacts(database).put(name, data)


def _phonon(crystal: Material, displaced: Configuration) -> Phonon:
    assert displaced.displacement is not None
    assert displaced.level_id is not None
    assert displaced.supercell_matrix is not None
    assert displaced.superlattice is not None
    document = Phonon(
        phonon_id="",
        material_id=crystal.material_id,
        material_name="diamond",
        level_id=displaced.level_id,
        level_label=displaced.level_label,
        supercell_matrix=displaced.supercell_matrix,
        superlattice=displaced.superlattice,
        displacement_distance=round(displaced.displacement.distance, 4),
        configuration_ids=[displaced.configuration_id],
        task_ids=displaced.task_ids,
        max_frequency=15.0,
    )
    return document.model_copy(update={"phonon_id": make_key("ph", document.identity())})


def _potential(training_set: TrainingSet) -> Potential:
    hyperparameters = {"n_sparse": 100}
    return Potential(
        potential_id=potential_key("gap", training_set.training_set_id, hyperparameters),
        framework="gap",
        training_set_id=training_set.training_set_id,
        training_set="full",
        hyperparameters=hyperparameters,
        n_sparse=100,
        delta=1.0,
        f=0.1,
        chemsys="Si",
        elements=["Si"],
        level_id=training_set.level_id,
        files=[ArtifactRef.of(name, data) for name, data in POTENTIAL_FILES.items()],
        main_file="gap.xml",
    )


def _benchmark(crystal: Material, phonon: Phonon, potential: Potential) -> PhononBenchmark:
    document = PhononBenchmark(
        benchmark_id="",
        benchmark="phonons",
        potential_id=potential.potential_id,
        phonon_id=phonon.phonon_id,
        material_id=crystal.material_id,
        material_name="diamond",
        n_sparse=100,
        protocol_id="prt-0",
        mesh=errors(0.5),
    )
    return document.model_copy(update={"benchmark_id": make_key("bm", document.identity())})


def errors(rmse: float) -> FrequencyErrors:
    """Frequency errors of a potential that is softer by `rmse` THz at every mode."""
    return FrequencyErrors(
        rmse=rmse,
        mae=rmse,
        bias=-rmse,
        max_abs=rmse,
        wasserstein_1=rmse,
        per_branch_rmse=[rmse] * 6,
        per_q_rmse=[rmse],
        mean_difference=-rmse,
        max_difference=-rmse,
        min_difference=-rmse,
    )
