"""Benchmark documents as points of a scatter figure, and how each point looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlipdb.figures import style
from mlipdb.figures.documents import Raw, finite, mesh_rmse
from mlipdb.figures.labels import families, plain

__all__ = ["Looks", "Point", "panel_names", "points_of"]


@dataclass(frozen=True)
class Point:
    """One potential on one reference.

    Attributes
    ----------
    panel
        `phonon_id` of the reference.
    family
        Training set and whatever else but n_sparse and delta sets potentials apart.
    n_sparse, delta
        Sparse points; energy scale, eV.
    phonon_rmse, force_rmse
        On the mesh, THz; on the test side, eV/Angstrom.
    trained_on
        Whether displaced supercells of the reference were trained on; None where nobody knows.
    """

    panel: str
    family: str
    n_sparse: float | None
    delta: float | None
    phonon_rmse: float
    force_rmse: float | None
    trained_on: bool | None


def points_of(benchmarks: Sequence[Raw]) -> list[Point]:
    """Turn documents that have a phonon RMSE into points, in the same order."""
    return [
        Point(
            panel=str(item.get("phonon_id")),
            family=family,
            n_sparse=finite(item.get("n_sparse")),
            delta=finite(item.get("delta")),
            phonon_rmse=mesh_rmse(item) or 0.0,
            force_rmse=finite(item.get("force_rmse")),
            trained_on=item.get("reference_in_training"),
        )
        for item, family in zip(benchmarks, families(benchmarks), strict=True)
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
    """Colour, marker and line style by family, shade by delta.

    Parameters
    ----------
    points
        All points of a figure.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.families = sorted({point.family for point in points})
        self.deltas = sorted({point.delta for point in points if point.delta is not None})
        self.sizes = sorted({point.n_sparse for point in points if point.n_sparse is not None})

    def colour(self, family: str, delta: float | None) -> str:
        """The family's hue in the shade of delta."""
        return self.shade(style.hue(self.families.index(family)), delta)

    def shade(self, colour: str, delta: float | None) -> str:
        """Shade of a colour for a delta, light for small ones."""
        return colour if delta is None else style.shades(colour, len(self.deltas))[self.deltas.index(delta)]

    def marker(self, family: str) -> str:
        """Shape of a family."""
        return style.MARKERS[self.families.index(family) % len(style.MARKERS)]

    def dashes(self, family: str) -> str:
        """Line style of a family."""
        return style.DASHES[self.families.index(family) % len(style.DASHES)]

    def area(self, n_sparse: float | None) -> float:
        """Area of a marker, points squared: even steps of the logarithm of n_sparse; the smallest without one."""
        smallest, largest = 22.0, 110.0
        if n_sparse is None or n_sparse <= 0:
            return smallest
        low, high = max(self.sizes[0], 1.0), self.sizes[-1]
        if low >= high:
            return (smallest + largest) / 2
        return smallest + (largest - smallest) * math.log(max(n_sparse, 1.0) / low) / math.log(high / low)
