"""Grids of panels with shared axes, logarithmic where the numbers ask for it, and one legend beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mlipdb.figures import style
from mlipdb.figures.labels import number, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["Section", "add_legend", "make_panels", "scale_log", "scale_rmse", "scale_values"]

AxisName = Literal["x", "y"]

#: Panels in a row.
MOST_COLUMNS = 3
#: Numbers that span more than this factor go on a logarithmic axis.
WIDE = 8.0
#: A logarithmic axis of less than this factor gets evenly spaced labels.
NARROW = 5.0
#: Up to this factor between the largest and smallest number -> digits with a label.
LOG_MARKS = ((50.0, (1.0, 2.0, 5.0)), (500.0, (1.0, 3.0)))
#: Least distance between two ticks, points.
TICK_SPACE = 5.0
#: A line of the legend, inches.
LEGEND_LINE = 0.185


@dataclass(frozen=True)
class Section:
    """Part of a legend under a heading.

    Attributes
    ----------
    heading
        Typeset text.
    entries
        Handles and texts; a handle of None is blank.
    """

    heading: str
    entries: list[tuple[Any, str]] = field(default_factory=list)


def make_panels(
    names: Mapping[str, str], sections: Sequence[Section], labels: tuple[str, str]
) -> tuple[Figure, dict[str, Axes]]:
    """Make one panel a reference, at most three in a row, with the axes shared.

    Parameters
    ----------
    names
        Key of each panel -> its title.
    sections
        Of the legend; the figure gets tall enough for them.
    labels
        Of the x and y axis; they stand at the outer panels.

    Returns
    -------
    matplotlib.figure.Figure, dict
        The figure, and the axes of each key of ``names``.
    """
    n_columns = min(MOST_COLUMNS, len(names))
    n_rows = -(-len(names) // n_columns)
    lines = sum(_n_lines(section) for section in sections if section.entries)
    height = max({1: 3.6, 2: 5.0}.get(n_rows, 2.3 * n_rows), LEGEND_LINE * lines + 0.3)
    if n_rows == 1 and n_columns > 1:
        height = max(3.0, LEGEND_LINE * lines + 0.3)
    figure = style.new_figure({1: 5.5, 2: 6.5, 3: 7.5}[n_columns], height)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[len(names) :]:
        unused.remove()
    for column in range(n_columns):  # the lowest panel of a column carries the numbers, whatever lies below it
        last = max(index for index in range(len(names)) if index % n_columns == column)
        axes[last].tick_params(axis="x", labelbottom=True)
        axes[last].set_xlabel(labels[0])
    for row in grid:
        row[0].set_ylabel(labels[1])
    for panel, name in zip(axes, names.values(), strict=False):
        panel.set_title(name)
        panel.grid(color="#E4E4E4", linewidth=0.5, zorder=0)
        panel.set_axisbelow(True)
    return figure, dict(zip(names, axes, strict=False))


def _n_lines(section: Section) -> float:
    """Lines of a section in the legend, with the space below it."""
    texts = [section.heading, *(text for _, text in section.entries)]
    return sum(1 + text.count("\n") for text in texts) + 0.9


def scale_rmse(axes: Axes, name: AxisName, values: Sequence[float]) -> None:
    """Start an axis of errors at zero, or make it logarithmic where they span a wide range.

    Parameters
    ----------
    axes
        Any of the panels, which share their axes.
    name
        Which axis.
    values
        What is drawn along it.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if low > 0 and high / low > WIDE:
        _logarithmic(axes, name, _marks(name, high / low))
        margin = (high / low) ** 0.1  # a tenth of the axis: room for the largest marker
        _set_limits(axes, name, low / margin, high * margin)
    else:
        _axis(axes, name).set_major_locator(MaxNLocator(6 if name == "y" else 4, steps=[1, 2, 2.5, 5, 10]))
        _axis(axes, name).set_major_formatter(_plain)
        _set_limits(axes, name, 0.0, 1.1 * high or 1.0)


def scale_log(axes: Axes, name: AxisName, values: Sequence[float]) -> None:
    """Make an axis logarithmic whatever the range, with labels enough to read it.

    Parameters
    ----------
    axes, name
        As for `scale_rmse`.
    values
        What is drawn along it, all positive.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    _logarithmic(axes, name, next((marks for most, marks in LOG_MARKS if high / low <= most), (1.0,)))
    margin = max((high / low) ** 0.1, 1.1)
    if high / low < NARROW:
        _axis(axes, name).set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    _set_limits(axes, name, low / margin, high * margin)


def scale_values(axes: Axes, name: AxisName, values: Sequence[float], width: float) -> None:
    """Mark the values themselves on an axis, logarithmic where they span a wide range.

    Labels without room are left out, and ticks that would lie on one another. Of two
    the one with more values stays.

    Parameters
    ----------
    axes, name
        As for `scale_rmse`.
    values
        What is drawn along it, as often as it is drawn.
    width
        Length of the axis, inches.
    """
    counts = Counter(values)
    marks = sorted(counts)
    logarithmic = marks[0] > 0 and marks[-1] / marks[0] > WIDE / 2
    if logarithmic:
        _logarithmic(axes, name, (1.0,))
    places = [math.log(mark) if logarithmic else mark for mark in marks]
    margin = 0.15 * (places[-1] - places[0]) or 0.5
    low, high = places[0] - margin, places[-1] + margin
    points = [(place - low) / (high - low) * width * 72 for place in places]
    labels = [_plain(mark, 0) for mark in marks]
    wanted = sorted(range(len(marks)), key=lambda index: (-counts[marks[index]], index))
    named = _with_room(wanted, points, [text_width(label, style.SMALL) + 5.0 for label in labels])
    ticked = sorted(_with_room([*named, *wanted], points, [TICK_SPACE] * len(marks)))
    axis = _axis(axes, name)
    axis.set_ticks([marks[i] for i in ticked], labels=[labels[i] if i in named else "" for i in ticked])
    axis.set_ticks([], minor=True)
    _set_limits(axes, name, *(math.exp(end) if logarithmic else end for end in (low, high)))


def _with_room(wanted: Sequence[int], points: Sequence[float], widths: Sequence[float]) -> list[int]:
    """The first of all wanted things, and each further one that touches none taken before."""
    taken: list[int] = []
    for index in wanted:
        if all(abs(points[index] - points[other]) >= (widths[index] + widths[other]) / 2 for other in taken):
            taken.append(index)
    return taken


def _plain(value: float, _: object) -> str:
    """Tick label without powers of ten."""
    return number(value)


def _marks(name: AxisName, ratio: float) -> tuple[float, ...]:
    """Digits with a label on a logarithmic axis: the fewer, the more decades there are and the wider labels stand."""
    if ratio > (30.0 if name == "x" else 100.0):
        return (1.0,)
    return (1.0, 3.0) if name == "x" else (1.0, 2.0, 5.0)


def _logarithmic(axes: Axes, name: AxisName, digits: tuple[float, ...]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    axis = _axis(axes, name)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(_plain)
    axis.set_minor_formatter(NullFormatter())


def _set_limits(axes: Axes, name: AxisName, low: float, high: float) -> None:
    (axes.set_xlim if name == "x" else axes.set_ylim)(low, high)


def _axis(axes: Axes, name: AxisName) -> Axis:
    return axes.xaxis if name == "x" else axes.yaxis


def add_legend(figure: Figure, sections: Sequence[Section]) -> None:
    """Put one legend to the right of all panels, its sections under headings."""
    from matplotlib.lines import Line2D

    blank = Line2D([], [], linestyle="none")
    handles: list[Any] = []
    labels: list[str] = []
    headings = []
    for section in (section for section in sections if section.entries):
        if labels:
            handles.append(blank)
            labels.append("")
        headings.append(len(labels))
        handles.append(blank)
        labels.append(section.heading)
        for handle, label in section.entries:
            handles.append(handle or blank)
            labels.append(label)
    legend = figure.legend(handles, labels, loc="outside right upper", handlelength=2.0, labelspacing=0.25)
    for index in headings:
        legend.texts[index].set_fontweight("bold")
