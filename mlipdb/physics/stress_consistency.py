"""Stresses against the derivative of the energy, along isotropic strain.

With the stress tension positive, dE/dV = trace(stress) / 3 (the pressure is -dE/dV).  The derivative at
an inner point of a volume scan is the central difference over its two neighbours,

    dE/dV = (E+ - E0) / h+ * h- / (h+ + h-) + (E0 - E-) / h- * h+ / (h+ + h-),

exact for a parabola at unequal steps.  At an end the slope to its neighbour, whose stress has been found
right, is compared with the mean of both stresses (trapezoidal rule), and so it is where there are only two
points; where these do not fit, one of them is wrong and it cannot be told which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["GPA", "MAX_STEP", "MIN_STEP", "same_shape", "stress_errors"]

#: 1 GPa in eV/Angstrom^3.
GPA: Final = 1 / 160.2176634
#: Relative volume steps that can be judged.  Below, rounded energies (1e-5 eV/atom) stand for some
#: 0.1 GPa; above, the third derivative of the energy stands for more than 1 GPa in the hardest crystals.
MIN_STEP: Final = 0.005
MAX_STEP: Final = 0.05
#: Largest difference of two Gram matrices, cells scaled to one volume, of cells of one shape.
SHAPE_TOLERANCE: Final = 1e-3

Floats = NDArray[np.float64]


def same_shape(one: Floats, other: Floats) -> bool:
    """Whether two cells (rows, shape (3, 3), Angstrom) differ by rotation and isotropic strain alone."""
    grams = []
    for cell in (one, other):
        scale = abs(float(np.linalg.det(cell))) ** (2 / 3)
        grams.append(cell @ cell.T / scale)
    return bool(np.all(np.abs(grams[0] - grams[1]) <= SHAPE_TOLERANCE * np.abs(grams[0]).max()))


def stress_errors(
    volumes: Sequence[float], energies: Sequence[float], stresses: Sequence[float], limit: float
) -> list[float | None]:
    """How far the stress of each point of a volume scan is off the energies.

    Parameters
    ----------
    volumes
        Volume of each cell, Angstrom^3; any order, all cells with the same atoms.
    energies
        Free energy of each cell, eV.
    stresses
        trace(stress) / 3 of each, eV/Angstrom^3, tension positive.
    limit
        Error beyond which a stress is wrong, eV/Angstrom^3; an end is judged only beside a right one.

    Returns
    -------
    list of float or None
        |dE/dV - trace(stress)/3| of each point, eV/Angstrom^3, at ends the mean with the neighbour's; None
        where it cannot be told.
    """
    errors: list[float | None] = [None] * len(volumes)
    for part in _parts(volumes):
        x = np.array([volumes[index] for index in part])
        e = np.array([energies[index] for index in part])
        s = np.array([stresses[index] for index in part])
        for index, error in zip(part, _scan_errors(x, e, s, limit), strict=True):
            errors[index] = error
    return errors


def _parts(volumes: Sequence[float]) -> list[list[int]]:
    """Points in runs of usable steps; of points closer than that the first by volume counts."""
    parts: list[list[int]] = []
    for index in sorted(range(len(volumes)), key=lambda item: (volumes[item], item)):
        step = volumes[index] / volumes[parts[-1][-1]] - 1 if parts else np.inf
        if step > MAX_STEP:
            parts.append([index])
        elif step >= MIN_STEP:
            parts[-1].append(index)
    return parts


def _scan_errors(x: Floats, e: Floats, s: Floats, limit: float) -> list[float | None]:
    if len(x) < 2:
        return [None] * len(x)
    h, slope = np.diff(x), np.diff(e) / np.diff(x)
    if len(x) == 2:
        error = abs(float(slope[0] - (s[0] + s[1]) / 2))
        return [error, error]
    inner = (slope[1:] * h[:-1] + slope[:-1] * h[1:]) / (h[1:] + h[:-1])
    errors: list[float | None] = [None, *(float(value) for value in np.abs(inner - s[1:-1])), None]
    for end, neighbour, step in ((0, 1, 0), (-1, -2, -1)):
        known = errors[neighbour]
        if known is not None and known <= limit:
            errors[end] = abs(float(slope[step] - (s[neighbour] + s[end]) / 2))
    return errors
