"""What a fit is fitted to, in groups whose sigma is one number of each grid point.

The rows of a group are divided by what differs from row to row (sqrt(N), the norm of a force, a
sigma the configuration brings along), so that the sigma that is left multiplies the whole group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlipdb.frameworks.gap_grid.kernel import VIRIAL_ROWS
from mlipdb.frameworks.gap_grid.points import StudyPoint
from mlipdb.physics.frames import FloatArray, Frame

__all__ = ["Group", "GroupRows", "Weighting", "frame_rows", "group_sigma", "make_weighting", "targets"]

Kind = Literal["energy", "force", "virial"]


@dataclass(frozen=True, order=True)
class Group:
    """Rows that share a sigma.

    Parameters
    ----------
    config_type
        Of the configurations.
    kind
        ``energy``, ``force`` or ``virial``.
    weighting
        ``default``: the default sigma of every point.  ``own``: the configuration's own sigma, with
        forces only for points without f.  ``flat``: forces with the default sigma, for points
        without f.  ``scaled``: forces over their norm, times f.  ``floored``: forces below the
        floor, times f times floor.
    interval
        For the last two, between which of the study's floors the norms of the forces lie.
    """

    config_type: str
    kind: Kind
    weighting: Literal["default", "own", "flat", "scaled", "floored"]
    interval: int = 0

    @property
    def name(self) -> str:
        """Name without blanks, unique."""
        return f"{self.config_type}/{self.kind}/{self.weighting}/{self.interval}"


@dataclass(frozen=True)
class Weighting:
    """How the force rows of a study are grouped.

    Parameters
    ----------
    floors
        All floors of points with f, eV/Angstrom, increasing; empty where no point has f.
    flat
        Whether a point has no f.
    by_column
        Whether only configurations with per-atom sigmas are scaled, instead of all but isolated atoms.
    """

    floors: tuple[float, ...]
    flat: bool
    by_column: bool

    def is_scaled(self, frame: Frame) -> bool:
        """Whether points with f set the force sigmas of this frame atom by atom."""
        if not self.floors:
            return False
        return frame.force_sigmas is not None if self.by_column else not frame.is_isolated_atom


@dataclass(frozen=True, eq=False)
class GroupRows:
    """Rows of one frame that belong to a group.

    Parameters
    ----------
    group
        The group.
    rows
        Indices among the frame's rows (`mlipdb.frameworks.gap_grid.kernel.kernel_rows`).
    scale
        What each is divided by.
    """

    group: Group
    rows: NDArray[np.int64]
    scale: FloatArray


def make_weighting(frames: Sequence[Frame], points: Sequence[StudyPoint]) -> Weighting:
    """Find out which groups of force rows the points need between them."""
    floors = {point.hyperparameters.floor for point in points} - {None}
    return Weighting(
        floors=tuple(sorted(floor for floor in floors if floor is not None)),
        flat=any(point.hyperparameters.f is None for point in points),
        by_column=any(frame.force_sigmas is not None for frame in frames),
    )


def targets(frame: Frame, isolated_atom_energies: Mapping[int, float]) -> FloatArray:
    """Right-hand side of a frame's rows, shape (1 + 3 N + 6,); NaN for a virial that is not known."""
    virial = frame.virial
    energy = frame.energy - math.fsum(isolated_atom_energies[int(number)] for number in frame.numbers)
    six = [math.nan] * 6 if virial is None else [(virial[a, b] + virial[b, a]) / 2 for a, b in VIRIAL_ROWS]
    return np.concatenate([[energy], frame.forces.ravel(), six])


def frame_rows(frame: Frame, weighting: Weighting) -> list[GroupRows]:
    """Groups of a frame's rows; a force row may be in several, of which each point takes one."""
    n_rows = 7 + 3 * frame.n_atoms
    root = math.sqrt(frame.n_atoms)
    found = [_whole(frame, "energy", np.array([0]), frame.energy_sigma, root)]
    if frame.stress is not None:
        found.append(_whole(frame, "virial", np.arange(n_rows - 6, n_rows), frame.virial_sigma, root))
    scaled = weighting.is_scaled(frame)
    if weighting.flat or not scaled:
        found.append(_flat_forces(frame, scaled=scaled))
    if scaled:
        found.extend(_scaled_forces(frame, weighting.floors))
    return found


def _whole(frame: Frame, kind: Kind, rows: NDArray[np.int64], sigma: float | None, root: float) -> GroupRows:
    group = Group(frame.config_type, kind, "default" if sigma is None else "own")
    return GroupRows(group, rows, np.full(len(rows), root * (1.0 if sigma is None else sigma)))


def _flat_forces(frame: Frame, *, scaled: bool) -> GroupRows:
    rows = np.arange(1, 1 + 3 * frame.n_atoms)
    if frame.force_sigmas is not None:
        return GroupRows(Group(frame.config_type, "force", "own"), rows, np.repeat(frame.force_sigmas, 3))
    return GroupRows(Group(frame.config_type, "force", "flat" if scaled else "default"), rows, np.ones(len(rows)))


def _scaled_forces(frame: Frame, floors: tuple[float, ...]) -> list[GroupRows]:
    norms = np.linalg.norm(frame.forces, axis=1)
    intervals = np.searchsorted(floors, norms, side="right")
    found = []
    for interval in sorted(set(intervals.tolist())):
        atoms = np.flatnonzero(intervals == interval)
        rows = (1 + 3 * atoms[:, None] + np.arange(3)).ravel()
        if interval > 0:  # at or above the smallest floor: scaled for some point
            group = Group(frame.config_type, "force", "scaled", interval)
            found.append(GroupRows(group, rows, np.repeat(norms[atoms], 3)))
        if interval < len(floors):  # below the largest floor
            group = Group(frame.config_type, "force", "floored", interval)
            found.append(GroupRows(group, rows, np.ones(len(rows))))
    return found


def group_sigma(group: Group, point: StudyPoint, weighting: Weighting) -> float | None:
    """Sigma of a group at a grid point; None where the group is no part of that point's data.

    Parameters
    ----------
    group, point, weighting
        What they say.

    Returns
    -------
    float or None
        In the unit of the group's rows after their division.
    """
    settings = point.hyperparameters
    if point.config_types is not None and group.config_type not in point.config_types:
        return None
    if group.kind != "force":
        return 1.0 if group.weighting == "own" else float(getattr(settings.sigmas, group.kind))
    if group.weighting == "default":
        return settings.sigmas.force
    if settings.f is None or settings.floor is None:
        return {"own": 1.0, "flat": settings.sigmas.force}.get(group.weighting)
    # Forces of interval i have norms from floors[i - 1] on, and below floors[i].
    above = group.interval > weighting.floors.index(settings.floor)
    if group.weighting == "scaled":
        return settings.f if above else None
    if group.weighting == "floored":
        return None if above else settings.f * settings.floor
    return None
