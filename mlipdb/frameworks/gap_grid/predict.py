"""Predictions of many potentials from one evaluation of descriptors and kernels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mlipdb.errors import CalculatorError
from mlipdb.frameworks.gap_grid.kernel import power
from mlipdb.frameworks.gap_grid.pool import Usage, map_frames
from mlipdb.frameworks.gap_grid.soap import Environments, Term, environments
from mlipdb.frameworks.gap_xml import GapXmlTerm, check_files
from mlipdb.physics.frames import FloatArray, Frame
from mlipdb.physics.parity import Prediction

__all__ = ["Potentials", "load_potentials"]

_CENTER = re.compile(r"(?<![A-Za-z_])Z=([0-9]+)")
# Words of a descriptor that say how a potential was fitted, not what the descriptor is.
_FIT_WORDS: Final = {"delta", "energy_scale", "n_sparse", "sparse_method", "zeta", "covariance_type", "add_species"}
_DOT_PRODUCT: Final = "2"


@dataclass(frozen=True, eq=False)
class Potentials:
    """Several SOAP potentials with sparse points in common.

    Parameters
    ----------
    terms
        Their descriptors.
    sparse
        Sparse points of each term, shape (M_t, D_t).
    weights
        Of each term, ``delta^2 alpha`` of every potential P: shape (M_t, P), zero beyond a
        potential's own sparse points.
    isolated_atom_energies
        Of each potential, eV, by atomic number.
    """

    terms: list[Term]
    sparse: list[FloatArray]
    weights: list[FloatArray]
    isolated_atom_energies: list[Mapping[int, float]]

    def predict(
        self,
        frames: Sequence[Frame],
        *,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
        finite: bool = True,
    ) -> list[list[Prediction]]:
        """Energies, forces and stresses of all potentials.

        Parameters
        ----------
        frames
            The frames; their labels are not looked at.
        processes
            Worker processes; 1 for none besides this one.
        progress
            Gets how many frames are done, and how many there are.
        finite
            Refuse NaN and infinity; else they are given as they are, and one potential that gives them
            leaves the others alone.

        Returns
        -------
        list of list of Prediction
            For each potential, in the order of the frames; no stress for frames without full
            periodicity.

        Raises
        ------
        CalculatorError
            If a frame has an element that is not one of the potentials', or a result is not ``finite``.
        """
        self._check_elements(frames)
        work = _predict if finite else _predict_any
        results = map_frames(work, self, frames, processes=processes, usage=Usage(), label="the predictions")
        by_frame = []
        for result in results:
            by_frame.append(result)
            if progress is not None:
                progress(len(by_frame), len(frames))
        return [[of_frame[p] for of_frame in by_frame] for p in range(len(self.isolated_atom_energies))]

    def _check_elements(self, frames: Sequence[Frame]) -> None:
        known = {term.number for term in self.terms}
        for frame in frames:
            unknown = sorted(set(frame.numbers.tolist()) - known)
            if unknown:
                raise CalculatorError(
                    f"configuration {frame.configuration_id!r} holds elements {unknown}; the potentials know only "
                    f"{sorted(known)}",
                    reason="unknown_element",
                )


def _predict(potentials: Potentials, frame: Frame) -> list[Prediction]:
    predictions = _predict_any(potentials, frame)
    for found in predictions:
        if not all(
            np.all(np.isfinite(part)) for part in (found.energy, found.forces, found.stress) if part is not None
        ):
            raise CalculatorError(
                f"configuration {frame.configuration_id!r}: a potential gives NaN or infinity", reason="not_finite"
            )
    return predictions


def _predict_any(potentials: Potentials, frame: Frame) -> list[Prediction]:
    count = len(potentials.isolated_atom_energies)
    energies = np.zeros(count)
    forces = np.zeros((count, frame.n_atoms, 3))
    virials = np.zeros((count, 3, 3))
    parts = environments(frame, potentials.terms)
    for part, term, sparse, weights in zip(parts, potentials.terms, potentials.sparse, potentials.weights, strict=True):
        overlaps = part.x @ sparse.T
        energies += (power(overlaps, term.zeta) @ weights).sum(axis=0)
        _add_forces(part, term.zeta * power(overlaps, term.zeta - 1), sparse, weights, forces, virials)
    return [
        _prediction(frame, energies[p], forces[p], virials[p], potentials.isolated_atom_energies[p])
        for p in range(count)
    ]


def _add_forces(
    part: Environments,
    slopes: FloatArray,
    sparse: FloatArray,
    weights: FloatArray,
    forces: FloatArray,
    virials: FloatArray,
) -> None:
    """Contract over the sparse points first: (dE/dx_i) . (dx_i/dr_n) for every potential at once."""
    # dE/dx_i, shape (P, E, D)
    by_descriptor = np.stack([_contract(slopes, column, sparse) for column in weights.T])
    by_atom = forces.transpose(1, 0, 2)
    for i in range(len(part.x)):
        own = slice(part.starts[i], part.starts[i + 1])
        gradients = part.gradients[own]
        flat = gradients.reshape(-1, gradients.shape[2])
        slope = (flat @ by_descriptor[:, i].T).T.reshape(len(forces), -1, 3)
        np.subtract.at(by_atom, part.atoms[own], slope.transpose(1, 0, 2))
        virials -= np.einsum("nl,pnk->plk", part.positions[own], slope)


def _contract(slopes: FloatArray, weights: FloatArray, sparse: FloatArray) -> FloatArray:
    used = int(np.max(np.flatnonzero(weights), initial=-1)) + 1
    contracted: FloatArray = (slopes[:, :used] * weights[:used]) @ sparse[:used]
    return contracted


def _prediction(
    frame: Frame, energy: float, forces: FloatArray, virial: FloatArray, zero: Mapping[int, float]
) -> Prediction:
    total = float(energy) + math.fsum(zero[int(number)] for number in frame.numbers)
    stress = None
    if all(frame.pbc):
        symmetric = -(virial + virial.T) / (2 * frame.volume)
        stress = symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return Prediction(energy=total, forces=forces, stress=stress)


def load_potentials(directory: Path, main_files: Sequence[str]) -> Potentials:
    """Load potentials that share their side files.

    Parameters
    ----------
    directory
        Where all their files lie.
    main_files
        Names of the XML files.

    Returns
    -------
    Potentials
        In that order.

    Raises
    ------
    CalculatorError
        If a file is missing or damaged, or the potentials do not share descriptors and side files.
    """
    if not main_files:
        raise CalculatorError("no potentials were named", reason="no_potentials")
    xmls = [check_files(directory, name)[0] for name in main_files]
    first = [_shared(term) for term in xmls[0].terms]
    for name, xml in zip(main_files, xmls, strict=True):
        if [_shared(term) for term in xml.terms] != first:
            raise CalculatorError(
                f"{name} and {main_files[0]} differ in descriptors or side files, so one evaluation cannot serve both",
                reason="cannot_share",
            )
    terms, sparse, weights = [], [], []
    for index, term in enumerate(xmls[0].terms):
        points = _sparse_points(directory, term)
        columns = np.zeros((len(points), len(xmls)))
        for p, xml in enumerate(xmls):
            alphas = np.array([float(text) for text in xml.terms[index].alphas])
            columns[: len(alphas), p] = alphas * float(xml.terms[index].attributes["signal_variance"]) ** 2
        used = max(xml.terms[index].n_sparse for xml in xmls)
        terms.append(_term(term))
        sparse.append(points[:used])
        weights.append(columns[:used])
    zeros = [{int(number): float(value) for number, value in xml.e0.items()} for xml in xmls]
    return Potentials(terms, sparse, weights, list(zeros))


def _shared(term: GapXmlTerm) -> tuple[str | None, ...]:
    words = [word for word in term.descriptor.split() if word.split("=")[0] not in _FIT_WORDS]
    names = ("sparseX_md5sum", "zeta", "covariance_type", "dimensions")
    return (" ".join(words), *(term.attributes.get(name) for name in names))


def _term(term: GapXmlTerm) -> Term:
    center = _CENTER.search(term.descriptor)
    is_soap = term.descriptor.split()[:1] == ["soap"] and term.attributes.get("covariance_type") == _DOT_PRODUCT
    if center is None or not is_soap or float(term.attributes.get("signal_mean", "0")) != 0.0:
        raise CalculatorError(
            f"descriptor {term.descriptor!r} is not a SOAP around one element with a dot-product kernel",
            reason="not_soap",
        )
    return Term(int(center.group(1)), term.descriptor, float(term.attributes["zeta"]))


def _sparse_points(directory: Path, term: GapXmlTerm) -> FloatArray:
    dimensions = int(term.attributes["dimensions"])
    if term.side_file is None:
        raise CalculatorError(f"descriptor {term.descriptor!r} has no side file", reason="bad_side_file")
    values = np.array((directory / term.side_file).read_text(encoding="ascii").split(), dtype=float)
    if dimensions < 1 or values.size % dimensions or values.size < dimensions * term.n_sparse:
        raise CalculatorError(
            f"the side file {term.side_file} holds {values.size} numbers, which are not {term.n_sparse} or more "
            f"sparse points of {dimensions}",
            reason="bad_side_file",
        )
    return values.reshape(-1, dimensions)
