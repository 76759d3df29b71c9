"""Band structure and density of states: DFT against potentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlipdb.errors import DataError
from mlipdb.figures import style
from mlipdb.figures.documents import Raw, mesh_rmse, sort_out
from mlipdb.figures.labels import described, number, plain, point_label, spaced_rows, text_width

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mlipdb.schemas.phonon_data import BandStructure, DensityOfStates

    Floats = NDArray[np.float64]

__all__ = ["band_structure", "path_ticks"]

WIDTH = 5.5
HEIGHT = 3.6
#: A line of the legend, inches.
LEGEND_LINE = 0.19
#: Bands beyond which lines are drawn thinner.
MANY_BANDS = 40
#: Lowest frequency that still counts as zero for the axis, THz.
ZERO = 0.01
#: The axis follows potentials this far beyond DFT, in units of its highest frequency.
BEYOND = 0.5


@dataclass(frozen=True)
class _Phonons:
    """What is drawn of one source."""

    label: str
    bands: BandStructure
    dos: DensityOfStates


def band_structure(phonon: Raw, benchmarks: Sequence[Raw], *, title: str | None = None) -> Figure:
    """Draw the phonon bands and density of states of DFT, and of potentials over them.

    Frequencies are in THz, imaginary ones below zero; densities in states per THz
    and primitive cell. The bands of a potential were computed on the q-points of the
    reference and are drawn at its distances. The legend gives the RMSE on the mesh.

    Parameters
    ----------
    phonon
        A complete document of `phonons`.
    benchmarks
        Documents of `phonon_benchmarks` against it; none shows DFT alone. Those that
        failed are counted in the legend.
    title
        Instead of the name of the material.

    Returns
    -------
    matplotlib.figure.Figure
        The first axes hold the bands, the second the density of states.

    Raises
    ------
    DataError
        If the reference has no band structure, a benchmark belongs to another
        reference, or its band structure is on other q-points.
    """
    reference = _reference(phonon)
    _check_reference(phonon, benchmarks)
    found = sort_out(
        benchmarks,
        {"bands": lambda item: item.get("band_structure"), "density of states": lambda i: i.get("density_of_states")},
    )
    labels = [f"{label}: {_rmse(item)}" for label, item in zip(described(found.shown), found.shown, strict=True)]
    candidates = [
        _Phonons(
            label,
            _bands(item["band_structure"], f"benchmark {item.get('benchmark_id')}"),
            _dos(item["density_of_states"], f"benchmark {item.get('benchmark_id')}"),
        )
        for label, item in zip(labels, found.shown, strict=True)
    ]
    for candidate, item in zip(candidates, found.shown, strict=True):
        _check_path(reference.bands, candidate.bands, str(item.get("benchmark_id")))
    with style.applied():
        return _draw(reference, candidates, found.notes(), title or plain(_name(phonon)))


def path_ticks(bands: BandStructure) -> list[tuple[float, str]]:
    """Positions and typeset labels of the high-symmetry points; a jump shows both, as in ``U|K``."""
    segments = bands.segments
    ticks = [(segments[0].distances[0], point_label(segments[0].start))]
    for before, after in pairwise(segments):
        label = point_label(before.end)
        if after.start != before.end:
            label = f"{label}|{point_label(after.start)}"
        ticks.append((before.distances[-1], label))
    ticks.append((segments[-1].distances[-1], point_label(segments[-1].end)))
    return ticks


def _name(phonon: Raw) -> str:
    return str(phonon.get("material_name") or phonon.get("formula") or phonon.get("material_id") or "")


def _rmse(benchmark: Raw) -> str:
    value = mesh_rmse(benchmark)
    return "RMSE unknown" if value is None else f"{value:.3f} THz"


def _reference(phonon: Raw) -> _Phonons:
    key = phonon.get("phonon_id", "the phonon document")
    state = phonon.get("state", "complete")
    if state != "complete" or not phonon.get("path") or not phonon.get("dos"):
        raise DataError(
            f"{key} has no band structure and density of states to draw (state {state}); "
            "a complete phonon document is needed"
        )
    return _Phonons("DFT", _bands(phonon["path"], key), _dos(phonon["dos"], key))


def _check_reference(phonon: Raw, benchmarks: Sequence[Raw]) -> None:
    for item in benchmarks:
        if item.get("phonon_id") != phonon.get("phonon_id"):
            raise DataError(
                f"benchmark {item.get('benchmark_id')} was run against {item.get('phonon_id')}, "
                f"not against {phonon.get('phonon_id')}; choose benchmarks of the phonons that are drawn"
            )


def _bands(raw: Any, owner: str) -> BandStructure:
    from pydantic import ValidationError

    from mlipdb.schemas.phonon_data import BandStructure

    try:
        bands = BandStructure.model_validate(raw)
    except ValidationError as error:
        raise DataError(f"the band structure of {owner} is damaged ({_first(error)}); build it again") from None
    n_bands = {len(row) for segment in bands.segments for row in segment.frequencies}
    whole = all(len(s.distances) == len(s.frequencies) == len(s.qpoints) > 0 for s in bands.segments)
    if len(n_bands) != 1 or not whole:
        raise DataError(
            f"the band structure of {owner} is empty or ragged; "
            "every q-point of its path needs a distance and the same number of frequencies"
        )
    return bands


def _dos(raw: Any, owner: str) -> DensityOfStates:
    from pydantic import ValidationError

    from mlipdb.schemas.phonon_data import DensityOfStates

    try:
        dos = DensityOfStates.model_validate(raw)
    except ValidationError as error:
        raise DataError(f"the density of states of {owner} is damaged ({_first(error)}); build it again") from None
    if not dos.frequencies or len(dos.frequencies) != len(dos.total):
        raise DataError(
            f"the density of states of {owner} has {len(dos.frequencies)} frequencies and {len(dos.total)} values; "
            "there must be as many of one as of the other, and at least one"
        )
    return dos


def _first(error: Any) -> str:
    """Say where and how a document first breaks its model."""
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc']) or 'document'}: {found['msg']}"


def _check_path(reference: BandStructure, candidate: BandStructure, key: str) -> None:
    import numpy as np

    shapes = [[np.shape(s.frequencies) for s in bands.segments] for bands in (reference, candidate)]
    same = shapes[0] == shapes[1] and all(
        np.allclose(one.qpoints, two.qpoints, atol=1e-6)
        for one, two in zip(reference.segments, candidate.segments, strict=True)
    )
    if not same:
        raise DataError(
            f"the bands of benchmark {key} are not on the q-points of the reference's path; "
            "run it again against these phonons"
        )


def _draw(reference: _Phonons, candidates: Sequence[_Phonons], notes: Sequence[str], title: str) -> Figure:
    low, high, cut = _limits(reference, candidates)
    notes = [*(f"{note}, not shown" for note in notes), *cut]
    n_columns = _columns([item.label for item in candidates] + notes)
    rows = -(-(1 + len(candidates) + len(notes)) // n_columns) + bool(candidates)
    figure = style.new_figure(WIDTH, HEIGHT + LEGEND_LINE * rows * bool(candidates or notes))
    axes = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3.0, 1.0]})
    _draw_bands(axes[0], reference, candidates)
    _draw_dos(axes[1], reference, candidates, (low, high))
    axes[0].set_ylim(low, high)
    figure.suptitle(title)
    if candidates or notes:
        _legend(figure, axes[0], notes, n_columns, bool(candidates))
    return style.settle(figure)


def _legend(figure: Figure, axes: Axes, notes: Sequence[str], n_columns: int, with_errors: bool) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    blank = Line2D([], [], linestyle="none")
    legend = figure.legend(
        [*handles, *[blank] * len(notes)],
        [*labels, *notes],
        loc="outside lower center",
        ncols=n_columns,
        title="RMSE against DFT, on the mesh" if with_errors else None,
        handlelength=1.6,
        columnspacing=1.5,
        labelspacing=0.3,
    )
    for line in legend.get_lines():
        line.set_linewidth(1.6)  # thin lines hardly show their colour


def _columns(labels: Sequence[str]) -> int:
    """Legend columns that fit the width of the figure."""
    handle = 45.0  # points: line, its padding and the space between columns
    widest = max((text_width(label, style.SMALL) for label in labels), default=0.0) + handle
    return max(1, min(3, len(labels) + 1, int(WIDTH * 72 // widest)))


def _limits(reference: _Phonons, candidates: Sequence[_Phonons]) -> tuple[float, float, list[str]]:
    """Range of the frequency axis, and a note for each potential that runs out of it.

    A potential that blew up must not squeeze everything else into a line.
    """
    ranges = [_range(item.bands) for item in (reference, *candidates)]
    top = max(ranges[0][1], ZERO)
    lowest = max(min(low for low, _ in ranges), min(ranges[0][0], -BEYOND * top))
    highest = min(max(high for _, high in ranges), (1.0 + BEYOND) * top)
    cut = [
        f"beyond the axis, {number(low)} to {number(high)} THz: {item.label.rpartition(':')[0]}"
        for item, (low, high) in zip(candidates, ranges[1:], strict=True)
        if low < lowest or high > highest
    ]
    margin = 0.04 * (highest - min(lowest, 0.0))
    return (lowest - margin if lowest < -ZERO else 0.0), highest + margin, cut


def _range(bands: BandStructure) -> tuple[float, float]:
    values = [value for segment in bands.segments for row in segment.frequencies for value in row]
    return min(values), max(values)


def _draw_bands(axes: Axes, reference: _Phonons, candidates: Sequence[_Phonons]) -> None:
    n_bands = len(reference.bands.segments[0].frequencies[0])
    width = 1.4 if n_bands <= MANY_BANDS else 0.7
    x, y = _lines(reference.bands, reference.bands)
    axes.axhline(0.0, color=style.GREY, linewidth=0.7, zorder=1, gid="zero")
    axes.plot(x, y, color=style.DARK, linewidth=width, label=reference.label, zorder=3, solid_joinstyle="round")
    for index, item in enumerate(candidates):
        x, y = _lines(reference.bands, item.bands)
        axes.plot(x, y, linewidth=0.6 * width, label=item.label, zorder=4 + index, **_line_style(index))
    ticks = path_ticks(reference.bands)
    axes.set_xlim(ticks[0][0], ticks[-1][0])
    _label_points(axes, ticks)
    axes.tick_params(axis="x", length=0, pad=5.0)
    axes.set_ylabel("Frequency (THz)")
    axes.set_xlabel("Wave vector")


def _line_style(index: int) -> dict[str, Any]:
    dashes = style.DASHES[index // len(style.PALETTE) % len(style.DASHES)]
    return {"color": style.hue(index), "linestyle": dashes}


def _lines(path: BandStructure, bands: BandStructure) -> tuple[Floats, Floats]:
    """All bands as one line at the distances of a path, with gaps between bands and where the path jumps.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Distances and frequencies, NaN where the pen is lifted.
    """
    import numpy as np

    pen_up = np.full((1, len(path.segments[0].frequencies[0])), np.nan)
    distances: list[Floats] = []
    frequencies: list[Floats] = []
    for segment, values in zip(path.segments, bands.segments, strict=True):
        distances += [np.array(segment.distances), np.array([np.nan])]
        frequencies += [np.array(values.frequencies), pen_up]
    y = np.concatenate(frequencies)
    x = np.concatenate(distances)
    return np.tile(x, y.shape[1]), y.T.ravel()


def _label_points(axes: Axes, ticks: Sequence[tuple[float, str]]) -> None:
    """Vertical lines and labels; a label without room next to its neighbour goes one row down."""
    positions = [position for position, _ in ticks]
    length = positions[-1] - positions[0] or 1.0
    points = 0.62 * WIDTH * 72  # width of the panel in this layout, to within a few percent
    centres = [(position - positions[0]) / length * points for position in positions]
    rows = spaced_rows(centres, [text_width(label, style.FONT) for _, label in ticks], gap=3.0)
    axes.set_xticks(positions, ["\n" * row + label for row, (_, label) in zip(rows, ticks, strict=True)])
    axes.tick_params(axis="x", labelsize=style.FONT)
    for position in positions[1:-1]:
        axes.axvline(position, color=style.GREY, linewidth=0.6, zorder=1)


def _draw_dos(axes: Axes, reference: _Phonons, candidates: Sequence[_Phonons], limits: tuple[float, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axhline(0.0, color=style.GREY, linewidth=0.7, zorder=1, gid="zero")
    dos = reference.dos
    axes.fill_betweenx(dos.frequencies, dos.total, color=style.DOS_FILL, linewidth=0.0, zorder=2, label="DFT")
    axes.plot(dos.total, dos.frequencies, color=style.DARK, linewidth=0.8, zorder=3)
    for index, item in enumerate(candidates):
        axes.plot(item.dos.total, item.dos.frequencies, linewidth=0.9, zorder=4 + index, **_line_style(index))
    largest = max(_largest(item.dos, limits) for item in (reference, *candidates))
    axes.set_xlim(0.0, 1.06 * largest or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(3, prune="lower" if largest else None, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", labelleft=False)
    axes.set_xlabel("DOS (states/THz)\nper primitive cell")


def _largest(dos: DensityOfStates, limits: tuple[float, float]) -> float:
    inside = [total for x, total in zip(dos.frequencies, dos.total, strict=True) if limits[0] <= x <= limits[1]]
    return max(inside, default=0.0)
