"""Potentials of a study evaluated together: the numbers, the failures and the check of separate runs."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import configurations, material

from mlipdb.derive import Built
from mlipdb.derive import shared_benchmarks as shared
from mlipdb.derive.phonon_benchmarks import phonon_benchmark_of
from mlipdb.derive.phonons import phonon_of
from mlipdb.derive.potentials import file_bytes
from mlipdb.derive.shared_benchmarks import shared_benchmarks_of, spot_order
from mlipdb.errors import CalculatorError
from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap_grid import Potentials, StudyOptions, run_study
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.potential import Potential

Raw = dict[str, Any]
PROTOCOL = PhononProtocol(mesh_length=15.0, path_density=20.0, relax="none")
POINTS = [(n_sparse, delta) for n_sparse in (8, 16) for delta in (0.5, 2.0)]


@dataclass
class Group:
    """Inputs of a group of benchmarks."""

    stubs: list[PhononBenchmark]
    potentials: list[Potential]
    files: list[dict[str, bytes]]
    phonon: Phonon

    def run(self, protocol: PhononProtocol = PROTOCOL) -> list[Built | Exception]:
        return shared_benchmarks_of(self.stubs, self.potentials, self.files, self.phonon, protocol)

    def single(self, place: int) -> Built:
        return phonon_benchmark_of(self.stubs[place], self.potentials[place], self.files[place], self.phonon, PROTOCOL)

    def tamper(self, place: int, old: bytes, new: bytes) -> None:
        """Change the XML of one potential."""
        xml = self.files[place]["gap.xml"]
        assert old in xml
        self.files[place] = {**self.files[place], "gap.xml": xml.replace(old, new, 1)}
        # Potentials kept loaded are found by their key.
        self.potentials[place] = self.potentials[place].model_copy(update={"potential_id": f"tampered-{new.hex()}"})

    def alpha(self, place: int) -> bytes:
        """The first weight of a potential as it stands in its XML."""
        return self.files[place]["gap.xml"].split(b' alpha="', 1)[1].split(b'"', 1)[0]


def _frame(task: Raw) -> Frame:
    sites = task["structure"]["sites"]
    return Frame(
        configuration_id=task["task_id"],
        numbers=np.full(len(sites), 14),
        cell=task["structure"]["lattice"]["matrix"],
        positions=np.array([site["xyz"] for site in sites]),
        energy=task["energy"],
        forces=task["forces"],
        stress=task["stress"],
        config_type="isolated_atom" if len(sites) == 1 else "rattled",
    )


@pytest.fixture(scope="module")
def made(silicon_pickle: bytes, tmp_path_factory: pytest.TempPathFactory) -> Group:
    """Four potentials of one small study, and DFT phonons of diamond."""
    silicon = {task["task_id"]: task for task in pickle.loads(silicon_pickle)}
    frames = [_frame(silicon[name]) for name in ("isolated-atom", "relax-diamond", "rattled-diamond-00")]
    data = FitInput(write_extxyz(frames), frames, {"Si": frames[0].energy})
    soap = {"l_max": 3, "n_max": 4, "cutoff": 4.0}
    points = [
        GapHyperparameters.model_validate({"soap": {**soap, "n_sparse": n_sparse, "delta": delta}})
        for n_sparse, delta in POINTS
    ]
    options = StudyOptions(processes=1, threads=1)
    fits = run_study(data, points, tmp_path_factory.mktemp("study"), options=options).fits
    crystal = material(silicon)
    displaced = configurations(silicon, ("phonon-diamond-01",), crystal)
    first = displaced[0]
    stub = Phonon(
        phonon_id="ph-0",
        material_id=crystal.material_id,
        level_id=first.level_id,
        supercell_matrix=first.supercell_matrix,
        superlattice=first.superlattice,
    )
    phonon = phonon_of(stub, crystal, displaced, None, PROTOCOL).document
    assert isinstance(phonon, Phonon)
    potentials = [
        Potential(potential_id=f"pot-{number}", framework="gap", engine="grid", main_file="gap.xml")
        for number in range(len(fits))
    ]
    stubs = [
        PhononBenchmark(
            benchmark_id=f"bm-{number}",
            benchmark="phonons",
            potential_id=f"pot-{number}",
            phonon_id="ph-0",
            material_id=crystal.material_id,
        )
        for number in range(len(fits))
    ]
    return Group(stubs, potentials, [file_bytes(fit) for fit in fits], phonon)


@pytest.fixture
def group(made: Group) -> Group:
    """The same, to be changed by a test."""
    return Group(list(made.stubs), list(made.potentials), [dict(files) for files in made.files], made.phonon)


def document(result: Built | Exception) -> PhononBenchmark:
    assert isinstance(result, Built)
    assert isinstance(result.document, PhononBenchmark)
    return result.document


def checked(group: Group) -> int:
    """The place that is compared with quippy first."""
    order, _ = spot_order([stub.benchmark_id for stub in group.stubs])
    return order[0]


def unchecked(group: Group) -> int:
    """A place that is not compared with quippy."""
    order, wanted = spot_order([stub.benchmark_id for stub in group.stubs])
    assert wanted < len(order)
    return order[-1]


def test_shared_and_single_runs_agree(group: Group) -> None:
    results = group.run()
    for place, result in enumerate(results):
        one, other = document(result), document(group.single(place))
        assert one.benchmark_id == other.benchmark_id == f"bm-{place}"
        assert one.state == other.state == "complete"
        for name in ("mesh", "path", "structure", "thermal", "dos", "stability"):
            ours, theirs = getattr(one, name).model_dump(), getattr(other, name).model_dump()
            # The acoustic modes at Gamma, of which each is the root of a rounding error, are among them.
            assert flat(ours) == pytest.approx(flat(theirs), rel=1e-8, abs=1e-5)
        assert one.mesh is not None
        assert other.mesh is not None
        assert one.mesh.rmse == pytest.approx(other.mesh.rmse, abs=1e-9)
        assert one.mesh.bias == pytest.approx(other.mesh.bias, abs=1e-9)
        assert one.max_frequency == pytest.approx(other.max_frequency, abs=1e-9)
        assert one.relaxed_unitcell == other.relaxed_unitcell
        assert isinstance(result, Built)
        assert one.phonopy_file is not None
        assert result.files.keys() == {one.phonopy_file.name}
        assert one.wall_time_s is not None
        assert one.wall_time_s > 0
    # Four potentials, four results.
    assert len({document(result).max_frequency for result in results}) == len(POINTS)


def flat(value: Any) -> list[float]:
    """All numbers of a document's part, in order."""
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in flat(item)]
    return [] if value is None or isinstance(value, str) else [float(value)]


def test_a_stored_potential_that_is_another_fails_all(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored and what was evaluated differ by one weight, as after an error in our evaluation."""
    place = checked(group)
    predict = Potentials.predict

    def wrong(self: Potentials, *args: Any, **kwargs: Any) -> Any:
        weights = [weights.copy() for weights in self.weights]
        weights[0][0, place] *= 1 + 1e-5
        return predict(Potentials(self.terms, self.sparse, weights, self.isolated_atom_energies), *args, **kwargs)

    monkeypatch.setattr(Potentials, "predict", wrong)
    with pytest.raises(CalculatorError, match=f"{group.potentials[place].potential_id} that differ by") as caught:
        group.run()
    assert caught.value.reason == "disagreement"


def test_a_potential_that_gives_no_numbers_fails_alone(group: Group) -> None:
    """Weights of 1e308 are finite, what they give is not."""
    for place in (checked(group), unchecked(group)):
        group.tamper(place, group.alpha(place), b"1.5e308")
    results = group.run()
    for place, result in enumerate(results):
        found = document(result)
        if place in (checked(group), unchecked(group)):
            assert found.state == "failed"
            assert found.failure is not None
            assert found.failure.reason == "not_finite"
            assert found.mesh is None
        else:
            assert found.state == "complete"
            assert found.mesh is not None
            alone = document(group.single(place)).mesh
            assert alone is not None
            assert found.mesh.rmse == pytest.approx(alone.rmse, abs=1e-9)


def test_a_potential_that_cannot_be_read_fails_alone_and_as_it_would_by_itself(group: Group) -> None:
    group.tamper(1, group.alpha(1), b"nan")
    results = group.run()
    with pytest.raises(CalculatorError) as alone:
        group.single(1)
    assert isinstance(results[1], CalculatorError)
    assert (results[1].reason, results[1].message) == (alone.value.reason, alone.value.message)
    assert results[1].reason == "not_finite"
    assert [document(results[place]).state for place in (0, 2, 3)] == ["complete"] * 3


def test_what_quippy_cannot_load_is_no_check(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails by itself, and the next one is compared in its place."""
    first = checked(group)
    load, loaded = shared.calculator_from_files, []

    def refuses(framework: str, files: Any, main_file: str, key: str, *, trust: bool) -> Any:
        loaded.append(key)
        if key == group.potentials[first].potential_id:
            raise CalculatorError("quippy cannot load it", reason="load_failed")
        return load(framework, files, main_file, key, trust=trust)

    monkeypatch.setattr(shared, "calculator_from_files", refuses)
    results = group.run()
    assert isinstance(results[first], CalculatorError)
    assert sum(isinstance(result, Built) for result in results) == len(POINTS) - 1
    order, wanted = spot_order([stub.benchmark_id for stub in group.stubs])
    assert loaded == [group.potentials[place].potential_id for place in order[: wanted + 1]]


def test_one_wild_potential_does_not_end_the_others(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = shared.FixedCell.result_from_forces
    calls: list[int] = []

    def fails_once(self: Any, forces: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return measure(self, forces)

    monkeypatch.setattr(shared.FixedCell, "result_from_forces", fails_once)
    results = group.run()
    assert [isinstance(result, np.linalg.LinAlgError) for result in results] == [False, True, False, False]


def test_what_cannot_be_shared_is_told(group: Group) -> None:
    with pytest.raises(CalculatorError, match="every potential has a cell of its own") as caught:
        group.run(PROTOCOL.model_copy(update={"relax": "cell"}))
    assert caught.value.reason == "cannot_share"
    group.tamper(2, b"cutoff=4.0", b"cutoff=4.1")
    with pytest.raises(CalculatorError, match="differ in descriptors or side files") as caught:
        group.run()
    assert caught.value.reason == "cannot_share"
    (side,) = (name for name in group.files[0] if name != "gap.xml")
    group.files[3] = {**group.files[3], side: b"0.0\n"}
    with pytest.raises(CalculatorError, match=f"side files named {side} differ") as caught:
        group.run()
    assert caught.value.reason == "cannot_share"


def test_damage_that_nothing_expected_is_for_separate_runs(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.tamper(0, b" signal_variance=", b" variance=")
    with pytest.raises(CalculatorError, match="4 potentials cannot be evaluated together: KeyError") as caught:
        group.run()
    assert caught.value.reason == "cannot_share"


def test_a_benchmark_is_checked_whatever_stands_beside_it() -> None:
    keys = [f"bm-{number:020x}" for number in range(3000)]
    order, wanted = spot_order(keys)
    chosen = {keys[place] for place in order[:wanted]}
    assert 200 < wanted < 400
    assert sorted(order) == list(range(3000))
    for part in (keys[::2], keys[1000:1030], list(reversed(keys))):
        order, wanted = spot_order(part)
        found = {part[place] for place in order[:wanted]}
        assert found == chosen & set(part) or (wanted == 1 and not chosen & set(part))
    # One at least, the same in any order.
    rest = [key for key in keys if key not in chosen][:5]
    picked = {part[spot_order(part)[0][0]] for part in (rest, rest[::-1])}
    assert len(picked) == 1
    assert spot_order(rest)[1] == 1
    assert spot_order([]) == ([], 0)


def test_no_file_is_left_behind(group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    group.run()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mlipdb-shared-")] == []
