"""Fits by the real gap_fit on the sparse points of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mlipdb.frameworks.gap import find_gap_fit
from mlipdb.frameworks.gap_command import gap_fit_words
from mlipdb.frameworks.gap_grid.points import StudyPoint, study_terms
from mlipdb.frameworks.gap_xml import check_files
from mlipdb.frameworks.process import run_program
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.physics.sigmas import atomwise_force_sigmas


def reference_fit(
    frames: list[Frame], point: StudyPoint, energies: dict[str, float], study_xml: Path, directory: Path
) -> Path:
    """Fit by gap_fit what a study fitted at a point, in a new directory; gives the XML."""
    directory.mkdir()
    numbers = sorted({int(z) for frame in frames for z in frame.numbers})
    chosen = [frame for frame in frames if point.config_types is None or frame.config_type in point.config_types]
    (directory / "train.xyz").write_bytes(write_extxyz(_with_sigmas(chosen, point)))
    xml, _ = check_files(study_xml.parent, study_xml.name)
    texts = []
    for term, written in zip(study_terms(point, numbers), xml.terms, strict=True):
        dimensions = int(written.attributes["dimensions"])
        assert written.side_file is not None
        points = np.loadtxt(study_xml.parent / written.side_file).reshape(-1, dimensions)[: written.n_sparse]
        name = f"sparse_{term.number}.dat"
        np.savetxt(directory / name, np.column_stack([np.ones(len(points)), points]).ravel(), fmt="%.20e")
        text = term.descriptor.replace("sparse_method=cur_points", f"sparse_method=file sparse_file={name}")
        assert "sparse_file" in text
        texts.append(text.replace("{", "{{").replace("}", "}}"))
    words = gap_fit_words(point.hyperparameters, numbers, energies)
    words = ["gap={" + " : ".join(texts) + "}" if word.startswith("gap=") else word for word in words]
    run = run_program([str(find_gap_fit()), *words], directory)
    assert run.returncode == 0, run.log_tail()
    return directory / "gap.xml"


def _with_sigmas(frames: list[Frame], point: StudyPoint) -> list[Frame]:
    """Per-atom sigmas as `GAP.fit` sets them for f."""
    f, floor = point.hyperparameters.f, point.hyperparameters.floor
    if f is None or floor is None:
        return frames
    marked = any(frame.force_sigmas is not None for frame in frames)
    return [
        replace(frame, force_sigmas=atomwise_force_sigmas(frame.forces, f, floor))
        if (frame.force_sigmas is not None if marked else not frame.is_isolated_atom)
        else frame
        for frame in frames
    ]
