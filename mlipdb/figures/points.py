"""Benchmark documents as points of a scatter figure, and how each point looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlipdb.figures import style
from mlipdb.figures.documents import Raw, finite, mesh_rmse
from mlipdb.figures.labels import details, plain, source

__all__ = ["Detail", "Looks", "Point", "panel_names", "points_of"]

#: Fields and values, as `labels.details` gives them.
Detail = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Point:
    """One potential on one reference.

    Attributes
    ----------
    panel
        `phonon_id` of the reference.
    family
        Training set, or what stands in for it.
    n_sparse, delta
        Sparse points; energy scale, eV.
    phonon_rmse, force_rmse
        On the mesh, THz; on the test side, eV/Angstrom.
    trained_on
        Whether displaced supercells of the reference were trained on; None where nobody knows.
    detail
        What else but n_sparse and delta sets the potentials of a figure apart.
    """

    panel: str
    family: str
    n_sparse: float | None
    delta: float | None
    phonon_rmse: float
    force_rmse: float | None
    trained_on: bool | None
    detail: Detail = ()


def points_of(benchmarks: Sequence[Raw]) -> list[Point]:
    """Turn documents that have a phonon RMSE into points, in the same order."""
    return [
        Point(
            panel=str(item.get("phonon_id")),
            family=source(item),
            n_sparse=finite(item.get("n_sparse")),
            delta=finite(item.get("delta")),
            phonon_rmse=mesh_rmse(item) or 0.0,
            force_rmse=finite(item.get("force_rmse")),
            trained_on=item.get("reference_in_training"),
            detail=detail,
        )
        for item, detail in zip(benchmarks, details(benchmarks), strict=True)
    ]


def panel_names(benchmarks: Sequence[Raw]) -> dict[str, str]:
    """Title of the panel of every reference, sorted: `phonon_id` -> name of its material.

    Several references of one material (other supercells or levels of theory) get the
    first letters of their key as well.
    """
    names: dict[str, str] = {}
    for item in benchmarks:
        name = item.get("material_name") or item.get("material_id") or "unknown material"
        names.setdefault(str(item.get("phonon_id")), str(name))
    taken = list(names.values())
    titles = {key: f"{name} ({key[:9]})" if taken.count(name) > 1 else name for key, name in names.items()}
    return {key: plain(title) for key, title in sorted(titles.items(), key=lambda pair: (pair[1], pair[0]))}


class Looks:
    """Colour, marker and line style by family and detail, shade by delta.

    Colour stands for the family, marker and line style for the detail, where both vary and neither
    follows from the other. Else all three stand for whatever sets potentials apart.

    Parameters
    ----------
    points
        All points of a figure.

    Attributes
    ----------
    families, details, kinds
        The training sets, what else there is, and the pairs of both that occur, in the order of the legend.
    crossed
        Whether colour and marker stand for different things.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.families = sorted({point.family for point in points})
        self.details = sorted({point.detail for point in points}, key=_numerically)
        self.kinds = [
            (family, detail)
            for family in self.families
            for detail in self.details
            if any((point.family, point.detail) == (family, detail) for point in points)
        ]
        self.crossed = len(self.kinds) > max(len(self.families), len(self.details))
        self.deltas = sorted({point.delta for point in points if point.delta is not None})
        self.sizes = sorted({point.n_sparse for point in points if point.n_sparse is not None})

    def colour(self, family: str, delta: float | None, detail: Detail = ()) -> str:
        """Hue of a family in the shade of delta."""
        index = self.families.index(family) if self.crossed else self.kinds.index((family, detail))
        return self.shade(style.hue(index), delta)

    def shade(self, colour: str, delta: float | None) -> str:
        """Shade of a colour for a delta, light for small ones."""
        return colour if delta is None else style.shades(colour, len(self.deltas))[self.deltas.index(delta)]

    def marker(self, family: str, detail: Detail = ()) -> str:
        """Shape of a family, or of a detail where the two are crossed."""
        return style.MARKERS[self._shape(family, detail) % len(style.MARKERS)]

    def dashes(self, family: str, detail: Detail = ()) -> str:
        """Line style, of the same as the shape."""
        return style.DASHES[self._shape(family, detail) % len(style.DASHES)]

    def _shape(self, family: str, detail: Detail) -> int:
        return self.details.index(detail) if self.crossed else self.kinds.index((family, detail))

    def area(self, n_sparse: float | None) -> float:
        """Area of a marker, points squared: even steps of the logarithm of n_sparse; the smallest without one."""
        smallest, largest = (12.0, 60.0) if self.crossed else (22.0, 110.0)
        if n_sparse is None or n_sparse <= 0:
            return smallest
        low, high = max(self.sizes[0], 1.0), self.sizes[-1]
        if low >= high:
            return (smallest + largest) / 2
        return smallest + (largest - smallest) * math.log(max(n_sparse, 1.0) / low) / math.log(high / low)


def _numerically(detail: Detail) -> list[tuple[str, float, str]]:
    """Key that sorts values that are numbers as such."""
    return [(field, *_number_first(value)) for field, value in detail]


def _number_first(value: str) -> tuple[float, str]:
    try:
        return float(value.replace("\N{MINUS SIGN}", "-")), ""
    except ValueError:
        return math.inf, value
