"""Colours, sizes and the matplotlib settings shared by all figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "DASHES",
    "DOS_FILL",
    "FONT",
    "GREY",
    "MARKERS",
    "PALETTE",
    "SMALL",
    "applied",
    "hue",
    "new_figure",
    "settle",
    "shades",
]

#: Hues of Okabe and Ito (2008), told apart with every common kind of colour vision. Black stands for
#: DFT; yellow is left out, since thin lines of it vanish on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Second channel beside the hue, and what tells hues apart once they repeat.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES = ("-", "--", "-.", ":")
DARK = "#1A1A1A"
GREY = "#808080"
DOS_FILL = "#C8C8C8"
#: Points. Band structures and single panels are 5.5 inches wide: shrunk to a column of 3.4 inches, 9 points
#: become 5.6. Rows of panels are as wide as a page.
FONT = 10.0
SMALL = 9.0

_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: same letters on any machine
    "mathtext.fontset": "dejavusans",
    "font.size": FONT,
    "axes.labelsize": FONT,
    "axes.titlesize": FONT,
    "figure.titlesize": FONT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "mlipdb",
    "path.simplify_threshold": 0.05,
}


@contextmanager
def applied() -> Iterator[None]:
    """Context with matplotlib's defaults plus the settings of these figures; the user's come back after it."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure that lays itself out, beyond the reach of pyplot.

    Parameters
    ----------
    width, height
        Inches.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))


def hue(index: int) -> str:
    """Colour of the n-th thing; they repeat after six."""
    return PALETTE[index % len(PALETTE)]


def settle(figure: Figure) -> Figure:
    """Lay a finished figure out once and for all.

    Left to itself the layout moves by some last digits at every drawing, and the bytes of an SVG with it.

    Returns
    -------
    matplotlib.figure.Figure
        The same figure.
    """
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        layout.execute(figure)  # the first time it does not know yet how large everything gets
    figure.set_layout_engine("none")
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((round(box.x0, 4), round(box.y0, 4), round(box.width, 4), round(box.height, 4)))
    return figure


def shades(colour: str, count: int) -> list[str]:
    """Shades of one colour from light to dark; the colour itself where there is but one.

    Parameters
    ----------
    colour
        Any colour matplotlib knows.
    count
        How many.
    """
    from matplotlib.colors import to_hex, to_rgb

    if count == 1:
        return [to_hex(colour)]
    steps = [-0.5 + 0.8 * index / (count - 1) for index in range(count)]
    return [to_hex([_mixed(part, step) for part in to_rgb(colour)]) for step in steps]


def _mixed(part: float, step: float) -> float:
    """Move one colour component towards white (step < 0) or black (step > 0)."""
    return part + (1.0 - part) * -step if step < 0 else part * (1.0 - step)
