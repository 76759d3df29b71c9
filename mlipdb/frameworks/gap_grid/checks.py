"""What is looked at before a study begins: points, data and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.assembly import MAX_BLOCK_ROWS, ROWS_KEPT
from mlipdb.frameworks.gap_grid.points import StudyOptions, StudyPoint, can_share, eligible_config_types
from mlipdb.frameworks.gap_grid.targets import Group, Weighting, frame_rows
from mlipdb.frameworks.gap_training import check_config_types
from mlipdb.physics.frames import ISOLATED_ATOM, Frame

__all__ = ["MemoryPlan", "check_points", "find_duplicates", "memory_plan", "sparse_config_types"]

# Python with numpy, scipy and quippy, in bytes.
_BASE: Final = 250_000_000
_GRADIENTS_PER_ATOM: Final = 120


def check_points(points: Sequence[StudyPoint]) -> None:
    """Refuse points that cannot share an assembly, or whose sigmas or deltas are not above zero.

    Raises
    ------
    FitError
        ``cannot_share`` or ``zero_sigma``.
    """
    reason = can_share(points)
    if reason is not None:
        raise FitError(f"the points cannot be solved from one assembly: {reason}", reason="cannot_share")
    for point in points:
        settings = point.hyperparameters
        numbers = {
            "sigmas.energy": settings.sigmas.energy,
            "sigmas.force": settings.sigmas.force,
            "sigmas.virial": settings.sigmas.virial,
            "delta": point.soap.delta,
            **{f"delta of {symbol}": value for symbol, value in point.delta.items()},
            **({"f": settings.f, "floor": settings.floor} if settings.f is not None else {}),
        }
        for name, value in numbers.items():
            if value is None or not (np.isfinite(value) and value > 0):
                raise FitError(f"{name} is {value}; it must be a number above zero", reason="zero_sigma")


def sparse_config_types(frames: Sequence[Frame], points: Sequence[StudyPoint], options: StudyOptions) -> set[str]:
    """Config types whose environments may become sparse points.

    Raises
    ------
    FitError
        If a point names a config type the data do not have, none is left, or what ``f`` applies to
        depends on the point.
    """
    there = {frame.config_type for frame in frames}
    marked = {frame.config_type for frame in frames if frame.force_sigmas is not None}
    for point in points:
        types = there if point.config_types is None else point.config_types
        check_config_types(types, frames)
        if point.hyperparameters.f is not None and marked and not marked & types:
            raise FitError(
                f"f applies to configurations with per-atom sigmas, of which the types {', '.join(sorted(types))} "
                "have none; fit these apart",
                reason="cannot_share",
            )
    eligible: set[str] | None = eligible_config_types(points, options.sparse_from)
    if options.sparse_config_types is not None:
        check_config_types(options.sparse_config_types, frames)
        eligible = {*options.sparse_config_types, ISOLATED_ATOM}
    left = there if eligible is None else eligible & there
    if not left - {ISOLATED_ATOM} and there - {ISOLATED_ATOM}:
        raise FitError("no config type is fitted by every point; choose sparse_from=any", reason="unknown_config_type")
    return left


def find_duplicates(frames: Sequence[Frame]) -> list[str]:
    """A sentence about configurations that are in the training set more than once."""
    seen: dict[bytes, str] = {}
    pairs = []
    for frame in frames:
        key = b"".join(
            (np.round(array, 8) + 0.0).tobytes() for array in (frame.numbers.astype(float), frame.cell, frame.positions)
        )
        if key in seen:
            pairs.append(f"{frame.configuration_id} like {seen[key]}")
        else:
            seen[key] = frame.configuration_id
    if not pairs:
        return []
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    said = f"{len(pairs)} configurations are in the training set twice, so that they count twice"
    return [f"{said}: {', '.join(pairs[:5])}{more}"]


@dataclass(frozen=True)
class MemoryPlan:
    """How large arrays may be.

    Parameters
    ----------
    block_rows
        Rows that are whitened at once.
    chunk_bytes
        Largest array of kernel derivatives.
    needed_mb
        Memory of the whole, 10^6 bytes.
    """

    block_rows: int
    chunk_bytes: int
    needed_mb: float


def memory_plan(
    frames: Sequence[Frame], weighting: Weighting, counts: Sequence[int], options: StudyOptions, dimensions: int
) -> MemoryPlan:
    """Divide the memory among factors, sums, blocks and workers.

    Parameters
    ----------
    frames, weighting, counts
        The data, its groups, and the sparse points of each term.
    options
        The limit.
    dimensions
        Length of the descriptors.

    Raises
    ------
    FitError
        If even the smallest blocks need more than the limit.
    """
    columns = sum(counts)
    square = 8 * columns**2
    rows: Counter[Group] = Counter()
    for frame in frames:
        for part in frame_rows(frame, weighting):
            rows[part.group] += len(part.rows)
    sums: Counter[str] = Counter()
    for group, count in rows.items():
        sums[group.config_type] += square if count * ROWS_KEPT > columns else 8 * columns * count
    factors = 8 * sum(count**2 for count in counts)
    largest = max(frame.n_atoms for frame in frames)
    frame_bytes = 8 * columns * (7 + 3 * largest)
    gradients = 24 * largest * _GRADIENTS_PER_ATOM * dimensions
    chunk = int(max(20e6, min(100e6, 0.02 * options.memory_mb * 1e6)))
    workers = 0 if options.processes <= 1 else options.processes
    # A factor, a sum in the making and its matrix product; or a matrix, two ridges and the factor.
    fixed = _BASE + factors + max(max(sums.values()) + square // 2, 3 * square)
    fixed += max(1, workers) * (2 * gradients + chunk + frame_bytes) + workers * (_BASE // 2 + 2 * frame_bytes)
    smallest = 3 * frame_bytes
    left = options.memory_mb * 1e6 - fixed
    if left < smallest:
        raise FitError(
            f"the study of {columns} sparse points needs {(fixed + smallest) / 1e6:.0f} MB and may use "
            f"{options.memory_mb:.0f}; allow more, or take fewer sparse points or processes",
            reason="out_of_memory",
        )
    # A block is there as rows, as whitened columns and as the part of one group.
    block_rows = int(min(MAX_BLOCK_ROWS, max(7 + 3 * largest, left / (32 * columns))))
    return MemoryPlan(block_rows, chunk, (fixed + 32 * columns * block_rows) / 1e6)
