"""Potentials of a hyperparameter study: errors over the grid, and accuracy against evaluation time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlipdb.errors import DataError
from mlipdb.figures import style
from mlipdb.figures.documents import Raw
from mlipdb.figures.heat import draw_heat_maps, grid_of
from mlipdb.figures.labels import N_SPARSE, number, plain
from mlipdb.figures.panels import Section, add_legend, make_panels, scale_log
from mlipdb.figures.points import Looks, Point
from mlipdb.figures.scatter import delta_section, size_section, symbol, wrapped
from mlipdb.figures.scores import Score, Scores, front_of, pareto_front, scores_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pareto_front", "study_heat_maps", "study_pareto"]

EVALUATION_TIME = "Evaluation time (CPU ms/atom)"
#: Members of the front closer than this, points, share a number's place.
CLOSE = 9.0


def study_heat_maps(
    potentials: Sequence[Raw], benchmarks: Sequence[Raw], *, metric: str = "mesh.rmse", material: str | None = None
) -> Figure:
    """Draw an error over the grid of n_sparse and delta, one panel for each training set and f.

    Whatever else two potentials of one cell differ in gets panels of its own. All panels have one
    colour scale. A potential whose mean misses materials has a cell without colour that says of how
    many materials it is the mean.

    Parameters
    ----------
    potentials
        Documents of `potentials`, failed ones too.
    benchmarks
        Documents of `phonon_benchmarks`, of one protocol, failed ones too.
    metric
        ``mesh.rmse`` or ``path.rmse`` (THz; means over materials), ``force_rmse`` (eV/Angstrom) or
        ``energy_rmse`` (meV/atom) on the test side of each training set.
    material
        Id or name of one material instead of the mean over all.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UsageError
        If there is no such metric, or a material is given for an error on the test set.
    NotFoundError
        If no benchmark is of the material.
    DataError
        If there is nothing to show, the benchmarks follow several protocols, or two potentials have one
        place in the grid and nothing tells them apart.
    """
    scores = scores_of(potentials, benchmarks, metric, material)
    grid = grid_of(scores.rows)
    if not grid.panels:
        raise DataError(
            f"none of the {len(scores.rows)} potentials has n_sparse and delta, which are the axes of the heat maps; "
            "only fitted potentials have them"
        )
    left_out = scores.left_out + Counter({"without n_sparse or delta": len(scores.rows) - _n_cells(grid.panels)})
    notes = [f"not shown: {', '.join(_notes(+left_out))}"] if +left_out else []
    with style.applied():
        return draw_heat_maps(scores, grid, notes)


def study_pareto(
    potentials: Sequence[Raw], benchmarks: Sequence[Raw], *, metric: str = "mesh.rmse", material: str | None = None
) -> Figure:
    """Draw an error against the evaluation time, and the Pareto front.

    Colour stands for the training set, shade for delta, size for n_sparse and shape for f. Members
    of the front are numbered; the legend gives their n_sparse, delta (eV) and f. Potentials whose
    mean misses materials are hollow and have no place on the front.

    Parameters
    ----------
    potentials, benchmarks, metric, material
        As for `study_heat_maps`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UsageError, NotFoundError, DataError
        As `study_heat_maps`; also if no potential has both the error and an evaluation time.
    """
    scores = scores_of(potentials, benchmarks, metric, material)
    shown = _with_both(scores)
    members = front_of(scores, shown)
    looks = _StudyLooks(shown)
    with style.applied():
        sections = [*looks.sections(), _hollow_section(scores, shown), _front_section(members, looks)]
        sections.append(Section("Not shown", [(None, wrapped(note)) for note in _notes(+scores.left_out)]))
        figure, panels = make_panels({"study": ""}, sections, (EVALUATION_TIME, scores.label()))
        figure.set_figwidth(6.5)
        axes = panels["study"]
        scale_log(axes, "x", [row.evaluation_time_ms or 0.0 for row in shown])
        scale_log(axes, "y", [row.value or 0.0 for row in shown])
        looks.draw(axes, shown, scores)
        _draw_front(axes, members)
        add_legend(figure, sections)
        style.settle(figure)
        _number_members(axes, members)
        return figure


def _n_cells(panels: dict[tuple[object, ...], dict[tuple[float, float], Score]]) -> int:
    return sum(len(cells) for cells in panels.values())


def _notes(left_out: Counter[str]) -> list[str]:
    return [f"{count} {reason}" for reason, count in sorted(left_out.items())]


def _with_both(scores: Scores) -> list[Score]:
    """Potentials with a positive error and evaluation time; counts the others."""
    shown = []
    for row in scores.rows:
        if row.failed:
            scores.left_out["failed"] += 1
        elif not row.value or row.value < 0:
            scores.left_out["without RMSE"] += 1
        elif not row.evaluation_time_ms or row.evaluation_time_ms < 0:
            scores.left_out["without evaluation time"] += 1
        else:
            shown.append(row)
    if not shown:
        raise DataError(
            f"none of the {len(scores.rows)} potentials has both a {scores.metric.name} and an evaluation time "
            f"({', '.join(_notes(+scores.left_out))}); the time is measured when a potential is fitted"
        )
    return shown


class _StudyLooks:
    """Colour by training set, shade by delta, size by n_sparse, shape by f."""

    def __init__(self, rows: Sequence[Score]) -> None:
        self._points = {row.key: _point(row) for row in rows}
        self._looks = Looks(list(self._points.values()))
        self._fs = sorted({row.f for row in rows if row.f is not None})

    def marker(self, row: Score) -> str:
        """Shape of a potential; where f is the same for all, that of its training set."""
        if len(self._fs) < 2:
            return self._looks.marker(self._points[row.key].family)
        return style.MARKERS[0 if row.f is None else self._fs.index(row.f) % len(style.MARKERS)]

    def colour(self, row: Score) -> str:
        """Hue of the training set in the shade of delta."""
        return self._looks.colour(self._points[row.key].family, row.delta)

    def draw(self, axes: Axes, rows: Sequence[Score], scores: Scores) -> None:
        """One marker a potential, the large ones below."""
        for row in sorted(rows, key=lambda row: -self._looks.area(row.n_sparse)):
            whole, colour = scores.whole(row), self.colour(row)
            axes.scatter(
                row.evaluation_time_ms or 0.0,
                row.value or 0.0,
                s=self._looks.area(row.n_sparse),
                marker=self.marker(row),
                facecolors=colour if whole else "none",
                edgecolors="white" if whole else colour,
                linewidths=0.6 if whole else 1.2,
                zorder=3,
                gid=row.key,
            )

    def sections(self) -> list[Section]:
        """Legend of all four."""
        families = [
            (
                symbol("o" if len(self._fs) > 1 else self._looks.marker(name), self._looks.colour(name, None)),
                wrapped(name),
            )
            for name in self._looks.families
        ]
        shapes = [
            (symbol(style.MARKERS[index % len(style.MARKERS)], style.GREY), number(f))
            for index, f in enumerate(self._fs)
        ]
        return [
            Section("Training set", families),
            delta_section(self._looks),
            Section("f", shapes if len(shapes) > 1 else []),
            size_section(self._looks, list(self._points.values())),
        ]


def _point(row: Score) -> Point:
    return Point("study", plain(row.source), row.n_sparse, row.delta, row.value or 0.0, None, None)


def _hollow_section(scores: Scores, shown: Sequence[Score]) -> Section:
    if all(scores.whole(row) for row in shown):
        return Section("")
    hollow = symbol("o", style.GREY, markerfacecolor="none")
    return Section("Mean over materials", [(hollow, "misses some,\nnot for the front")])


def _front_section(members: Sequence[Score], looks: _StudyLooks) -> Section:
    entries = []
    for index, row in enumerate(members, start=1):
        asked = [f"{row.n_sparse:g}" if row.n_sparse is not None else "–"]
        asked += ["–" if value is None else number(value) for value in (row.delta, row.f)]
        entries.append((symbol(looks.marker(row), looks.colour(row)), f"{index}:  {',  '.join(asked)}"))
    return Section(f"Pareto front:\n{N_SPARSE}, δ (eV), f", entries)


def _draw_front(axes: Axes, members: Sequence[Score]) -> None:
    """The border of what the front beats, from the upper to the right edge."""
    if not members:
        return
    top, right = axes.get_ylim()[1], axes.get_xlim()[1]
    times = [row.evaluation_time_ms or 0.0 for row in members]
    values = [row.value or 0.0 for row in members]
    axes.plot(
        [times[0], *times, right],
        [top, *values, values[-1]],
        drawstyle="steps-post",
        color=style.DARK,
        linewidth=0.9,
        zorder=2,
        gid="front",
    )


def _number_members(axes: Axes, members: Sequence[Score]) -> None:
    """Numbers below and to the left of the front, where no potential is; close members share one place."""
    from matplotlib.patheffects import withStroke

    groups: list[tuple[tuple[float, float], list[int]]] = []
    scale = 72.0 / axes.figure.dpi
    for index, row in enumerate(members, start=1):
        x, y = axes.transData.transform((row.evaluation_time_ms or 0.0, row.value or 0.0)) * scale
        if groups and abs(x - groups[-1][0][0]) < CLOSE and abs(y - groups[-1][0][1]) < CLOSE:
            groups[-1][1].append(index)
        else:
            groups.append(((x, y), [index]))
    for _, numbers in groups:
        first = members[numbers[0] - 1]
        axes.annotate(
            f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}",
            (first.evaluation_time_ms or 0.0, first.value or 0.0),
            xytext=(-4.0, -4.0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=style.SMALL,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
            zorder=5,
        )
