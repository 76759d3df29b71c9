"""SOAP descriptors and their gradients, computed by quippy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import FitError, FrameworkNotInstalledError
from mlipdb.physics.frames import FloatArray, Frame

if TYPE_CHECKING:
    from quippy.descriptors import Descriptor

__all__ = ["Environments", "Term", "descriptor_dimensions", "descriptors", "environments"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Term:
    """The SOAP of one central element.

    Parameters
    ----------
    number
        Atomic number of the central atoms.
    descriptor
        The descriptor as QUIP reads it, with single braces.
    zeta
        Exponent of the dot-product kernel.
    """

    number: int
    descriptor: str
    zeta: float


@dataclass(frozen=True, eq=False)
class Environments:
    """Descriptors of one term in one frame, E environments with G gradients of D components.

    Parameters
    ----------
    x
        Descriptors, shape (E, D).
    centers
        The atom in the middle of each, shape (E,).
    gradients
        Derivatives of the descriptors by the position of a neighbour, shape (G, 3, D); those of
        one environment follow each other, the one by the central atom among them.
    starts
        Where each environment's gradients begin and the last one's end, shape (E + 1,).
    atoms
        The atom each gradient is by, shape (G,).
    positions
        Where that atom's image lies, shape (G, 3), Angstrom.
    """

    x: FloatArray
    centers: IntArray
    gradients: FloatArray
    starts: IntArray
    atoms: IntArray
    positions: FloatArray


@lru_cache(maxsize=16)
def _descriptor(text: str) -> Descriptor:
    try:
        from quippy.descriptors import Descriptor
    except ImportError as error:
        raise FrameworkNotInstalledError("GAP needs the package quippy-ase; pip install quippy-ase") from error
    return Descriptor(text)


def descriptor_dimensions(term: Term) -> int:
    """Length D of the descriptor."""
    return int(_descriptor(term.descriptor).dimensions())


def descriptors(frame: Frame, terms: Sequence[Term]) -> list[FloatArray]:
    """Descriptors without gradients.

    Returns
    -------
    list of ndarray
        For each term shape (E, D), in the order of its atoms in the frame.
    """
    return [_values(_calculate(frame, term, gradients=False), frame, term) for term in terms]


def environments(frame: Frame, terms: Sequence[Term]) -> list[Environments]:
    """Descriptors with gradients, for each term.

    Raises
    ------
    FitError
        If quippy gives NaN, or something else than SOAP without a covariance cutoff.
    """
    return [_environments(frame, term) for term in terms]


def _calculate(frame: Frame, term: Term, *, gradients: bool) -> dict[str, Any] | None:
    if term.number not in frame.numbers:
        return None
    result: dict[str, Any] = _descriptor(term.descriptor).calc(frame.to_atoms(), grad=gradients)
    return result


def _values(raw: dict[str, Any] | None, frame: Frame, term: Term) -> FloatArray:
    if raw is None:
        return np.empty((0, descriptor_dimensions(term)))
    x = np.ascontiguousarray(raw["data"], dtype=float)
    if len(x) != np.count_nonzero(frame.numbers == term.number) or not np.all(np.isfinite(x)):
        raise FitError(
            f"configuration {frame.configuration_id!r}: quippy gave {len(x)} descriptors around element "
            f"{term.number}, not all finite or not one an atom; look for atoms on top of each other",
            reason="bad_descriptor",
        )
    return x


def _environments(frame: Frame, term: Term) -> Environments:
    raw = _calculate(frame, term, gradients=True)
    x = _values(raw, frame, term)
    if raw is None:
        empty = np.empty(0, dtype=np.int64)
        return Environments(
            x, empty, np.empty((0, 3, x.shape[1])), np.zeros(1, dtype=np.int64), empty, np.empty((0, 3))
        )
    gradients = np.ascontiguousarray(raw["grad_data"], dtype=float)
    cutoffs = (np.asarray(raw["covariance_cutoff"]) - 1.0, np.asarray(raw["grad_covariance_cutoff"]))
    if any(np.any(part) for part in cutoffs) or not np.all(np.isfinite(gradients)):
        raise FitError(
            f"configuration {frame.configuration_id!r}: quippy gave descriptor gradients that are not finite or "
            "have a covariance cutoff; look for atoms on top of each other",
            reason="bad_descriptor",
        )
    # grad_index_0based repeats the first centre for some descriptors; the lengths of ii do not err.
    lengths = [len(indices) for indices in raw["ii"]]
    return Environments(
        x=x,
        centers=np.asarray(raw["ci"], dtype=np.int64).reshape(-1) - 1,
        gradients=gradients,
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        atoms=np.concatenate(raw["ii"]).astype(np.int64) - 1,
        positions=np.asarray(raw["pos"], dtype=float),
    )
