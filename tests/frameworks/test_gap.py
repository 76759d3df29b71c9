"""Real fits with the real gap_fit: targets, sigmas, options, repeatability."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP, normalised_xml_hash
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.frames import Frame
from mlipdb.physics.parity import parity_errors
from mlipdb.physics.sigmas import atomwise_force_sigmas
from mlipdb.testing import check_framework
from mlipdb.units import stress_from_vasp_kb

SMALL_SOAP: dict[str, Any] = {"n_sparse": 20, "l_max": 3, "n_max": 4, "cutoff": 4.5}
LICL = Path(__file__).resolve().parents[3] / "shared" / "real" / "autoplex-licl" / "tasks.jsonl.gz"
MakeInput = Callable[[list[Frame]], FitInput]


def hyperparameters(**changes: Any) -> GapHyperparameters:
    return GapHyperparameters.model_validate({"soap": SMALL_SOAP, **changes})


def fit(data: FitInput, directory: Path, **changes: Any) -> FitResult:
    return GAP().fit(data, hyperparameters(**changes), directory)


def model_hash(result: FitResult) -> str:
    return str(result.details["normalised_xml_hash"])


def test_conformance(small_input: FitInput, tmp_path: Path) -> None:
    report = check_framework(GAP(), {"soap": SMALL_SOAP}, small_input, tmp_path)
    assert report["forces"] < 1e-5
    assert report["round_trip"] == 0.0


def test_result(small_fit: tuple[Path, FitResult], small_frames: list[Frame]) -> None:
    directory, result = small_fit
    assert set(result.files) == {"gap.xml", *(path.name for path in directory.glob("gap.xml.sparseX.*"))}
    assert len(result.files) == 2
    assert result.main_file == "gap.xml"
    n_atoms = sum(frame.n_atoms for frame in small_frames)
    assert result.details["n_targets"] == {
        "energies": len(small_frames),
        "forces": 3 * n_atoms,
        "virials": 6 * (len(small_frames) - 1),
    }
    (descriptor,) = result.details["descriptors"]
    assert descriptor["n_sparse"] == descriptor["n_sparse_requested"] == 20
    assert descriptor["n_environments"] == n_atoms
    assert result.details["descriptors_without_environments"] == []
    assert result.command[0] == "gap_fit"
    assert not any("/" in word for word in result.command)
    assert result.versions["gap_fit"].startswith("v0.")
    assert result.cpu_time_s is not None
    assert result.cpu_time_s > 0
    assert result.peak_memory_mb is not None
    assert 5 < result.peak_memory_mb < 500
    assert "Bye-Bye" in result.log_tail
    assert {path.name for path in directory.iterdir()} == {*result.files, "train.xyz"}
    json.dumps(result.details)


def test_predictions_are_close_to_dft(small_fit: tuple[Path, FitResult], small_frames: list[Frame]) -> None:
    directory, result = small_fit
    predictions = evaluate(GAP().calculator(directory, result.main_file), small_frames)
    overall = parity_errors(small_frames, predictions)["overall"]
    assert overall["energy_rmse"] < 0.02
    assert overall["force_rmse"] < 0.2
    # The sign of the virial: the DFT stresses are of both signs, and the fit follows them.
    dft = np.array([frame.stress for frame in small_frames if frame.stress is not None])
    gap = np.array([p.stress for p, f in zip(predictions, small_frames, strict=True) if f.stress is not None])
    assert np.corrcoef(dft[:, :3].ravel(), gap[:, :3].ravel())[0, 1] > 0.9


def test_seed_makes_fits_repeatable(small_fit: tuple[Path, FitResult], small_input: FitInput, tmp_path: Path) -> None:
    (tmp_path / "gap.xml").write_text("stale")
    (tmp_path / "gap.xml.sparseX.GAP_old").write_text("stale")
    (tmp_path / "mine.txt").write_text("not touched")
    again = fit(small_input, tmp_path)
    assert model_hash(again) == model_hash(small_fit[1])
    assert normalised_xml_hash((tmp_path / "gap.xml").read_bytes()) == model_hash(again)
    assert not (tmp_path / "gap.xml.sparseX.GAP_old").exists()
    assert (tmp_path / "mine.txt").read_text() == "not touched"


def test_sigmas_of_configurations_mean_what_default_sigmas_mean(
    small_frames: list[Frame], make_input: MakeInput, small_input: FitInput, tmp_path: Path
) -> None:
    """gap_fit scales its defaults by sqrt(N) but not a configuration's own: the file makes up for it."""
    own = [replace(frame, energy_sigma=0.004, virial_sigma=0.02) for frame in small_frames]
    for name in ("own", "default", "other"):
        (tmp_path / name).mkdir()
    by_frame = fit(make_input(own), tmp_path / "own")
    by_default = fit(small_input, tmp_path / "default", sigmas={"energy": 0.004, "virial": 0.02, "force": 0.05})
    other = fit(small_input, tmp_path / "other")
    assert by_frame.details["n_sigmas"]["energy_sigma"] == len(own)
    assert by_frame.details["n_sigmas"]["virial_sigma"] == len(own)

    def forces(name: str) -> np.ndarray:
        calculator = GAP().calculator(tmp_path / name, "gap.xml")
        return evaluate(calculator, [small_frames[1]])[0].forces

    np.testing.assert_allclose(forces("own"), forces("default"), atol=1e-7)
    assert np.max(np.abs(forces("own") - forces("other"))) > 1e-4
    assert model_hash(other) != model_hash(by_default)


def test_f_recomputes_the_column(
    small_frames: list[Frame], make_input: MakeInput, small_input: FitInput, tmp_path: Path
) -> None:
    marked = [
        frame if frame.is_isolated_atom else replace(frame, force_sigmas=atomwise_force_sigmas(frame.forces, 0.1, 0.02))
        for frame in small_frames
    ]
    other = [
        frame if frame.force_sigmas is None else replace(frame, force_sigmas=np.full(frame.n_atoms, 0.5))
        for frame in marked
    ]
    for name in ("column", "f_on_marked", "f_on_bare"):
        (tmp_path / name).mkdir()
    column = fit(make_input(marked), tmp_path / "column")
    on_marked = fit(make_input(other), tmp_path / "f_on_marked", f=0.1, floor=0.02)
    on_bare = fit(small_input, tmp_path / "f_on_bare", f=0.1, floor=0.02)
    n_atoms = sum(frame.n_atoms for frame in small_frames if not frame.is_isolated_atom)
    assert column.details["n_sigmas"]["force_atom_sigma"] == n_atoms
    assert on_bare.details["n_atomwise_configurations"] == len(small_frames) - 1
    assert model_hash(on_marked) == model_hash(column) == model_hash(on_bare)


def test_two_body_three_body_and_soap(small_input: FitInput, small_frames: list[Frame], tmp_path: Path) -> None:
    result = fit(
        small_input,
        tmp_path,
        two_body={"n_sparse": 10, "options": {"unique_hash_tolerance": 1e-9}},
        three_body={"n_sparse": 12, "cutoff": 2.9},
        soap={**SMALL_SOAP, "n_sparse": {"rattled": 10, "bulk": 2}},
        options={"config_type_sigma": "{isolated_atom:0.0001:0.05:0.05:0.0}"},
    )
    kinds = {entry["descriptor"].split()[0]: entry["n_sparse"] for entry in result.details["descriptors"]}
    assert kinds["distance_2b"] == 10
    assert kinds["soap"] == 12
    assert 1 <= kinds["angle_3b"] <= 12
    assert len(result.files) == 4
    atom = next(frame for frame in small_frames if frame.is_isolated_atom)
    energy = evaluate(GAP().calculator(tmp_path, "gap.xml"), [atom])[0].energy
    assert energy == pytest.approx(atom.energy, abs=1e-3)


def test_too_many_sparse_points_are_recorded(small_input: FitInput, tmp_path: Path) -> None:
    result = fit(small_input, tmp_path, soap={**SMALL_SOAP, "n_sparse": 5000})
    (descriptor,) = result.details["descriptors"]
    assert descriptor["n_sparse_requested"] == 5000
    assert descriptor["n_sparse"] == descriptor["n_unique_environments"] <= descriptor["n_environments"]
    assert descriptor["n_unique_environments"] < descriptor["n_environments"]
    assert any("number of sparse points changed" in warning for warning in result.details["warnings"])


def test_average_zero_needs_no_isolated_atom(small_frames: list[Frame], make_input: MakeInput, tmp_path: Path) -> None:
    bulk = [frame for frame in small_frames if not frame.is_isolated_atom]
    data = make_input(bulk)
    with pytest.raises(FitError, match="no isolated-atom energy for Si") as caught:
        fit(data, tmp_path)
    assert caught.value.reason == "no_isolated_atom"
    assert list(tmp_path.iterdir()) == []
    assert fit(data, tmp_path, e0_method="average").details["n_targets"]["energies"] == len(bulk)
    # The energy is enough; the free atom itself need not be fitted.
    given = fit(replace(data, isolated_atom_energies={"Si": -102.5}), tmp_path)
    assert "e0={Si:-102.5}" in given.command


def test_no_environments_within_the_cutoff(small_frames: list[Frame], make_input: MakeInput, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="larger cutoff") as caught:
        fit(make_input(small_frames), tmp_path, soap=None, two_body={"n_sparse": 3, "cutoff": 1.5})
    assert caught.value.reason == "no_environments"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"REF_energy=-", b"REF_energy=nan_", "bad_extxyz"),
        (b"REF_energy=-102.5368084982458", b"REF_energy=nan", "not_finite"),
        (b"REF_forces:R:3", b"forces:R:3", "bad_extxyz"),
        (b"isolated-atom", b"other-atom", "inconsistent_input"),
    ],
)
def test_unusable_training_sets_are_refused_before_running(
    small_input: FitInput, tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    assert old in small_input.extxyz
    with pytest.raises(FitError) as caught:
        fit(replace(small_input, extxyz=small_input.extxyz.replace(old, new)), tmp_path)
    assert caught.value.reason == reason
    assert list(tmp_path.iterdir()) == []


def test_empty_training_set_and_missing_directory(small_input: FitInput, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no configurations"):
        fit(FitInput(extxyz=b"", frames=[], isolated_atom_energies={}), tmp_path)
    with pytest.raises(FitError, match="does not exist"):
        fit(small_input, tmp_path / "nowhere")


def test_a_command_too_long_for_gap_fit_goes_through_a_file(
    small_frames: list[Frame], make_input: MakeInput, tmp_path: Path
) -> None:
    """Three elements in place of silicon: 27 descriptors, nonsense as physics but not as a command."""
    elements = np.array([6, 14, 32])
    rng = np.random.default_rng(0)
    atoms = [replace(small_frames[0], numbers=[z], configuration_id=f"atom-{z}") for z in elements]
    alloys = [replace(frame, numbers=rng.choice(elements, frame.n_atoms)) for frame in small_frames[1:5]]
    terms = {"two_body": {"n_sparse": 3}, "three_body": {"n_sparse": 3, "cutoff": 4.0}}
    result = fit(make_input([*atoms, *alloys]), tmp_path, **terms)
    assert max(map(len, result.command)) > 4096
    assert len(result.details["descriptors"]) == 6 + 18 + 3
    assert not (tmp_path / "gap_fit.config").exists()
    assert np.isfinite(evaluate(GAP().calculator(tmp_path, "gap.xml"), alloys)[0].energy)


@pytest.fixture(scope="module")
def licl_frames() -> list[Frame]:
    if not LICL.exists():
        pytest.skip("the real LiCl calculations do not lie beside the project")
    numbers = {"Li": 3, "Cl": 17}
    frames = []
    with gzip.open(LICL, "rt") as lines:
        for task in map(json.loads, lines):
            name = task["dir_name"].split("/")[0]
            if not (name.endswith("isoatom") or name == "rand_static_1"):
                continue
            output, sites = task["output"], task["output"]["structure"]["sites"]
            frames.append(
                Frame(
                    configuration_id=name,
                    numbers=np.array([numbers[site["species"][0]["element"]] for site in sites]),
                    cell=output["structure"]["lattice"]["matrix"],
                    positions=np.array([site["xyz"] for site in sites]),
                    energy=output["energy"],
                    forces=output["forces"],
                    stress=stress_from_vasp_kb(output["stress"]) if len(sites) > 1 else None,
                    config_type="rattled" if len(sites) > 1 else "isolated_atom",
                )
            )
    return frames


def test_two_species(licl_frames: list[Frame], make_input: MakeInput, tmp_path: Path) -> None:
    data = make_input(licl_frames)
    assert set(data.isolated_atom_energies) == {"Li", "Cl"}
    soap = {**SMALL_SOAP, "n_sparse": 6, "cutoff": 4.0}
    three_body = {"n_sparse": 4, "cutoff": 3.0}
    (tmp_path / "files").mkdir()
    result = fit(data, tmp_path / "files", soap=soap, two_body={"n_sparse": 5, "cutoff": 4.0}, three_body=three_body)
    written = [entry["descriptor"] for entry in result.details["descriptors"]]
    assert [text.split()[0] for text in written].count("soap") == 2
    assert "species_Z={3 17}" in written[-1]
    # Like neighbours are never both within 3 A of one atom: those terms are left out, and said to be.
    left_out = result.details["descriptors_without_environments"]
    assert len(left_out) == 4
    assert all(text.startswith("angle_3b") for text in left_out)
    rattled = [frame for frame in licl_frames if not frame.is_isolated_atom]
    calculator = GAP().calculator(tmp_path / "files", result.main_file)
    errors = parity_errors(rattled, evaluate(calculator, rattled))
    assert errors["overall"]["force_rmse"] < 0.1
    bare = FitInput(extxyz=data.extxyz, frames=data.frames, isolated_atom_energies={"Li": -0.28})
    with pytest.raises(FitError, match="no isolated-atom energy for Cl"):
        fit(bare, tmp_path)
