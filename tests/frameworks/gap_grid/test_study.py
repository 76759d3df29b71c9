"""Studies with real descriptors, compared with the real gap_fit on the same sparse points."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gap_reference import reference_fit

from mlipdb.errors import FitError
from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_grid import StudyOptions, StudyPoint, StudyResult, checks, load_potentials, run_study
from mlipdb.frameworks.gap_grid import study as study_module
from mlipdb.frameworks.gap_grid.solve import PointSystem, Solution
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.frameworks.gap_xml import check_files, normalised_xml_hash
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import Prediction
from mlipdb.physics.sigmas import atomwise_force_sigmas
from mlipdb.units import stress_from_vasp_kb

LICL = Path(__file__).resolve().parents[4] / "shared" / "real" / "autoplex-licl" / "tasks.jsonl.gz"
ALONE = StudyOptions(processes=1, threads=1, checkpoint_s=0.0)
MakeInput = Callable[[list[Frame]], FitInput]
MakePoint = Callable[..., StudyPoint]


def assert_agree(
    frames: list[Frame], first: list[Prediction], second: list[Prediction], *, energy: float, force: float
) -> None:
    """Energies and virials in eV/atom, forces in eV/Angstrom."""
    for frame, one, other in zip(frames, first, second, strict=True):
        assert abs(one.energy - other.energy) / frame.n_atoms < energy
        assert np.max(np.abs(one.forces - other.forces)) < force
        assert one.stress is not None
        assert other.stress is not None
        assert np.max(np.abs(one.stress - other.stress)) * frame.volume / frame.n_atoms < force


def study_files(result: StudyResult) -> list[str]:
    return [fit.details["study_file"] for fit in result.fits]


def contents(directory: Path, result: StudyResult) -> list[bytes]:
    return [(directory / name).read_bytes() for name in study_files(result)]


@pytest.mark.parametrize("index", range(6))
def test_gap_fit_predicts_the_same(
    study: tuple[Path, StudyResult],
    study_points: list[StudyPoint],
    study_input: FitInput,
    held_out: list[Frame],
    tmp_path: Path,
    index: int,
) -> None:
    directory, result = study
    (name,) = study_files(result)[index : index + 1]
    energies = dict(study_input.isolated_atom_energies)
    point = study_points[index]
    reference = reference_fit(list(study_input.frames), point, energies, directory / name, tmp_path / "reference")
    predicted = load_potentials(directory, [name]).predict(held_out)[0]
    by_gap_fit = evaluate(GAP().calculator(reference.parent, reference.name, trust=True), held_out)
    assert_agree(held_out, predicted, by_gap_fit, energy=1e-8, force=1e-7)
    # The descriptor is written as gap_fit writes it, but for where the sparse points came from.
    written = check_files(directory, name)[0].terms[0].descriptor.replace("sparse_method=cur_points ", "")
    by_gap_fit_text = check_files(reference.parent, reference.name)[0].terms[0].descriptor
    assert by_gap_fit_text.replace("sparse_method=file sparse_file=sparse_14.dat ", "") == written


def test_saved_files_give_the_same_through_quippy(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    directory, result = study
    predictions = load_potentials(directory, study_files(result)).predict(held_out)
    for index, (name, predicted) in enumerate(zip(study_files(result), predictions, strict=True)):
        # The first is loaded in a process of its own before; the others are written alike.
        by_quippy = evaluate(GAP().calculator(directory, name, trust=index > 0), held_out)
        assert_agree(held_out, predicted, by_quippy, energy=1e-9, force=1e-9)


def test_files_under_their_names_are_a_potential(
    study: tuple[Path, StudyResult], held_out: list[Frame], tmp_path: Path
) -> None:
    directory, result = study
    for name, source in result.fits[1].files.items():
        assert isinstance(source, Path)
        shutil.copy(source, tmp_path / name)
    calculator = GAP().calculator(tmp_path, result.fits[1].main_file, trust=True)
    predicted = load_potentials(directory, study_files(result)).predict(held_out[:1])[1]
    assert_agree(held_out[:1], predicted, evaluate(calculator, held_out[:1]), energy=1e-9, force=1e-9)


def test_result(study: tuple[Path, StudyResult], study_points: list[StudyPoint], study_frames: list[Frame]) -> None:
    directory, result = study
    sides = {name for fit in result.fits for name in fit.files if name != "gap.xml"}
    assert len(sides) == 1
    assert len(set(study_files(result))) == len(study_points)
    atoms = {frame.configuration_id: frame.n_atoms for frame in study_frames}
    nested: list[list[Any]] = []
    for point, fit in zip(study_points, result.fits, strict=True):
        json.dumps(fit.details)
        (descriptor,) = fit.details["descriptors"]
        assert descriptor["n_sparse"] == point.soap.n_sparse == len(descriptor["sparse_atoms"])
        named = [[descriptor["sparse_configurations"][c], atom] for c, atom in descriptor["sparse_atoms"]]
        assert all(atom < atoms[name] for name, atom in named)
        nested.append(named)
        main = fit.files[fit.main_file]
        assert isinstance(main, Path)
        assert fit.details["normalised_xml_hash"] == normalised_xml_hash(main.read_bytes())
        assert fit.details["condition_number"] > 1
        assert fit.cpu_time_s is not None
        assert fit.cpu_time_s > 0
        assert fit.versions["quippy-ase"]
    longest = max(nested, key=len)
    assert all(longest[: len(points)] == points for points in nested)
    n_atoms = sum(frame.n_atoms for frame in study_frames)
    n_virials = 6 * (len(study_frames) - 1)
    whole = {"energies": len(study_frames), "forces": 3 * n_atoms, "virials": n_virials}
    assert result.fits[0].details["n_targets"] == result.fits[2].details["n_targets"] == whole
    assert result.fits[4].details["n_targets"]["energies"] == 5
    assert result.fits[0].details["n_targets"]["forces"] > result.fits[4].details["n_targets"]["forces"]
    excluded = result.fits[4].details["descriptors"][0]["n_sparse_of_excluded_config_types"]
    assert excluded > 0
    assert result.shared["sparse_from"] == "any"
    assert result.warnings == []
    assert {path.name for path in directory.iterdir()} == {*study_files(result), *sides, "blocks", "study.json"}


def test_environments_of_excluded_config_types_can_be_left_out(
    study_input: FitInput, make_point: MakePoint, tmp_path: Path
) -> None:
    points = [make_point(10), make_point(10, config_types={"rattled"})]
    result = run_study(study_input, points, tmp_path, options=replace(ALONE, sparse_from="every"))
    assert result.shared["sparse_config_types"] == ["rattled"]
    assert result.fits[1].details["descriptors"][0]["n_sparse_of_excluded_config_types"] == 0
    apart = [make_point(5, config_types={"rattled"}), make_point(5, config_types={"bulk"})]
    with pytest.raises(FitError, match="sparse_from=any"):
        run_study(study_input, apart, tmp_path, options=replace(ALONE, sparse_from="every"))


def test_same_input_same_bytes(
    study: tuple[Path, StudyResult], study_points: list[StudyPoint], study_input: FitInput, tmp_path: Path
) -> None:
    again = run_study(study_input, study_points, tmp_path, options=ALONE)
    assert contents(tmp_path, again) == contents(*study)


def test_workers_give_the_same(
    study: tuple[Path, StudyResult],
    study_points: list[StudyPoint],
    study_input: FitInput,
    held_out: list[Frame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlipdb.frameworks.gap_grid.pool.SMALL", 0)
    options = StudyOptions(processes=2, threads=2)
    seen: list[tuple[str, int, int]] = []
    result = run_study(study_input, study_points, tmp_path, options=options, progress=lambda *step: seen.append(step))
    assert contents(tmp_path, result) == contents(*study)
    assert result.shared["assembly"]["worker_peak_memory_mb"] > 10
    n_frames, n_points = len(study_input.frames), len(study_points)
    last = {phase: (done, total) for phase, done, total in seen}
    assert last == {
        "sparse points": (n_frames, n_frames),
        "kernel rows": (n_frames, n_frames),
        "solve": (n_points, n_points),
    }
    potentials = load_potentials(tmp_path, study_files(result))
    alone, pooled = potentials.predict(held_out), potentials.predict(held_out, processes=2)
    for one, other in zip(alone, pooled, strict=True):
        assert_agree(held_out, one, other, energy=1e-13, force=1e-12)


class Interrupted(Exception):
    """Stands for whatever ends a study."""


def test_interrupted_study_goes_on(
    study: tuple[Path, StudyResult],
    study_points: list[StudyPoint],
    study_input: FitInput,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "MAX_BLOCK_ROWS", 60)

    def stop_at(wanted: tuple[str, int]) -> Callable[[str, int, int], None]:
        def progress(phase: str, done: int, total: int) -> None:
            if (phase, done) == wanted:
                raise Interrupted

        return progress

    for wanted in (("sparse points", 3), ("kernel rows", 3), ("kernel rows", 5), ("solve", 2)):
        with pytest.raises(Interrupted):
            run_study(study_input, study_points, tmp_path, options=ALONE, progress=stop_at(wanted))
    seen: list[tuple[str, int]] = []
    solved: list[int] = []

    class Counted(study_module.Solver):
        def solve(self, point: PointSystem) -> Solution:
            solved.append(1)
            return super().solve(point)

    monkeypatch.setattr(study_module, "Solver", Counted)
    result = run_study(
        study_input, study_points, tmp_path, options=ALONE, progress=lambda phase, done, _: seen.append((phase, done))
    )
    assert {phase for phase, _ in seen} == {"kernel rows", "solve"}
    # Every config type reports once that it is finished already, and no block more.
    assert len([phase for phase, _ in seen if phase == "kernel rows"]) == len(
        {frame.config_type for frame in study_input.frames}
    )
    assert len(solved) == len(study_points) - 2
    predictions = load_potentials(tmp_path, study_files(result)).predict(study_input.frames[:3])
    whole = load_potentials(study[0], study_files(study[1])).predict(study_input.frames[:3])
    for one, other in zip(predictions, whole, strict=True):
        np.testing.assert_allclose([p.energy for p in one], [p.energy for p in other], atol=1e-7)


SCRIPT = """
import os, pickle, signal, sys
from pathlib import Path
from mlipdb.frameworks.gap_grid import StudyOptions, run_study

def progress(phase, done, total):
    if (phase, done) == ("kernel rows", 3):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    data, points = pickle.loads(Path(sys.argv[1]).read_bytes())
    run_study(data, points, Path(sys.argv[2]), options=StudyOptions(1, 1, checkpoint_s=0), progress=progress)
"""


def test_killed_study_gives_the_same_bytes(
    study: tuple[Path, StudyResult], study_points: list[StudyPoint], study_input: FitInput, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (tmp_path / "run.py").write_text(SCRIPT)
    (tmp_path / "input.pickle").write_bytes(pickle.dumps((study_input, study_points)))
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "input.pickle"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    blocks = sorted((folder / "blocks").iterdir())
    assert blocks
    seen: list[int] = []

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "kernel rows":
            seen.append(done)

    result = run_study(study_input, study_points, folder, options=ALONE, progress=progress)
    assert seen[0] > 1
    assert contents(folder, result) == contents(*study)


def test_damaged_intermediate_files_are_made_anew(
    study: tuple[Path, StudyResult], study_points: list[StudyPoint], study_input: FitInput, tmp_path: Path
) -> None:
    shutil.copytree(study[0], tmp_path / "study")
    folder = tmp_path / "study"
    for path in (folder / "blocks").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    first = folder / study_files(study[1])[0]
    first.write_bytes(first.read_bytes()[:-10])
    result = run_study(study_input, study_points, folder, options=ALONE)
    assert contents(folder, result) == contents(*study)
    (folder / "study.json").write_text("{")
    assert contents(folder, run_study(study_input, study_points, folder, options=ALONE)) == contents(*study)


def test_another_study_in_the_same_folder_begins_anew(
    study_input: FitInput, make_point: MakePoint, tmp_path: Path
) -> None:
    run_study(study_input, [make_point(10)], tmp_path, options=ALONE)
    seen: list[str] = []
    other = [make_point(10, soap={"cutoff": 4.0})]
    run_study(study_input, other, tmp_path, options=ALONE, progress=lambda phase, *_: seen.append(phase))
    assert "sparse points" in seen


def test_force_sigmas_of_configurations(
    study_frames: list[Frame], make_input: MakeInput, make_point: MakePoint, held_out: list[Frame], tmp_path: Path
) -> None:
    """Some configurations bring per-atom sigmas: f replaces these alone; without f they are taken as they are."""
    frames = [
        replace(frame, force_sigmas=atomwise_force_sigmas(frame.forces, 0.2, 0.1))
        if frame.config_type == "bulk"
        else frame
        for frame in study_frames
    ]
    frames[1] = replace(frames[1], force_sigmas=np.linspace(0.02, 0.2, frames[1].n_atoms))
    data = make_input(frames)
    points = [make_point(20), make_point(20, f=0.05, floor=0.02), make_point(20, delta=2.0, f=0.4, floor=0.3)]
    result = run_study(data, points, tmp_path, options=ALONE)
    predictions = load_potentials(tmp_path, study_files(result)).predict(held_out)
    for index, (point, name) in enumerate(zip(points, study_files(result), strict=True)):
        energies = dict(data.isolated_atom_energies)
        reference = reference_fit(frames, point, energies, tmp_path / name, tmp_path / f"reference{index}")
        by_gap_fit = evaluate(GAP().calculator(reference.parent, "gap.xml", trust=True), held_out)
        assert_agree(held_out, predictions[index], by_gap_fit, energy=1e-8, force=1e-7)
    only_bare = [make_point(5, f=0.1, config_types={"strained"})]
    with pytest.raises(FitError, match="per-atom sigmas"):
        run_study(data, only_bare, tmp_path, options=ALONE)


@pytest.fixture(scope="module")
def licl_frames() -> list[Frame]:
    if not LICL.exists():
        pytest.skip("the real LiCl calculations do not lie beside the project")
    frames = []
    with gzip.open(LICL, "rt") as lines:
        for task in map(json.loads, lines):
            name = task["dir_name"].split("/")[0]
            if name.endswith("isoatom") or name in ("rand_static_1", "rand_static_5", "phonon_static_1"):
                frames.append(_licl_frame(name, task["output"]))
    return frames


def _licl_frame(name: str, output: dict[str, Any]) -> Frame:
    numbers = {"Li": 3, "Cl": 17}
    sites = output["structure"]["sites"]
    kind = "isolated_atom" if len(sites) == 1 else ("rattled" if name.startswith("rand") else "single_displacement")
    return Frame(
        configuration_id=name,
        numbers=np.array([numbers[site["species"][0]["element"]] for site in sites]),
        cell=output["structure"]["lattice"]["matrix"],
        positions=np.array([site["xyz"] for site in sites]),
        energy=output["energy"],
        forces=output["forces"],
        stress=stress_from_vasp_kb(output["stress"]) if len(sites) > 1 else None,
        config_type=kind,
    )


def test_two_species(licl_frames: list[Frame], make_input: MakeInput, tmp_path: Path) -> None:
    """One SOAP around each element, each with its own sparse points and delta."""
    train = [frame for frame in licl_frames if frame.configuration_id != "rand_static_5"]
    held = [frame for frame in licl_frames if frame.configuration_id in ("rand_static_5", "Li-statisoatom")]
    soap = {"l_max": 3, "n_max": 3, "cutoff": 3.5, "n_sparse": 12}
    settings = GapHyperparameters.model_validate({"soap": soap, "f": 0.1})
    flat = GapHyperparameters.model_validate({"soap": {**soap, "n_sparse": 8, "delta": 2.0}})
    points = [
        StudyPoint(settings, n_sparse={"Li": 15, "Cl": 9}, delta={"Li": 0.5, "Cl": 2.0}),
        StudyPoint(flat),
        StudyPoint(flat, config_types=frozenset({"rattled", "isolated_atom"}), delta={"Cl": 0.7}),
    ]
    data = make_input(train)
    result = run_study(data, points, tmp_path, options=ALONE)
    assert [d["n_sparse"] for d in result.fits[0].details["descriptors"]] == [15, 9]
    predictions = load_potentials(tmp_path, study_files(result)).predict(held)
    for index, (point, name) in enumerate(zip(points, study_files(result), strict=True)):
        energies = dict(data.isolated_atom_energies)
        reference = reference_fit(train, point, energies, tmp_path / name, tmp_path / f"reference{index}")
        by_gap_fit = evaluate(GAP().calculator(reference.parent, "gap.xml", trust=True), held)
        by_quippy = evaluate(GAP().calculator(tmp_path, name, trust=index > 0), held)
        assert_agree(held, predictions[index], by_gap_fit, energy=1e-8, force=1e-7)
        assert_agree(held, predictions[index], by_quippy, energy=1e-9, force=1e-9)


def test_more_sparse_points_than_environments(study_input: FitInput, make_point: MakePoint, tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"n_sparse is 50000, but .* only \d+ distinct environments of Si") as caught:
        run_study(study_input, [make_point(10), make_point(50000)], tmp_path, options=ALONE)
    assert caught.value.reason == "too_many_sparse_points"


def test_all_environments_are_possible(study_input: FitInput, make_point: MakePoint, tmp_path: Path) -> None:
    with pytest.raises(FitError) as caught:
        run_study(study_input, [make_point(500)], tmp_path, options=ALONE)
    (most,) = map(int, re.findall(r"only (\d+) distinct", caught.value.message))
    result = run_study(study_input, [make_point(most, sparse_jitter=1e-7)], tmp_path, options=ALONE)
    assert len(result.fits[0].details["descriptors"][0]["sparse_atoms"]) == most


def test_singular_kernel(study_input: FitInput, make_point: MakePoint, tmp_path: Path) -> None:
    """With zeta 1 the kernel has the rank of the descriptors, 41."""
    points = [make_point(60, sparse_jitter=1e-30, soap={"zeta": 1.0})]
    with pytest.raises(FitError, match="singular up to a jitter") as caught:
        run_study(study_input, points, tmp_path, options=replace(ALONE, max_jitter=1e-30))
    assert caught.value.reason == "singular_kernel"
    result = run_study(study_input, points, tmp_path, options=ALONE)
    (fit,) = result.fits
    assert 1e-30 < fit.details["jitter"][0] < 1e-5
    assert any("singular with a sparse_jitter of 1e-30" in warning for warning in fit.details["warnings"])
    assert np.isfinite(load_potentials(tmp_path, study_files(result)).predict(study_input.frames[:1])[0][0].energy)


def test_duplicated_configurations_are_said(
    small_frames: list[Frame], make_input: MakeInput, make_point: MakePoint, tmp_path: Path
) -> None:
    frames = [*small_frames, replace(small_frames[1], configuration_id="again")]
    result = run_study(make_input(frames), [make_point(10)], tmp_path, options=ALONE)
    (warning,) = result.warnings
    assert f"again like {small_frames[1].configuration_id}" in warning
    assert warning in result.fits[0].details["warnings"]


def test_bad_studies(study_input: FitInput, make_point: MakePoint, tmp_path: Path) -> None:
    good = make_point(10)
    zero = GapHyperparameters.model_construct(**{**dict(good.hyperparameters), "f": 0.0, "floor": 0.01})
    cases: list[tuple[list[StudyPoint], str]] = [
        ([StudyPoint(zero)], "zero_sigma"),
        ([StudyPoint(good.hyperparameters, delta={"Si": 0.0})], "zero_sigma"),
        ([good, make_point(10, soap={"zeta": 2.0})], "cannot_share"),
        ([make_point(10, config_types={"liquid"})], "unknown_config_type"),
        ([], "cannot_share"),
    ]
    for points, reason in cases:
        with pytest.raises(FitError) as caught:
            run_study(study_input, points, tmp_path, options=ALONE)
        assert caught.value.reason == reason
    with pytest.raises(FitError, match="does not exist"):
        run_study(study_input, [good], tmp_path / "nowhere", options=ALONE)
    with pytest.raises(FitError, match=r"needs \d+ MB and may use 10") as caught:
        run_study(study_input, [good], tmp_path, options=replace(ALONE, memory_mb=10))
    assert caught.value.reason == "out_of_memory"
    bare = replace(study_input, isolated_atom_energies={})
    with pytest.raises(FitError, match="no isolated-atom energy for Si"):
        run_study(bare, [good], tmp_path, options=ALONE)


@pytest.mark.parametrize("order", ["cur", "pivot", "farthest"])
def test_orders_of_sparse_points(study_input: FitInput, make_point: MakePoint, tmp_path: Path, order: Any) -> None:
    result = run_study(study_input, [make_point(15)], tmp_path, options=replace(ALONE, sparse_order=order))
    assert result.shared["sparse_order"] == order
    points = load_potentials(tmp_path, study_files(result)).sparse[0]
    assert len(np.unique(points, axis=0)) == 15
