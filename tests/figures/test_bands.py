"""The band structure figure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlipdb.errors import DataError
from mlipdb.figures import band_structure
from mlipdb.figures.bands import path_ticks
from mlipdb.schemas.phonon_data import BandStructure

Raw = dict[str, Any]
Make = Callable[..., Raw]


def tick_labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_xticklabels()]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def bands_of(figure: Figure) -> dict[str, np.ndarray]:
    """Label -> frequencies that are drawn, of the lines with a label."""
    lines = figure.axes[0].get_lines()
    return {str(line.get_label()): line.get_ydata() for line in lines if not str(line.get_label()).startswith("_")}


def test_labels_and_units(phonons: dict[str, Raw]) -> None:
    figure = band_structure(phonons["diamond"], [])
    bands, dos = figure.axes
    assert bands.get_ylabel() == "Frequency (THz)"
    assert bands.get_xlabel() == "Wave vector"
    assert dos.get_xlabel() == "DOS (states/THz)\nper primitive cell"
    assert figure.get_suptitle() == "diamond"
    assert band_structure(phonons["diamond"], [], title="Si").get_suptitle() == "Si"
    assert bands.get_ylim() == dos.get_ylim()


@pytest.mark.parametrize(
    ("material", "labels"),
    [
        ("diamond", ["Γ", "X", "U|K", "Γ", "L", "W", "X"]),
        ("lonsdaleite", ["Γ", "M", "K", "Γ", "A", "L", "H", "A|L", "\nM|H", "K"]),
        ("bc8", ["Γ", "H", "N", "Γ", "P", "H|P", "N"]),
    ],
)
def test_points_are_typeset_jumps_show_both_and_crowded_ones_go_down(
    material: str, labels: list[str], phonons: dict[str, Raw]
) -> None:
    assert tick_labels(band_structure(phonons[material], [])) == labels


def test_subscripts() -> None:
    point = {"qpoints": [[0, 0, 0], [0.5, 0, 0]], "frequencies": [[1.0], [2.0]]}
    path = [
        {"start": "GAMMA", "end": "X_1", "distances": [0.0, 0.1], **point},
        {"start": "X_1", "end": "SIGMA_0", "distances": [0.1, 0.2], **point},
    ]
    ticks = path_ticks(BandStructure.model_validate({"scheme": "seekpath", "segments": path}))
    assert ticks == [(0.0, "Γ"), (0.1, "X$_{1}$"), (0.2, "Σ$_{0}$")]


@pytest.mark.parametrize(("material", "n_potentials"), [("diamond", 1), ("clathrate-II", 6)])
def test_every_potential_is_one_line_in_its_colour(
    material: str, n_potentials: int, phonons: dict[str, Raw], benchmark_of: Make
) -> None:
    phonon = phonons[material]
    benchmarks = [benchmark_of(phonon, scale=1 - 0.01 * n, n_sparse=500 * n) for n in range(1, n_potentials + 1)]
    figure = band_structure(phonon, benchmarks)
    drawn = bands_of(figure)
    assert len(drawn) == 1 + n_potentials
    assert len(figure.axes[1].get_lines()) == 2 + n_potentials  # zero line, outline of DFT, potentials
    colours = {line.get_color() for line in figure.axes[0].get_lines() if line.get_label() in drawn}
    assert len(colours) == 1 + n_potentials
    reference = drawn.pop("DFT")
    finite = ~np.isnan(reference)
    n_values = sum(np.size(segment["frequencies"]) for segment in phonon["path"]["segments"])
    assert finite.sum() == n_values
    for n, values in enumerate(drawn.values(), start=1):
        assert np.allclose(values[finite], reference[finite] * (1 - 0.01 * n))


def test_the_pen_is_lifted_between_bands_and_at_jumps(phonons: dict[str, Raw]) -> None:
    """No stroke joins two points that are not neighbours on the path."""
    phonon = phonons["lonsdaleite"]
    figure = band_structure(phonon, [])
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "DFT")
    x, y = line.get_xdata(), line.get_ydata()
    steps = np.diff(x)
    strokes = ~np.isnan(steps) & ~np.isnan(np.diff(y))
    segments = phonon["path"]["segments"]
    assert strokes.sum() == sum(len(s["distances"]) - 1 for s in segments) * len(segments[0]["frequencies"][0])
    assert steps[strokes].min() > 0


def test_the_legend_gives_training_set_sparse_points_and_rmse(phonons: dict[str, Raw], benchmark_of: Make) -> None:
    benchmark = benchmark_of(phonons["diamond"])
    texts = legend_texts(band_structure(phonons["diamond"], [benchmark]))
    assert texts == ["DFT", f"full, $n_\\mathrm{{sparse}}$ = 1000: {benchmark['mesh']['rmse']:.3f} THz"]


def test_failed_benchmarks_are_counted(phonons: dict[str, Raw], benchmark_of: Make) -> None:
    failed = {"phonon_id": "ph-diamond", "state": "failed"}
    figure = band_structure(phonons["diamond"], [failed, benchmark_of(phonons["diamond"]), failed])
    assert legend_texts(figure)[-1] == "2 failed, not shown"
    assert len(bands_of(figure)) == 2
    assert legend_texts(band_structure(phonons["diamond"], [failed])) == ["DFT", "1 failed, not shown"]


def test_imaginary_frequencies_lie_below_a_zero_line(phonons: dict[str, Raw], benchmark_of: Make) -> None:
    figure = band_structure(phonons["diamond"], [benchmark_of(phonons["diamond"], shift=-1.0)])
    assert figure.axes[0].get_ylim()[0] < -1.0
    zero = next(line for line in figure.axes[0].get_lines() if line.get_gid() == "zero")
    assert list(zero.get_ydata()) == [0.0, 0.0]
    assert band_structure(phonons["diamond"], []).axes[0].get_ylim()[0] == 0.0


def test_a_potential_that_blew_up_does_not_set_the_scale(phonons: dict[str, Raw], benchmark_of: Make) -> None:
    figure = band_structure(phonons["diamond"], [benchmark_of(phonons["diamond"], scale=20.0, shift=-90.0)])
    low, high = figure.axes[0].get_ylim()
    assert -10.0 < low < 0.0 < high < 25.0
    assert legend_texts(figure)[-1].startswith("beyond the axis, −90 to 211")


@pytest.mark.parametrize("material", ["lonsdaleite", "st12"])
def test_nothing_overlaps(material: str, phonons: dict[str, Raw], benchmark_of: Make) -> None:
    phonon = phonons[material]
    benchmarks = [benchmark_of(phonon, n_sparse=500 * n, training_set="a rather long name") for n in range(1, 7)]
    figure = band_structure(phonon, benchmarks)
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels()]
    boxes += [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), *(axes.get_window_extent() for axes in figure.axes)]
    for index, box in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_wrong_documents_are_refused(phonons: dict[str, Raw], benchmark_of: Make) -> None:
    phonon = phonons["diamond"]
    with pytest.raises(DataError, match="a complete phonon document is needed"):
        band_structure({"phonon_id": "ph-1", "state": "incomplete"}, [])
    with pytest.raises(DataError, match="was run against ph-bc8, not against ph-diamond"):
        band_structure(phonon, [benchmark_of(phonon, phonon_id="ph-bc8")])
    with pytest.raises(DataError, match="not on the q-points"):
        band_structure(phonon, [{**benchmark_of(phonon), "band_structure": phonons["bc8"]["path"]}])
    with pytest.raises(DataError, match="is damaged"):
        band_structure({**phonon, "path": {"segments": 3}}, [])
    ragged = copy.deepcopy(phonon["path"])
    ragged["segments"][0]["frequencies"][0].pop()
    for path in (ragged, {"scheme": "seekpath", "segments": []}):
        with pytest.raises(DataError, match="empty or ragged"):
            band_structure({**phonon, "path": path}, [])
    with pytest.raises(DataError, match="2 frequencies and 1 values"):
        band_structure({**phonon, "dos": {"frequencies": [0.0, 0.1], "total": [1.0]}}, [])
