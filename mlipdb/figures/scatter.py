"""Phonon errors of many potentials: against the number of sparse points and against force errors."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mlipdb.figures import style
from mlipdb.figures.documents import Raw, Sorted, finite, mesh_rmse, require, sort_out
from mlipdb.figures.labels import N_SPARSE, number
from mlipdb.figures.panels import Section, add_legend, make_panels, scale_rmse, scale_values
from mlipdb.figures.points import Looks, Point, panel_names, points_of

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


def rmse_against_n_sparse(benchmarks: Sequence[Raw]) -> Figure:
    """Draw the phonon RMSE against the number of sparse points, one panel a reference.

    Colour, marker and line style stand for the training set (and whatever else but
    delta sets potentials apart), the shade for delta.

    Parameters
    ----------
    benchmarks
        Documents of `phonon_benchmarks`. Those that failed or lack a number are counted
        in the legend.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no document can be shown.
    """
    found = sort_out(benchmarks, {"phonon RMSE": mesh_rmse, "n_sparse": lambda item: finite(item.get("n_sparse"))})
    require(benchmarks, found, "phonon RMSE against n_sparse")
    points = points_of(found.shown)
    looks = Looks(points)
    with style.applied():
        sections = [_family_section(looks, with_lines=True), delta_section(looks), _note_section(found)]
        figure, axes = make_panels(panel_names(benchmarks), sections, (SPARSE_POINTS, PHONON_RMSE))
        for panel, members in _by_panel(axes, points):
            _draw_lines(panel, members, looks)
        first = next(iter(axes.values()))
        width = figure.get_figwidth() * 0.6 / min(len(axes), 3)  # inches of a panel, cautiously
        scale_values(first, "x", looks.sizes, width)
        scale_rmse(first, "y", [point.phonon_rmse for point in points])
        add_legend(figure, sections)
        return style.settle(figure)


def phonon_rmse_against_force_rmse(benchmarks: Sequence[Raw]) -> Figure:
    """Draw the phonon RMSE against the force RMSE on the test set, one panel a reference.

    Marker and colour stand for the training set, the shade for delta, the size for
    n_sparse; filled markers are potentials that were trained on displaced supercells
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
        If no document can be shown.
    """
    needs = {"phonon RMSE": mesh_rmse, "force RMSE": lambda item: finite(item.get("force_rmse"))}
    found = sort_out(benchmarks, needs)
    require(benchmarks, found, "phonon RMSE against force RMSE")
    points = points_of(found.shown)
    looks = Looks(points)
    with style.applied():
        sections = [
            _family_section(looks, with_lines=False),
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
    """One line a family and delta, through ascending n_sparse."""
    series: dict[tuple[str, float | None], list[Point]] = {}
    for point in points:
        series.setdefault((point.family, point.delta), []).append(point)
    for (family, delta), members in sorted(series.items(), key=lambda pair: (pair[0][0], pair[0][1] or 0.0)):
        places = sorted((point.n_sparse, point.phonon_rmse) for point in members if point.n_sparse is not None)
        axes.plot(
            [n_sparse for n_sparse, _ in places],
            [phonon_rmse for _, phonon_rmse in places],
            color=looks.colour(family, delta),
            marker=looks.marker(family),
            linestyle=looks.dashes(family),
            markersize=5.0,
            zorder=3,
        )


def _draw_markers(axes: Axes, points: Sequence[Point], looks: Looks) -> None:
    """One marker a point, the large ones below."""
    for point in sorted(points, key=lambda point: -looks.area(point.n_sparse)):
        colour = looks.colour(point.family, point.delta)
        axes.scatter(
            point.force_rmse or 0.0,
            point.phonon_rmse,
            s=looks.area(point.n_sparse),
            marker=looks.marker(point.family),
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


def _family_section(looks: Looks, *, with_lines: bool) -> Section:
    entries = []
    for family in looks.families:
        dashes = looks.dashes(family) if with_lines else "none"
        handle = symbol(looks.marker(family), looks.colour(family, None), linestyle=dashes)
        entries.append((handle, wrapped(family)))
    return Section("Training set", entries)


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
