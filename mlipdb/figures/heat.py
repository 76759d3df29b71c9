"""Heat maps over the grid of n_sparse and delta: which potential goes where, and the drawing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlipdb.errors import DataError
from mlipdb.figures import style
from mlipdb.figures.documents import Raw
from mlipdb.figures.labels import N_SPARSE, number, plain, text_width
from mlipdb.figures.panels import WIDE
from mlipdb.figures.scores import Score, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["Grid", "draw_heat_maps", "grid_of"]

#: Low errors dark, high ones bright; made for every kind of colour vision (Nunez et al. 2018).
COLOURS = "cividis"
PAGE = 7.5  # width, inches
LABELS = 0.7  # beside the panels to the left, inches
BAR = 1.0  # colour bar and its label, inches
GAP = 0.15  # between panels, inches
CELL = 0.32  # least width of a cell with a number, inches
CELL_HEIGHT = 0.3
WIDEST_CELL = 0.6
LEAST = (4.0, 2.6)  # inches, whatever the grid
LINE = 0.18  # of a title or legend, inches
TINY = 6.0  # points; the smallest type in a cell
VALUE = 7.0  # points
SIZES = 8.0  # points; of the numbers below the panels
MOST_COLUMNS = 5
NO_FIT: dict[str, Any] = {"facecolor": "#F0F0F0", "edgecolor": "#A0A0A0", "hatch": "////"}
FAILED: dict[str, Any] = {"facecolor": "#C0C0C0", "edgecolor": "#505050", "hatch": "xxxx"}
PARTIAL: dict[str, Any] = {"facecolor": "white", "edgecolor": "#505050"}

Place = tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Potentials by panel, n_sparse and delta.

    Attributes
    ----------
    fields
        What sets panels apart: training set, f, and whatever else two potentials of one cell differ in.
    panels
        Values of these fields -> (n_sparse, delta) -> the potential there.
    sizes, deltas
        All values along the axes, ascending.
    """

    fields: list[str]
    panels: dict[tuple[Any, ...], dict[tuple[float, float], Score]]
    sizes: list[float]
    deltas: list[float]


def grid_of(rows: Sequence[Score]) -> Grid:
    """Put potentials on a grid such that no two share a cell.

    Parameters
    ----------
    rows
        Potentials; those without n_sparse or delta belong on no grid and are left out.

    Raises
    ------
    DataError
        If two potentials share a cell and their documents do not differ in anything that could part them.
    """
    placed = [row for row in rows if row.n_sparse is not None and row.delta is not None]
    described = [{"training_set": row.source, "f": row.f, **_flat(row.document)} for row in placed]
    fields = ["training_set", "f"]
    while True:
        panels: dict[tuple[Any, ...], dict[tuple[float, float], Score]] = {}
        owners: dict[Any, dict[str, Any]] = {}
        clash = None
        for row, facts in zip(placed, described, strict=True):
            panel = tuple(facts.get(name) for name in fields)
            cell = (row.n_sparse or 0.0, row.delta or 0.0)
            other = panels.setdefault(panel, {}).setdefault(cell, row)
            if other is not row:
                clash = clash or (other, owners[panel, cell], row, facts)
            else:
                owners[panel, cell] = facts
        if clash is None:
            break
        fields.append(_axis_between(*clash, fields))
    ordered = dict(sorted(panels.items(), key=lambda pair: _order(pair[0])))
    return Grid(
        fields,
        ordered,
        sorted({row.n_sparse for row in placed if row.n_sparse is not None}),
        sorted({row.delta for row in placed if row.delta is not None}),
    )


def _axis_between(one: Score, its: Raw, other: Score, others: Raw, taken: Sequence[str]) -> str:
    """The first thing that two potentials of one cell differ in."""
    for name in dict.fromkeys([*its, *others]):
        if name not in taken and its.get(name) != others.get(name):
            return name
    raise DataError(
        f"potentials {one.key} and {other.key} have the same place in the grid (n_sparse {one.n_sparse:g}, delta "
        f"{one.delta:g}, training set {one.source}) and no field that tells them apart; choose one of them",
        reason="shared_cell",
    )


def _flat(document: Raw) -> dict[str, Any]:
    """What the key of a potential is made from, as plain texts and numbers by dotted path."""
    facts: dict[str, Any] = {"framework": document.get("framework")}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name in sorted(value):
                add(f"{prefix}.{name}" if prefix else str(name), value[name])
        elif prefix != "f":
            facts[prefix] = value if isinstance(value, (int, float, str, type(None))) else str(value)

    add("", document.get("hyperparameters") or {})
    facts["training_set_id"] = document.get("training_set_id")
    facts["engine"] = document.get("engine")
    add("study", document.get("study") or {})
    return facts


def _order(panel: tuple[Any, ...]) -> tuple[Any, ...]:
    """Training set first and f last, numbers by value, nothing before anything."""
    source, f, *rest = panel
    return tuple(
        (0, 0.0, "")
        if value is None
        else (1, float(value), "")
        if isinstance(value, (int, float))
        else (2, 0.0, str(value))
        for value in (source, *rest, f)
    )


def _titles(grid: Grid, width: float) -> dict[tuple[Any, ...], str]:
    """Title of every panel in lines that fit its width (inches): the training set, and what varies besides."""
    varying = [len({panel[index] for panel in grid.panels}) > 1 for index in range(len(grid.fields))]
    titles = {}
    for panel in grid.panels:
        parts = [plain(str(panel[0]))] if varying[0] or len(grid.panels) == 1 else []
        details = [
            _detail(name, value) for name, value, on in list(zip(grid.fields, panel, varying, strict=True))[1:] if on
        ]
        lines = [line for part in [*parts, *details] for line in _broken(part, width)]
        titles[panel] = "\n".join(lines)
    return titles


def _detail(name: str, value: Any) -> str:
    if name == "training_set_id":
        return str(value)[:9]
    if name == "study.n_sparse":
        return plain(f"study of {value}")
    shown = number(value) if isinstance(value, float) else "none" if value is None else str(value)
    return plain(f"{name.rpartition('.')[2]} = {shown}")


def _broken(text: str, width: float) -> list[str]:
    """A text in lines of at most some inches; nothing of it is lost."""
    points = text_width(text, style.SMALL)
    if points <= 72 * width:
        return [text]
    return textwrap.wrap(text, max(4, int(len(text) * 72 * width / points))) or [text]


def draw_heat_maps(scores: Scores, grid: Grid, notes: Sequence[str]) -> Figure:
    """Draw one panel for each of a grid, with one colour scale, inside `style.applied`.

    Parameters
    ----------
    scores
        What the values are.
    grid
        At least one panel.
    notes
        Lines below the figure.
    """
    n_columns, cell = _columns(grid)
    n_rows = -(-len(grid.panels) // n_columns)
    titles = _titles(grid, cell * len(grid.sizes))
    lines = max(title.count("\n") + 1 for title in titles.values())
    asked = LABELS + n_columns * (cell * len(grid.sizes) + GAP) + BAR
    width = max(asked, LEAST[0])
    legend = [(handle, "\n".join(_broken(text, width - 0.6))) for handle, text in _legend_entries(scores, grid, notes)]
    below = 0.6 + LINE * sum(1 + text.count("\n") for _, text in legend)
    height = max(n_rows * (CELL_HEIGHT * len(grid.deltas) + LINE * lines + GAP), LEAST[1] - 0.6) + below
    figure = style.new_figure(width, height)
    axes = list(figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).flat)
    for unused in axes[len(grid.panels) :]:
        unused.remove()
    axes = axes[: len(grid.panels)]
    mappable = _colour_scale([row.value for row in _compared(scores, grid) if row.value is not None])
    room = cell * width / asked
    for panel, (key, cells) in zip(axes, grid.panels.items(), strict=True):
        _draw_panel(panel, cells, scores, grid, mappable, room)
        panel.set_title(titles[key], fontsize=style.SMALL, pad=3.0)
    _label_axes(axes, grid, n_columns, room)
    if mappable is not None:
        _add_bar(figure, axes, mappable, scores.label())
    if legend:
        figure.legend(*zip(*legend, strict=True), loc="outside lower center", labelspacing=0.3, handlelength=2.0)
    return style.settle(figure)


def _columns(grid: Grid) -> tuple[int, float]:
    """Panels in a row, and the width of a cell in inches.

    Where every training set has as many panels, a row holds those of one, or an even part of them.
    """
    room = PAGE - LABELS - BAR
    most = max(1, min(MOST_COLUMNS, int(room // (CELL * len(grid.sizes) + GAP))))
    counts: dict[Any, int] = {}
    for source, _, *rest in grid.panels:
        counts[source, *rest] = counts.get((source, *rest), 0) + 1
    shared = set(counts.values())
    in_a_row = shared.pop() if len(shared) == 1 and max(counts.values()) > 1 else len(grid.panels)
    n_columns = -(-in_a_row // -(-in_a_row // most))
    return n_columns, min(WIDEST_CELL, (room / n_columns - GAP) / len(grid.sizes))


def _compared(scores: Scores, grid: Grid) -> list[Score]:
    return [row for cells in grid.panels.values() for row in cells.values() if scores.whole(row)]


def _colour_scale(values: Sequence[float]) -> ScalarMappable | None:
    """One scale for all panels, logarithmic where values span a wide range."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    if not values:
        return None
    low, high = min(values), max(values)
    if low == high:
        low, high = 0.9 * low, 1.1 * high or 1.0
    norm = LogNorm(low, high) if low > 0 and high / low > WIDE else Normalize(low, high)
    return ScalarMappable(norm, COLOURS)


def _draw_panel(
    axes: Axes,
    cells: Mapping[tuple[float, float], Score],
    scores: Scores,
    grid: Grid,
    mappable: ScalarMappable | None,
    width: float,
) -> None:
    from matplotlib.patches import Rectangle

    for x, size in enumerate(grid.sizes):
        for y, delta in enumerate(grid.deltas):
            row = cells.get((size, delta))
            look = _look(row, scores, mappable)
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, linewidth=0.4, zorder=2, **look))
            if row is not None and row.value is not None:
                _write(axes, (x, y), row, scores, _ink(look["facecolor"]), width)
    axes.set_xlim(-0.5, len(grid.sizes) - 0.5)
    axes.set_ylim(-0.5, len(grid.deltas) - 0.5)


def _look(row: Score | None, scores: Scores, mappable: ScalarMappable | None) -> dict[str, Any]:
    if row is None:
        return NO_FIT
    if row.value is None:
        return FAILED
    if not scores.whole(row) or mappable is None:
        return PARTIAL
    import numpy as np

    return {"facecolor": tuple(mappable.to_rgba(np.array([row.value]))[0]), "edgecolor": "white"}


def _ink(background: Any) -> str:
    """Black or white, whichever stands out (luminance as in Rec. 709)."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(background)
    return style.DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


def _write(axes: Axes, place: tuple[float, float], row: Score, scores: Scores, ink: str, width: float) -> None:
    """The value, and of how many references it is the mean if not of all; upright where a cell is narrow."""
    value = row.value or 0.0
    text = digits(value) if text_width(digits(value), VALUE) < 72 * width - 5.0 else digits(value, 2)
    if not scores.whole(row):
        text = f"{text}\n{row.n_present}/{scores.n_references}"
    widest = max(text_width(line, VALUE) for line in text.split("\n"))
    turned = widest > 72 * width - 3.0
    axes.text(
        *place,
        text,
        color=ink,
        fontsize=TINY if turned or "\n" in text else VALUE,
        rotation=90.0 if turned else 0.0,
        ha="center",
        va="center",
        linespacing=1.0,
        zorder=3,
    )


def digits(value: float, count: int = 3) -> str:
    """Some significant digits, two below a tenth, without needless powers of ten."""
    if value == 0 or not 1e-3 <= abs(value) < 1e4:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e") if value else "0"
    places = (2 if abs(value) < 0.1 else count) - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def _label_axes(axes: Sequence[Axes], grid: Grid, n_columns: int, width: float) -> None:
    """Numbers and names at the outer panels; the lowest of a column carries them, whatever lies below it."""
    sizes = [f"{size:g}" for size in grid.sizes]
    turned = max(text_width(text, SIZES) for text in sizes) > 72 * width - 2.0
    for index, panel in enumerate(axes):
        panel.tick_params(length=0, pad=2.0)
        panel.set_xticks(range(len(sizes)), sizes, rotation=90.0 if turned else 0.0)
        panel.set_yticks(range(len(grid.deltas)), [number(delta) for delta in grid.deltas])
        lowest = index + n_columns >= len(axes)
        panel.tick_params(axis="x", labelbottom=lowest, labelsize=SIZES)
        if lowest:
            panel.set_xlabel(N_SPARSE)
        if index % n_columns == 0:
            panel.set_ylabel("δ (eV)")


def _add_bar(figure: Figure, axes: Sequence[Axes], mappable: ScalarMappable, label: str) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    bar = figure.colorbar(mappable, ax=list(axes), location="right", fraction=0.05, aspect=25, pad=0.02)
    low, high = mappable.get_clim()
    if isinstance(mappable.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if (high / low) < 100 else (1.0,)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(5))
    bar.ax.yaxis.set_major_formatter(lambda value, _: number(value))
    bar.set_label(label, fontsize=style.SMALL)
    bar.outline.set_linewidth(0.6)


def _legend_entries(scores: Scores, grid: Grid, notes: Sequence[str]) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = [row for cells in grid.panels.values() for row in cells.values()]
    n_cells = len(grid.panels) * len(grid.sizes) * len(grid.deltas)
    entries: list[tuple[Any, str]] = []
    if len(rows) < n_cells:
        entries.append((Patch(linewidth=0.4, **NO_FIT), "no potential"))
    if any(row.value is None for row in rows):
        what = "fit failed, or no complete benchmark" if scores.n_references else "fit failed, or no test error"
        entries.append((Patch(linewidth=0.4, **FAILED), what))
    if any(row.value is not None and not scores.whole(row) for row in rows):
        unit = "materials" if scores.n_references == len(scores.materials) else "DFT phonon references"
        text = f"benchmarks missing or failed: mean over n/N {unit} only, not to be compared"
        entries.append((Patch(linewidth=0.8, **PARTIAL), text))
    blank = Line2D([], [], linestyle="none")
    return entries + [(blank, note) for note in notes]
