"""Phonon errors of many potentials: against the number of sparse points and against force errors."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mlipdb.figures import style
from mlipdb.figures.documents import Raw, Sorted, finite, mesh_rmse, require, require_one_protocol, sort_out
from mlipdb.figures.labels import N_SPARSE, named, number
from mlipdb.figures.panels import Section, add_legend, make_panels, scale_rmse, scale_values
from mlipdb.figures.points import Detail, Looks, Point, panel_names, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = [
    "delta_section",
    "phonon_rmse_against_force_rmse",
    "rmse_against_n_sparse",
    "size_section",
    "symbol",
    "wrapped",
]

PHONON_RMSE = "Phonon RMSE, mesh (THz)"
FORCE_RMSE = "Force RMSE on\nthe test set (eV/Å)"
SPARSE_POINTS = f"Sparse points {N_SPARSE}"
#: Longest line of a name in the legend, characters.
LEGEND_WIDTH = 24
#: Most marker sizes the legend shows.
MOST_SIZES = 4
#: Inside of a marker -> what it says of the reference's displaced supercells.
TRAINED = {True: "trained on", False: "not trained on", None: "unknown"}
UNKNOWN_FILL = "#E0E0E0"
#: Field besides the training set -> heading in the legend.
HEADINGS = {"framework": "Framework", "f": "f", "benchmark": "Benchmark"}
#: Lines of few kinds of potentials and of many, points.
LINE = 1.0
CROWDED_LINE = 0.7


def rmse_against_n_sparse(benchmarks: Sequence[Raw]) -> Figure:
    """Draw the phonon RMSE against the number of sparse points, one panel a reference.

    Colour, marker and line style stand for the training set, the shade for delta. Where
    potentials differ in f (or framework) as well, only colour stands for the training set,
    marker and line style stand for f, and lines join the potentials of the best delta alone.

    Parameters
    ----------
    benchmarks
        Documents of `phonon_benchmarks`, of one protocol. Those that failed or lack a
        number are counted in the legend.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no document can be shown, or they follow several protocols.
    """
    found = sort_out(benchmarks, {"phonon RMSE": mesh_rmse, "n_sparse": lambda item: finite(item.get("n_sparse"))})
    require(benchmarks, found, "phonon RMSE against n_sparse")
    require_one_protocol(found.shown)
    points = points_of(found.shown)
    looks = Looks(points)
    with style.applied():
        sections = [*_kind_sections(looks, with_lines=True), delta_section(looks)]
        sections += [_line_section(looks), _note_section(found)]
        figure, axes = make_panels(panel_names(benchmarks), sections, (SPARSE_POINTS, PHONON_RMSE))
        for panel, members in _by_panel(axes, points):
            _draw_lines(panel, members, looks)
        first = next(iter(axes.values()))
        width = figure.get_figwidth() * 0.6 / min(len(axes), 3)  # inches of a panel, cautiously
        scale_values(first, "x", [point.n_sparse for point in points if point.n_sparse is not None], width)
        scale_rmse(first, "y", [point.phonon_rmse for point in points])
        add_legend(figure, sections)
        return style.settle(figure)


def phonon_rmse_against_force_rmse(benchmarks: Sequence[Raw]) -> Figure:
    """Draw the phonon RMSE against the force RMSE on the test set, one panel a reference.

    Marker and colour stand for the training set, the shade for delta, the size for
    n_sparse. Where potentials differ in f (or framework) as well, the marker stands for
    that and colour alone for the training set. Filled markers are potentials that were trained on displaced supercells
    of the reference.

    Parameters
    ----------
    benchmarks
        As for `rmse_against_n_sparse`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no document can be shown, or they follow several protocols.
    """
    needs = {"phonon RMSE": mesh_rmse, "force RMSE": lambda item: finite(item.get("force_rmse"))}
    found = sort_out(benchmarks, needs)
    require(benchmarks, found, "phonon RMSE against force RMSE")
    require_one_protocol(found.shown)
    points = points_of(found.shown)
    looks = Looks(points)
    with style.applied():
        sections = [
            *_kind_sections(looks, with_lines=False),
            delta_section(looks),
            size_section(looks, points),
            _trained_section(points),
            _note_section(found),
        ]
        figure, axes = make_panels(panel_names(benchmarks), sections, (FORCE_RMSE, PHONON_RMSE))
        for panel, members in _by_panel(axes, points):
            _draw_markers(panel, members, looks)
        first = next(iter(axes.values()))
        scale_rmse(first, "x", [point.force_rmse for point in points if point.force_rmse is not None])
        scale_rmse(first, "y", [point.phonon_rmse for point in points])
        add_legend(figure, sections)
        return style.settle(figure)


def _by_panel(axes: dict[str, Axes], points: Sequence[Point]) -> Iterable[tuple[Axes, list[Point]]]:
    """Panels with their points; a panel without any says so."""
    for key, panel in axes.items():
        members = [point for point in points if point.panel == key]
        if not members:
            panel.text(
                0.5, 0.5, "nothing to show", transform=panel.transAxes, ha="center", va="center", color=style.GREY
            )
        yield panel, members


def _draw_lines(axes: Axes, points: Sequence[Point], looks: Looks) -> None:
    """Ascending n_sparse of each kind of potential and delta; a line joins them, or the best delta of many kinds."""
    series: dict[tuple[str, Detail], dict[float, list[Point]]] = {}
    for point in points:
        series.setdefault((point.family, point.detail), {}).setdefault(point.delta or 0.0, []).append(point)
    for (family, detail), of_deltas in sorted(series.items(), key=lambda pair: looks.kinds.index(pair[0])):
        best = min(of_deltas, key=lambda delta: (min(point.phonon_rmse for point in of_deltas[delta]), delta))
        for delta, members in sorted(of_deltas.items()):
            places = sorted((point.n_sparse, point.phonon_rmse) for point in members if point.n_sparse is not None)
            joined = not looks.crossed or delta == best
            axes.plot(
                [n_sparse for n_sparse, _ in places],
                [phonon_rmse for _, phonon_rmse in places],
                color=looks.colour(family, members[0].delta, detail),
                marker=looks.marker(family, detail),
                linestyle=looks.dashes(family, detail) if joined else "none",
                linewidth=CROWDED_LINE if looks.crossed else LINE,
                markersize=_marker_size(looks, joined=joined),
                markeredgewidth=0.0 if looks.crossed else 1.0,
                zorder=4 if looks.crossed and joined else 3,
            )


def _marker_size(looks: Looks, *, joined: bool) -> float:
    """Points; small among many kinds of potentials, smaller still without a line."""
    if not looks.crossed:
        return 5.0
    return 3.5 if joined else 2.5


def _draw_markers(axes: Axes, points: Sequence[Point], looks: Looks) -> None:
    """One marker a point, the large ones below."""
    for point in sorted(points, key=lambda point: -looks.area(point.n_sparse)):
        colour = looks.colour(point.family, point.delta, point.detail)
        axes.scatter(
            point.force_rmse or 0.0,
            point.phonon_rmse,
            s=looks.area(point.n_sparse),
            marker=looks.marker(point.family, point.detail),
            facecolors=_inside(colour, point.trained_on),
            edgecolors="white" if point.trained_on else colour,
            linewidths=0.6 if point.trained_on else 1.2,
            zorder=3,
        )


def _inside(colour: str, trained_on: bool | None) -> str:
    if trained_on is None:
        return UNKNOWN_FILL
    return colour if trained_on else "none"


def wrapped(text: str) -> str:
    """A name over as many lines of the legend as it needs."""
    return "\n".join(textwrap.wrap(text, LEGEND_WIDTH)) or text


def symbol(marker: str, colour: str, **options: Any) -> Line2D:
    """Handle of a legend entry that shows a marker alone."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"marker": marker, "color": colour, "linestyle": "none", "markersize": 6.0, **options})


def _kind_sections(looks: Looks, *, with_lines: bool) -> list[Section]:
    """What colour, marker and line style stand for: one section, or two where families and details are crossed."""
    if not looks.crossed:
        return [Section("Training set", [_kind_entry(looks, *kind, with_lines=with_lines) for kind in looks.kinds])]
    colours = [(symbol("o", looks.colour(family, None)), wrapped(family)) for family in looks.families]
    fields = [field for field in HEADINGS if any(field in dict(detail) for detail in looks.details)]
    shapes = []
    for detail in looks.details:
        family = looks.families[0]  # any: shape and dashes belong to the detail alone
        dashes = looks.dashes(family, detail) if with_lines else "none"
        text = ", ".join(dict(detail).get(field, "–") for field in fields)
        shapes.append((symbol(looks.marker(family, detail), style.GREY, linestyle=dashes), wrapped(text)))
    heading = ", ".join(HEADINGS[field] for field in fields)
    return [Section("Training set", colours), Section(heading, shapes)]


def _kind_entry(looks: Looks, family: str, detail: Detail, *, with_lines: bool) -> tuple[Line2D, str]:
    dashes = looks.dashes(family, detail) if with_lines else "none"
    handle = symbol(looks.marker(family, detail), looks.colour(family, None, detail), linestyle=dashes)
    return handle, wrapped(named(family, detail))


def _line_section(looks: Looks) -> Section:
    """Which potentials are joined, where not all are."""
    if not looks.crossed or len(looks.deltas) < 2:
        return Section("")
    return Section("Lines", [(None, "best δ in the panel")])


def delta_section(looks: Looks) -> Section:
    """What the shades stand for."""
    grey = "#6E6E6E"
    return Section(
        "δ (eV)",
        [(symbol("s", looks.shade(grey, delta), markersize=7.0), number(delta)) for delta in looks.deltas],
    )


def size_section(looks: Looks, points: Sequence[Point]) -> Section:
    """What the sizes stand for, some of many."""
    count = len(looks.sizes)
    steps = min(count, MOST_SIZES)
    picked = sorted({looks.sizes[round(i * (count - 1) / max(steps - 1, 1))] for i in range(steps)})
    entries = [
        (symbol("o", style.GREY, markersize=looks.area(size) ** 0.5, markerfacecolor="none"), f"{size:g}")
        for size in picked
    ]
    if count and any(point.n_sparse is None for point in points):
        entries.append((symbol("o", style.GREY, markersize=looks.area(None) ** 0.5, markerfacecolor="none"), "none"))
    return Section("Sparse points", entries)


def _trained_section(points: Sequence[Point]) -> Section:
    states = {point.trained_on for point in points}
    entries = [
        (symbol("o", style.DARK, markerfacecolor=_inside(style.DARK, state)), text)
        for state, text in TRAINED.items()
        if state in states
    ]
    return Section("Displaced supercells\nof the reference", entries)


def _note_section(found: Sorted) -> Section:
    return Section("Not shown", [(None, note) for note in found.notes()])
