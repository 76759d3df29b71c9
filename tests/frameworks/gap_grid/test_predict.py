"""Loading studies' potentials, and what cannot be loaded together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlipdb.errors import CalculatorError
from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.evaluate import evaluate
from mlipdb.frameworks.gap import GAP
from mlipdb.frameworks.gap_grid import StudyResult, load_potentials
from mlipdb.physics.frames import Frame


def test_forces_are_minus_the_slope_of_the_energy(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    directory, result = study
    potentials = load_potentials(directory, [fit.details["study_file"] for fit in result.fits])
    frame = held_out[0]
    step = 1e-4

    def moved(sign: int) -> Frame:
        positions = frame.positions.copy()
        positions[3, 1] += sign * step
        return replace(frame, positions=positions)

    def strained(sign: int) -> Frame:
        strain = np.eye(3)
        strain[0, 1] = strain[1, 0] = sign * step / 2
        strain[2, 2] += sign * step
        return replace(frame, cell=frame.cell @ strain, positions=frame.positions @ strain)

    frames = [frame, moved(1), moved(-1), strained(1), strained(-1)]
    for at, up, down, wide, narrow in potentials.predict(frames):
        assert at.forces[3, 1] == pytest.approx(-(up.energy - down.energy) / (2 * step), abs=1e-5)
        assert at.stress is not None
        slope = (wide.energy - narrow.energy) / (2 * step)
        assert frame.volume * (at.stress[2] + at.stress[5]) == pytest.approx(slope, abs=1e-4)


def test_potentials_of_gap_fit_are_read_too(small_fit: tuple[Path, FitResult], held_out: list[Frame]) -> None:
    directory, result = small_fit
    (predicted,) = load_potentials(directory, [result.main_file]).predict(held_out)
    by_quippy = evaluate(GAP().calculator(directory, result.main_file, trust=True), held_out)
    for one, other in zip(predicted, by_quippy, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-8)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-8)


def test_frames_without_cell_have_no_stress(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    directory, result = study
    potentials = load_potentials(directory, [result.fits[0].details["study_file"]])
    cluster = replace(held_out[0], pbc=(False, False, False))
    assert potentials.predict([cluster])[0][0].stress is None


def test_what_cannot_be_predicted(study: tuple[Path, StudyResult], held_out: list[Frame], tmp_path: Path) -> None:
    directory, result = study
    name = result.fits[0].details["study_file"]
    potentials = load_potentials(directory, [name])
    foreign = replace(held_out[0], numbers=np.full(held_out[0].n_atoms, 6))
    with pytest.raises(CalculatorError, match=r"elements \[6\]; the potentials know only \[14\]"):
        potentials.predict([foreign])
    broken = replace(potentials, weights=[potentials.weights[0] * np.nan])
    with pytest.raises(CalculatorError, match="NaN"):
        broken.predict(held_out[:1])
    with pytest.raises(CalculatorError, match="no potentials"):
        load_potentials(directory, [])
    with pytest.raises(CalculatorError, match="cannot be read"):
        load_potentials(tmp_path, [name])


def test_potentials_without_sparse_points_in_common(
    study: tuple[Path, StudyResult], small_fit: tuple[Path, FitResult], tmp_path: Path
) -> None:
    for directory, result in ((study[0], study[1].fits[0]), small_fit):
        for path in directory.glob("gap*"):
            shutil.copy(path, tmp_path)
        assert result.files
    names = [study[1].fits[0].details["study_file"], "gap.xml"]
    with pytest.raises(CalculatorError, match="differ in descriptors or side files"):
        load_potentials(tmp_path, names)
    side = next(iter(path for path in tmp_path.glob("gap.xml.sparseX.14.*")))
    side.write_text("1.0\n")
    with pytest.raises(CalculatorError, match="MD5"):
        load_potentials(tmp_path, names[:1])
