"""High-symmetry band paths in the basis of a given primitive cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.physics.symmetry import spglib_cell

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["PathSegment", "band_path"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PathSegment:
    """One straight piece of a band path.

    Attributes
    ----------
    start, end
        Labels of the end points.
    qpoints
        Shape (n, 3), fractional in the reciprocal basis of the primitive cell.
    distances
        Shape (n,), 1/Angstrom without 2 pi, from the start of the path.
    """

    start: str
    end: str
    qpoints: Floats
    distances: Floats


def band_path(primitive: Atoms, density: float, symprec: float = 1e-5) -> list[PathSegment]:
    """Make the HPKOT path of a crystal (Hinuma et al., Comput. Mater. Sci. 128, 140, 2017).

    seekpath standardises the cell to find the path and turns the points back into
    the reciprocal basis of the cell it was given, orientation included.

    Parameters
    ----------
    primitive
        Primitive cell in any basis and orientation.
    density
        Points per 1/Angstrom.
    symprec
        Angstrom.

    Returns
    -------
    list of PathSegment
    """
    import seekpath

    found = seekpath.get_path_orig_cell(spglib_cell(primitive), symprec=symprec)
    reciprocal = np.linalg.inv(primitive.cell.array).T
    segments: list[PathSegment] = []
    origin = 0.0
    for start, end in found["path"]:
        first, last = (np.array(found["point_coords"][label], dtype=float) for label in (start, end))
        length = float(np.linalg.norm((last - first) @ reciprocal))
        # The small number keeps a length that is a whole number of steps from gaining a point by rounding.
        count = max(2, math.ceil(length * density - 1e-6) + 1)
        parts = np.linspace(0.0, 1.0, count)
        segments.append(PathSegment(start, end, first + parts[:, None] * (last - first), origin + parts * length))
        origin += length
    return segments
