"""The Materials Project, answered by a service and a bucket on loopback ports in the shapes of mp-api 0.46."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mp_bucket import serving_bucket, write_table
from mp_server import Service, materials_project

from mlipdb.errors import UsageError
from mlipdb.ingest.add import AddReport
from mlipdb.ingest.materials_project import RemoteError, add_materials, is_material_id, parse_kinds
from mlipdb.stores import Database

pytest.importorskip("mp_api", reason="mp-api is not installed (pip install 'mlipdb[mp]')")

Raw = dict[str, Any]
KEY = "0123456789abcdef" * 2
A = 5.43
SILICON = {
    "@module": "pymatgen.core.structure",
    "@class": "Structure",
    "lattice": {"matrix": [[0, A / 2, A / 2], [A / 2, 0, A / 2], [A / 2, A / 2, 0]]},
    "sites": [
        {"species": [{"element": "Si", "occu": 1}], "abc": [0.0, 0.0, 0.0], "label": "Si"},
        {"species": [{"element": "Si", "occu": 1}], "abc": [0.25, 0.25, 0.25], "label": "Si"},
    ],
}
MATERIAL = {
    "material_id": "mp-149",
    "formula_pretty": "Si",
    "structure": SILICON,
    "deprecated": False,
    "last_updated": "2025-09-01T10:00:00Z",
    "origins": [{"name": "structure", "task_id": "mp-1", "last_updated": "2025-01-01T00:00:00Z"}],
    "run_types": {"mp-1": "r2SCAN"},
    "calc_types": {"mp-1": "r2SCAN Structure Optimization", "mp-2": "GGA Static"},
}
Take = Callable[..., AddReport]


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:1/")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def service() -> Iterator[Service]:
    with materials_project() as running:
        running.routes["materials/core"] = lambda query: (
            [MATERIAL] if query.get("material_ids") == "mp-149" and query["deprecated"] == "False" else []
        )
        yield running


@pytest.fixture
def take(database: Database, service: Service, tmp_path: Path) -> Take:
    def call(*ids: str, **options: Any) -> AddReport:
        options = {"what": ("structure",), "endpoint": service.endpoint, "wait": 0.001, **options}
        return add_materials(database, ids, tmp_path / "cache", **options)

    return call


def taken(database: Database) -> dict[str, Raw]:
    return {task["task_id"]: task for task in database.collection("tasks").find({"state": "complete"}, {"_id": 0})}


def test_a_structure(database: Database, take: Take, service: Service) -> None:
    report = take("mp-149")
    assert (report.added, report.problems) == (1, [])
    assert report.formats == {"materials_project_structure": 1}
    task = taken(database)["mp-149-structure"]
    assert task["source"]["path"] == service.endpoint
    assert task["source"]["item"] == "mp-149"
    assert task["raw"]["materials_project"] == {
        "kind": "structure",
        "material_id": "mp-149",
        "database_version": "2025.09.25",
    }
    assert task["raw"]["structure"] == SILICON
    assert (take("mp-149").unchanged, len(taken(database))) == (1, 1)


def test_ids_are_kept_as_they_were_written(database: Database, take: Take, service: Service) -> None:
    service.routes["materials/core"] = lambda query: [{**MATERIAL, "material_id": "mp-149"}]
    assert take("mp-ft").added == 1
    assert taken(database)["mp-ft-structure"]["raw"]["materials_project"]["material_id"] == "mp-ft"


def test_answers_are_kept_for_each_version_of_the_database(take: Take, service: Service, tmp_path: Path) -> None:
    take("mp-149")
    assert service.paths() == ["materials/core"]
    take("mp-149")
    assert service.paths() == ["materials/core"], "asked once"
    take("mp-149", refresh=True)
    assert len(service.paths()) == 2
    service.version = "2026.01.01"
    take("mp-149")
    assert len(service.paths()) == 3
    folders = sorted(path.name for path in (tmp_path / "cache" / "materials_project").iterdir())
    assert folders == ["2025.09.25", "2026.01.01"]


def test_a_damaged_answer_on_disk_is_asked_for_again(take: Take, service: Service, tmp_path: Path) -> None:
    take("mp-149")
    (file,) = (tmp_path / "cache").rglob("*.gz")
    file.write_bytes(b"\x1f\x8bnothing")
    assert take("mp-149").unchanged == 1
    assert len(service.paths()) == 2


def test_the_key_is_sent_and_stored_nowhere(
    database: Database, take: Take, service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    take("mp-149")
    assert {key for path, _, key in service.asked if path == "materials/core"} == {KEY}
    service.routes["materials/core"] = lambda _: (500, {"detail": f"cannot handle the key {KEY}"})
    report = take("mp-149", refresh=True)
    assert len(report.problems) == 1
    text = json.dumps(list(database.collection("tasks").find({})), default=str) + "".join(report.problems)
    assert KEY not in text
    assert all(KEY.encode() not in file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())
    captured = capfd.readouterr()
    assert KEY not in captured.out + captured.err


def test_removed_joined_and_unknown_ids(database: Database, take: Take, service: Service) -> None:
    def core(query: Raw) -> list[Raw]:
        if query.get("material_ids") == "mp-149":
            return [MATERIAL] if query["deprecated"] == "False" else []
        if query.get("material_ids") == "mp-5":
            removed = {"material_id": "mp-5", "deprecated": True, "deprecation_reasons": ["LATTICE RELAXATION"]}
            return [removed] if query["deprecated"] == "True" else []
        return [{"material_id": "mp-149"}] if query.get("task_ids") == "mp-6" else []

    service.routes["materials/core"] = core
    report = take("mp-5", "mp-6", "mp-7", "mp-149")
    assert report.added == 1
    assert report.problems == [
        "mp-5 was removed from the Materials Project (LATTICE RELAXATION); look for the formula there",
        "mp-6 is a calculation of the material mp-149; add that one",
        "the Materials Project has no material mp-7; look for the formula there",
    ]
    entries = list(database.collection("tasks").find({"state": "failed"}).sort("source.item", 1))
    assert [entry["failure"]["reason"] for entry in entries] == ["removed_id", "removed_id", "unknown_id"]
    # Once it is there, nothing tells of the failure any more.
    service.routes["materials/core"] = lambda query: [MATERIAL]
    assert take("mp-7").added == 1
    assert database.collection("tasks").count_documents({"state": "failed"}) == 2


ANSWERS = {
    401: (1, "it refused the key \\(401\\); set MP_API_KEY"),
    403: (1, "its owner may not see this \\(403\\)"),
    404: (1, "nothing at that place \\(404\\)"),
    422: (1, "does not accept that id \\(422\\)"),
    429: (5, "asks for fewer questions \\(429\\)"),
    500: (5, "does not work at the moment \\(500\\)"),
    503: (5, "does not work at the moment \\(503\\)"),
}


@pytest.mark.parametrize("status", ANSWERS)
def test_what_the_service_refuses(take: Take, service: Service, status: int) -> None:
    attempts, words = ANSWERS[status]
    service.routes["materials/core"] = lambda _: (status, {"detail": "no"})
    (problem,) = take("mp-149").problems
    assert problem.startswith("the Materials Project was asked for the material mp-149: ")
    assert "\n" not in problem
    assert re.search(words, problem), problem
    assert len(service.paths()) == attempts


def test_a_failure_that_passes_is_not_told(take: Take, service: Service) -> None:
    answers: list[Any] = [(503, "busy"), (429, "slow"), (502, "<html>"), [MATERIAL]]
    service.routes["materials/core"] = lambda _: answers.pop(0)
    report = take("mp-149")
    assert (report.added, report.problems, answers) == (1, [], [])


@pytest.mark.parametrize("body", ["<html>maintenance</html>", '{"data": ', '{"meta": {}}', '"text"', "[1, 2]"])
def test_answers_that_are_none(take: Take, service: Service, body: str) -> None:
    service.routes["materials/core"] = lambda _: (200, body)
    (problem,) = take("mp-149").problems
    assert "its answer cannot be used" in problem
    assert "\n" not in problem


def test_a_structure_that_is_missing(take: Take, service: Service) -> None:
    service.routes["materials/core"] = lambda _: [{**MATERIAL, "structure": None}]
    assert take("mp-149").problems == ["mp-149: the answer of the Materials Project has no structure"]


def test_no_service_at_all(take: Take) -> None:
    with pytest.raises(RemoteError, match=r"no connection .*; is the network there\?"):
        take("mp-149", endpoint="http://127.0.0.1:1/")


def test_an_answer_that_takes_too_long(take: Take, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests
    from requests.adapters import HTTPAdapter

    def late(self: Any, request: Any, **kwargs: Any) -> Any:
        assert kwargs["timeout"], "every question has an end"
        raise requests.ReadTimeout("Read timed out.")

    monkeypatch.setattr(HTTPAdapter, "send", late)
    with pytest.raises(RemoteError, match="no answer within 30 s; is the network there"):
        take("mp-149")


def test_no_key_or_one_of_the_wrong_length(take: Take, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", "short")
    with pytest.raises(UsageError, match="has 5 characters; a key of the Materials Project has 32"):
        take("mp-149")
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(UsageError, match="needs a key; set MP_API_KEY"):
        take("mp-149")
    assert service.asked == []


def test_without_the_package_the_extra_is_named(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(UsageError, match=r"pip install 'mlipdb\[mp\]'"):
        take("mp-149")


def test_tasks_that_are_offered_and_one_that_is_not(database: Database, take: Take, service: Service) -> None:
    task = {
        "task_id": "mp-1",
        "calcs_reversed": None,
        "calc_type": "r2SCAN Structure Optimization",
        "structure": SILICON,
        "input": {"parameters": {"GGA": "PE"}, "incar": {"ENCUT": 520}},
        "output": {"structure": SILICON, "energy": -10.8, "forces": [[0, 0, 0], [0, 0, 0]]},
        "last_updated": "2025-01-01T00:00:00Z",
    }
    service.routes["materials/tasks"] = lambda query: [task] if "mp-1" in query["task_ids"].split(",") else []
    report = take("mp-149", what=("tasks",))
    assert report.problems[-1] == "the Materials Project does not offer the task mp-2"
    stored = database.collection("tasks").find_one({"source.item": "mp-1"})
    assert stored is not None


@pytest.fixture(scope="module")
def copper() -> Raw:
    """Force constants of copper by phonopy from EMT, in phonopy's own order, and the highest frequency on a mesh."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from phonopy import Phonopy

    from mlipdb.physics.crystals import to_ase, to_phonopy

    cell = bulk("Cu", "fcc", a=3.59)
    phonopy = Phonopy(to_phonopy(cell), [[2, 0, 0], [0, 2, 0], [0, 0, 2]], primitive_matrix="auto")
    phonopy.generate_displacements(distance=0.01)
    forces = []
    for supercell in phonopy.supercells_with_displacements:
        atoms = to_ase(supercell)
        atoms.calc = EMT()
        forces.append(atoms.get_forces())
    phonopy.forces = forces
    phonopy.produce_force_constants(calculate_full_force_constants=True)
    phonopy.symmetrize_force_constants()
    phonopy.run_mesh(30.0, is_gamma_center=True)
    structure = {
        "lattice": {"matrix": cell.cell.array.tolist()},
        "sites": [{"species": [{"element": "Cu", "occu": 1}], "abc": [0.0, 0.0, 0.0]}],
    }
    return {
        "structure": structure,
        "supercell_matrix": np.array(phonopy.supercell_matrix).tolist(),
        "force_constants": np.array(phonopy.force_constants).tolist(),
        "highest": float(np.max(phonopy.mesh.frequencies)),
    }


@pytest.fixture
def phonons(service: Service, copper: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service with copper mp-30: phonons by pheasy with force constants, by dfpt with bands alone."""
    material = {**MATERIAL, "material_id": "mp-30", "structure": copper["structure"], "formula_pretty": "Cu"}
    service.routes["materials/core"] = lambda _: [material]
    ids = {"pheasy": ["aaaaaabe"], "dfpt": ["aaaaaabf"]}
    service.routes["materials/summary"] = lambda _: [{"material_id": "mp-30", "phonon_IDs": ids}]

    def documents(query: Raw) -> list[Raw]:
        shared = {"structure": copper["structure"], "last_updated": "2025-05-05T00:00:00Z"}
        if query["phonon_method"] == "pheasy":
            matrix = copper["supercell_matrix"]
            return [
                {
                    "identifier": "aaaaaabe",
                    "phonon_method": "pheasy",
                    "code": "vasp",
                    "supercell_matrix": matrix,
                    **shared,
                }
            ]
        return [{"identifier": "aaaaaabf", "phonon_method": "dfpt", "code": "abinit", **shared}]

    service.routes["materials/phonon"] = documents
    points = [[0.0, 0.0, 0.1 * i] for i in range(6)] + [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.0, 0.0, 0.0]]
    bands = {
        "qpoints": points,
        "frequencies": [[0.1 * band + i for i in range(9)] for band in (2, 1, 0)],
        "reciprocal_lattice": (
            2 * np.pi * np.linalg.inv(np.array(copper["structure"]["lattice"]["matrix"])).T
        ).tolist(),
        "labels_dict": {"\\Gamma": [0.0, 0.0, 0.0], "X": [0.0, 0.0, 0.5], "L": [0.5, 0.5, 0.5]},
        "has_nac": False,
        "path_convention": "setyawan_curtarolo",
    }
    rows = [{"identifier": "aaaaaabf", "phonon_method": "dfpt", "path_convention": "setyawan_curtarolo"}]
    folder = tmp_path / "buckets"
    write_table(folder, "phonon/electronic-structure/bandstructures", [{**rows[0], "bandstructure": bands}])
    dos = {"frequencies": [0.0, 1.0, 2.0], "densities": [0.0, 1.5, 1.5]}
    write_table(folder, "phonon/electronic-structure/dos", [{**rows[0], "dos": dos}])
    constants = {"identifier": "aaaaaabe", "phonon_method": "pheasy", "force_constants": copper["force_constants"]}
    write_table(folder, "phonon/force-constants", [constants])
    with serving_bucket(folder) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield service


@pytest.mark.usefixtures("phonons")
def test_phonons_of_each_method_become_documents(bench: Any, copper: Raw, take: Take) -> None:
    bench.settle("phonons: {mesh_length: 20.0, path_density: 30.0}")
    report = take("mp-30", what=("structure", "phonons"))
    assert report.problems == []
    assert sorted(taken(bench.database)) == ["mp-30-dfpt-aaaaaabf", "mp-30-pheasy-aaaaaabe", "mp-30-structure"]
    bench.build("materials", "configurations", "phonons")
    (material,) = bench.docs("materials")
    assert material["foreign_ids"] == ["mp-30"]
    assert bench.docs("configurations") == [], "nothing to train on"
    found = {phonon["method"]: phonon for phonon in bench.docs("phonons")}
    assert {method: phonon["state"] for method, phonon in found.items()} == {"dfpt": "incomplete", "pheasy": "complete"}
    assert {phonon["origin"] for phonon in found.values()} == {"materials_project"}
    assert {phonon["material_id"] for phonon in found.values()} == {material["material_id"]}
    assert found["pheasy"]["max_frequency"] == pytest.approx(copper["highest"], abs=0.05)
    assert found["pheasy"]["min_frequency"] > -0.05
    assert found["pheasy"]["phonopy_file"]["name"] == "phonopy_params.yaml"
    segments = found["dfpt"]["path"]["segments"]
    assert [(part["start"], part["end"], len(part["qpoints"])) for part in segments] == [
        ("GAMMA", "X", 6),
        ("L", "GAMMA", 3),
    ]
    assert segments[1]["distances"][0] == segments[0]["distances"][-1]
    assert segments[0]["frequencies"][0] == pytest.approx([0.0, 0.1, 0.2])
    assert "the Materials Project offers none" in found["dfpt"]["missing"][0]
    assert found["dfpt"]["level_label"].startswith("PBEsol, ABINIT")
    # Nothing is built again, and nothing is withdrawn.
    bench.build("materials", "configurations", "phonons")
    assert {phonon["method"]: phonon["state"] for phonon in bench.docs("phonons")} == {
        "dfpt": "incomplete",
        "pheasy": "complete",
    }


def test_materials_without_phonons(take: Take, service: Service) -> None:
    for answer in ([], [{"material_id": "mp-149", "phonon_IDs": None}], [{"material_id": "mp-149", "phonon_IDs": {}}]):
        service.routes["materials/summary"] = lambda _, answer=answer: answer
        report = take("mp-149", what=("phonons",), refresh=True)
        assert report.problems == ["the Materials Project offers no phonons of mp-149"]


@pytest.mark.parametrize(
    ("text", "right"), [("mp-149", True), ("mvc-12", True), ("mp-ft", True), ("mp-149.json", False), ("./mp-1", False)]
)
def test_ids_are_told_from_paths(text: str, right: bool) -> None:
    assert is_material_id(text) == right


def test_what_can_be_asked_for() -> None:
    assert parse_kinds("tasks, structure") == ("structure", "tasks")
    for wrong in ("", "bands", "structure,bands"):
        with pytest.raises(UsageError, match="structure, phonons, tasks"):
            parse_kinds(wrong)
