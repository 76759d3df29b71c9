"""Words on figures: high-symmetry points, names that users chose, numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "N_SPARSE",
    "described",
    "details",
    "families",
    "named",
    "number",
    "plain",
    "point_label",
    "source",
    "spaced_rows",
    "text_width",
]

Raw = Mapping[str, Any]

N_SPARSE = r"$n_\mathrm{sparse}$"
_GREEK = {
    "GAMMA": "Γ",
    "DELTA": "Δ",
    "THETA": "Θ",
    "LAMBDA": "Λ",
    "XI": "Ξ",
    "PI": "Π",
    "SIGMA": "Σ",
    "PHI": "Φ",
    "PSI": "Ψ",
    "OMEGA": "Ω",
}
#: What besides the training set can tell potentials apart, and how a label says it.
_DETAILS = (
    ("framework", "{}"),
    ("f", "f = {}"),
    ("benchmark", "benchmark {}"),
)


def point_label(label: str) -> str:
    """Typeset the label of a high-symmetry point.

    ``GAMMA`` becomes Γ, ``X_1`` an X with a subscript, ``SIGMA_0`` a Σ with one; anything else stays.
    """
    name, _, index = label.partition("_")
    shown = _GREEK.get(name, plain(name))
    if re.fullmatch(r"[0-9A-Za-z]+", index):
        return rf"{shown}$_\mathrm{{{index}}}$" if not index.isdigit() else f"{shown}$_{{{index}}}$"
    return _GREEK.get(label, plain(label))


def plain(text: str) -> str:
    """A text that matplotlib shows as it is, dollar signs included."""
    return text.replace("$", r"\$")


def number(value: float) -> str:
    """A number with up to four significant digits, no needless zeros, and a real minus sign."""
    shown = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return shown.replace("-", "\N{MINUS SIGN}")


def text_width(text: str, size: float) -> float:
    """Width of a (typeset) text in points, without drawing it."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=size).get_extents().width)


def spaced_rows(positions: Sequence[float], widths: Sequence[float], gap: float) -> list[int]:
    """Row of each centred label such that none touches its neighbour in the row.

    Parameters
    ----------
    positions, widths
        Centres, ascending, and widths of the labels, in points.
    gap
        Least space between two labels, points.

    Returns
    -------
    list of int
        0 for the first row wherever it fits, else the next row with room.
    """
    ends: list[float] = []
    rows = []
    for position, width in zip(positions, widths, strict=True):
        start = position - width / 2
        row = next((row for row, end in enumerate(ends) if start >= end + gap), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = position + width / 2
        rows.append(row)
    return rows


def families(benchmarks: Sequence[Raw]) -> list[str]:
    """What each potential was trained on, with whatever else but n_sparse and delta differs among them.

    The framework stands in for the training set of imported potentials.
    """
    return [named(source(benchmark), detail) for benchmark, detail in zip(benchmarks, details(benchmarks), strict=True)]


def named(training_set: str, detail: Sequence[tuple[str, str]]) -> str:
    """A training set with what else there is to say of a potential, of `details`."""
    texts = dict(_DETAILS)
    return ", ".join([training_set, *(texts[field].format(value) for field, value in detail)])


def details(benchmarks: Sequence[Raw]) -> list[tuple[tuple[str, str], ...]]:
    """Fields besides the training set, n_sparse and delta in which potentials differ, with the value of each."""
    differing = [field for field, _ in _DETAILS if len({str(benchmark.get(field)) for benchmark in benchmarks}) > 1]
    return [_detail(benchmark, differing) for benchmark in benchmarks]


def _detail(benchmark: Raw, differing: Sequence[str]) -> tuple[tuple[str, str], ...]:
    values = ((field, benchmark.get(field)) for field in differing)
    shown = (
        (field, number(value) if isinstance(value, float) else plain(str(value)))
        for field, value in values
        if value is not None
    )
    return tuple((field, value) for field, value in shown if value != source(benchmark))


def source(benchmark: Raw) -> str:
    """Training set of a potential; the framework stands in for that of an imported one."""
    if benchmark.get("training_set"):
        return plain(str(benchmark["training_set"]))
    return plain(f"{benchmark.get('framework') or 'unknown'} (imported)")


def described(benchmarks: Sequence[Raw]) -> list[str]:
    """Label of each potential: training set, n_sparse, and what else tells them apart.

    Potentials that would still look the same get the first letters of their key.
    """
    deltas = len({str(benchmark.get("delta")) for benchmark in benchmarks}) > 1
    labels = []
    for benchmark, family in zip(benchmarks, families(benchmarks), strict=True):
        parts = [family]
        if benchmark.get("n_sparse") is not None:
            parts.append(f"{N_SPARSE} = {benchmark['n_sparse']}")
        if deltas and benchmark.get("delta") is not None:
            parts.append(f"δ = {number(benchmark['delta'])} eV")
        labels.append(", ".join(parts))
    return [
        f"{label}, {plain(str(benchmark.get('potential_id', index)))[:10]}" if labels.count(label) > 1 else label
        for index, (label, benchmark) in enumerate(zip(labels, benchmarks, strict=True))
    ]
