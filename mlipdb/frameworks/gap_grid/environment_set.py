"""All environments of a training set, and which of them are sparse points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.pool import Usage, map_frames
from mlipdb.frameworks.gap_grid.soap import Term, descriptors
from mlipdb.frameworks.gap_grid.sparse_points import SparseOrder, distinct, order_points
from mlipdb.physics.frames import FloatArray, Frame, chemical_symbols

__all__ = ["SparseSet", "choose_sparse_sets"]


@dataclass(frozen=True, eq=False)
class SparseSet:
    """Sparse points of one term in their order.

    Parameters
    ----------
    points
        Descriptors, shape (M, D).
    origins
        Configuration id, atom index and config type of each.
    n_environments, n_distinct
        Environments there were to choose from, and how many of them differ.
    """

    points: FloatArray
    origins: list[tuple[str, int, str]]
    n_environments: int
    n_distinct: int

    def facts(self) -> dict[str, Any]:
        """All but the descriptors, in plain types."""
        return {
            "origins": [list(origin) for origin in self.origins],
            "n_environments": self.n_environments,
            "n_distinct": self.n_distinct,
        }

    @classmethod
    def from_facts(cls, points: FloatArray, facts: Mapping[str, Any]) -> SparseSet:
        """What `facts` was made from."""
        origins = [(str(name), int(atom), str(kind)) for name, atom, kind in facts["origins"]]
        return cls(points, origins, int(facts["n_environments"]), int(facts["n_distinct"]))


def choose_sparse_sets(
    frames: Sequence[Frame],
    terms: Sequence[Term],
    counts: Sequence[int],
    *,
    config_types: Collection[str],
    method: SparseOrder,
    seed: int,
    processes: int,
    usage: Usage,
    progress: Callable[[int, int], None],
) -> list[SparseSet]:
    """Choose the sparse points of each term, in nested tiers.

    Parameters
    ----------
    frames
        The training set.
    terms, counts
        Descriptors, and the sparse points each needs.
    config_types
        Whose environments may be chosen.
    method, seed
        See `order_points`.
    processes, usage, progress
        Workers, what they used, and how many frames are done of how many.

    Returns
    -------
    list of SparseSet
        For each term.

    Raises
    ------
    FitError
        If a term has fewer distinct environments than it needs sparse points.
    """
    chosen = [frame for frame in frames if frame.config_type in config_types]
    results = map_frames(
        _frame_descriptors, list(terms), chosen, processes=processes, usage=usage, label="the descriptors"
    )
    found: list[list[FloatArray]] = [[] for _ in terms]
    for done, parts in enumerate(results, start=1):
        for values, part in zip(found, parts, strict=True):
            values.append(part)
        progress(done, len(chosen))
    return [
        _choose(chosen, term, np.concatenate([np.empty((0, values[0].shape[1])), *values]), count, method, seed)
        for term, values, count in zip(terms, found, counts, strict=True)
    ]


def _frame_descriptors(terms: list[Term], frame: Frame) -> list[FloatArray]:
    return descriptors(frame, terms)


def _choose(
    frames: Sequence[Frame], term: Term, x: FloatArray, count: int, method: SparseOrder, seed: int
) -> SparseSet:
    kept = distinct(x)
    if count > len(kept):
        symbol = chemical_symbols()[term.number]
        types = ", ".join(sorted({frame.config_type for frame in frames}))
        raise FitError(
            f"n_sparse is {count}, but the configurations of type {types} have only {len(kept)} distinct "
            f"environments of {symbol} ({len(x)} with those equal by symmetry); choose n_sparse up to {len(kept)}",
            reason="too_many_sparse_points",
        )
    origins = [
        (frame.configuration_id, int(atom), frame.config_type)
        for frame in frames
        for atom in np.flatnonzero(frame.numbers == term.number)
    ]
    order = kept[order_points(x[kept], count, method, zeta=term.zeta, seed=seed)]
    return SparseSet(x[order], [origins[i] for i in order], len(x), len(kept))
