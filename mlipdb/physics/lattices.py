"""Which integer multiples of one lattice are another, up to strain and rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LatticeMatch", "lattice_matches", "polar"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Most candidate matrices looked at for one tolerance; a guard against tiny cells in huge ones.
_MOST_CANDIDATES = 20000
#: Tolerances of |U - 1| tried in turn: unstrained cells should not wait for strained ones.
_STRAIN_STEPS = (2e-4, 5e-3, 0.03, 0.08)


@dataclass(frozen=True, slots=True)
class LatticeMatch:
    """``target = matrix @ source @ deformation @ rotation`` (rows).

    Attributes
    ----------
    matrix
        Shape (3, 3), integers.
    deformation
        Symmetric, shape (3, 3), in the frame of the source.
    rotation
        Proper rotation, shape (3, 3).
    strain
        Largest |U / u - 1| with u the cube root of det U.
    """

    matrix: Ints
    deformation: Floats
    rotation: Floats
    strain: float


def polar(linear: Floats) -> tuple[Floats, Floats]:
    """Polar decomposition F = U Q of a map with positive determinant (U symmetric, Q a rotation)."""
    left, values, right = np.linalg.svd(linear)
    return (left * values) @ left.T, left @ right


def lattice_matches(
    target: Floats,
    source: Floats,
    multiple: int,
    max_strain: float,
    point_group: Callable[[], Ints],
) -> Iterator[LatticeMatch]:
    """Yield the ways in which ``target`` is a superlattice of ``source``.

    First the one in the same frame and basis, then all others by growing strain.
    Only proper rotations are looked at: a mirror image of a chiral crystal is
    another crystal, and for any other crystal a rotation does the same.

    Parameters
    ----------
    target, source
        Lattice vectors in rows, shape (3, 3), Angstrom.
    multiple
        |det S|.
    max_strain
        Bound of `LatticeMatch.strain` and of the common scale.
    point_group
        Gives the rotations of the source crystal, shape (n, 3, 3), acting on fractional
        columns.  Matrices that differ by one of them describe the same crystal, and only
        the least turned is yielded.  Called when the first match is not enough.
    """
    volume_ratio = abs(np.linalg.det(target)) / (multiple * abs(np.linalg.det(source)))
    scale = float(np.cbrt(volume_ratio))
    if abs(scale - 1.0) > max_strain:
        return
    seen: set[bytes] = set()
    direct = _same_frame(target, source * scale, multiple, max_strain)
    if direct is not None:
        yield _describe(target, source, direct, scale)
    rotations = point_group().transpose(0, 2, 1)
    if direct is not None:
        seen.update(matrix.tobytes() for matrix in direct @ rotations)
    for tolerance in [step for step in _STRAIN_STEPS if step < max_strain] + [max_strain]:
        found = _candidates(target, source * scale, multiple, tolerance)
        matches = [_describe(target, source, m, scale) for m in found if m.tobytes() not in seen]
        matches.sort(key=lambda match: (round(match.strain, 6), _turn(match.rotation)))
        for match in matches:
            if match.matrix.tobytes() not in seen:
                seen.update(matrix.tobytes() for matrix in match.matrix @ rotations)
                yield match


def _describe(target: Floats, source: Floats, matrix: Ints, scale: float) -> LatticeMatch:
    deformation, rotation = polar(_map(matrix @ source, target))
    strain = float(np.abs(np.linalg.eigvalsh(deformation) / scale - 1.0).max())
    return LatticeMatch(matrix, deformation, rotation, strain)


def _map(start: Floats, end: Floats) -> Floats:
    """Linear map F of row vectors, ``end = start @ F``."""
    result: Floats = np.linalg.solve(start, end).astype(np.float64)
    return result


def _turn(rotation: Floats) -> float:
    """Angle of a rotation as 3 - trace, so that the smallest turns come first."""
    return round(3.0 - float(np.trace(rotation)), 6)


def _same_frame(target: Floats, source: Floats, multiple: int, max_strain: float) -> Ints | None:
    matrix: Ints = np.rint(np.linalg.solve(source.T, target.T).T).astype(np.int64)
    if abs(round(np.linalg.det(matrix))) != multiple:
        return None
    linear = _map(matrix @ source, target)
    if np.linalg.det(linear) <= 0:
        return None
    deformation, rotation = polar(linear)
    strain = np.abs(np.linalg.eigvalsh(deformation) - 1.0).max()
    if strain > max_strain or np.abs(rotation - np.eye(3)).max() > 0.1:
        return None
    return matrix


def _candidates(target: Floats, source: Floats, multiple: int, tolerance: float) -> list[Ints]:
    """Integer matrices with rows of the right lengths and angles, and the right determinant."""
    lengths = np.linalg.norm(target, axis=1)
    vectors, points = _lattice_vectors(source, lengths.max() * (1.0 + tolerance))
    norms = np.linalg.norm(vectors, axis=1)
    # A strain e changes a length by a factor within 1 +- e and a scalar product by at most ~2e |a||b|.
    rows = [np.flatnonzero(np.abs(norms / length - 1.0) <= tolerance) for length in lengths]
    sign = int(np.sign(np.linalg.det(target) * np.linalg.det(source)))
    found: list[Ints] = []
    slack = 2.0 * tolerance + tolerance**2
    for i in rows[0]:
        seconds = rows[1][_angles_fit(vectors[i], vectors[rows[1]], target[0], target[1], slack)]
        thirds = rows[2][_angles_fit(vectors[i], vectors[rows[2]], target[0], target[2], slack)]
        for j in seconds:
            fitting = thirds[_angles_fit(vectors[j], vectors[thirds], target[1], target[2], slack)]
            volumes = points[fitting] @ np.cross(points[i], points[j])
            found += [points[[i, j, k]] for k in fitting[volumes == sign * multiple]]
    return _within(found[:_MOST_CANDIDATES], target, source, tolerance)


def _within(matrices: list[Ints], target: Floats, source: Floats, tolerance: float) -> list[Ints]:
    """Those matrices whose stretches |U| lie within 1 +- tolerance."""
    if not matrices:
        return []
    maps = np.linalg.inv(np.array(matrices) @ source) @ target
    # The singular values of F = U Q are the eigenvalues of U.
    strains = np.abs(np.linalg.svd(maps, compute_uv=False) - 1.0).max(axis=1)
    return [matrix for matrix, strain in zip(matrices, strains, strict=True) if strain <= tolerance]


def _angles_fit(one: Floats, others: Floats, a: Floats, b: Floats, slack: float) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.abs(others @ one - a @ b) <= slack * np.linalg.norm(a) * np.linalg.norm(b)
    return result


def _lattice_vectors(lattice: Floats, radius: float) -> tuple[Floats, Ints]:
    """Lattice vectors no longer than ``radius`` and their integer coordinates."""
    # |m_i| = |r . b_i| <= radius |b_i| with the reciprocal vectors b_i.
    bounds = np.floor(radius * np.linalg.norm(np.linalg.inv(lattice), axis=0) + 1e-9).astype(int)
    axes = [np.arange(-bound, bound + 1) for bound in bounds]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = points @ lattice
    inside = np.linalg.norm(vectors, axis=1) <= radius
    return vectors[inside], points[inside].astype(np.int64)
