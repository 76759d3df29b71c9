"""Sums over all configurations from which every grid point is solved.

With the kernel matrix of the sparse points ``K = L L^T - j`` at delta = 1 and the rows K_g of a
group g, ``B_g = K_g L^-T`` is whitened **before** the products are formed, since ``B_g^T B_g`` keeps
the digits that ``K_g^T K_g`` would lose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.linalg
from scipy.linalg import blas

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.checkpoint import Checkpoint
from mlipdb.frameworks.gap_grid.kernel import kernel_rows
from mlipdb.frameworks.gap_grid.pool import Usage, map_frames
from mlipdb.frameworks.gap_grid.soap import Term, environments
from mlipdb.frameworks.gap_grid.targets import Group, GroupRows, Weighting, frame_rows, targets
from mlipdb.physics.frames import FloatArray, Frame

__all__ = ["MAX_BLOCK_ROWS", "ROWS_KEPT", "Assembler", "Basis", "GroupSum", "make_basis", "read_sums"]

# Groups with fewer rows than this part of the columns are kept as rows, which is smaller.
ROWS_KEPT: Final = 4
MAX_BLOCK_ROWS: Final = 4096


@dataclass(frozen=True, eq=False)
class Basis:
    """The sparse points, by term, and the factor that whitens.

    Parameters
    ----------
    sparse
        Descriptors of each term's sparse points, shape (M_t, D_t).
    zetas
        Exponent of each term.
    factors
        L of each term, lower triangular, shape (M_t, M_t).
    jitter
        j, relative to delta^2.
    """

    sparse: list[FloatArray]
    zetas: list[float]
    factors: list[FloatArray]
    jitter: float

    @property
    def size(self) -> int:
        """M, sparse points of all terms."""
        return sum(map(len, self.sparse))

    @property
    def slices(self) -> list[slice]:
        """Columns of each term."""
        ends = np.cumsum([len(points) for points in self.sparse]).tolist()
        return [slice(end - len(points), end) for end, points in zip(ends, self.sparse, strict=True)]

    def whiten(self, rows: FloatArray) -> FloatArray:
        """``L^-1 rows^T``, shape (M, R), of rows of shape (R, M), whose memory is used."""
        columns = rows.T
        for part, factor in zip(self.slices, self.factors, strict=True):
            columns[part] = blas.dtrsm(1.0, factor, columns[part], lower=1, overwrite_b=len(self.factors) == 1)
        return columns


def make_basis(
    kernels: Sequence[FloatArray], sparse: list[FloatArray], zetas: list[float], wanted: float, largest: float
) -> Basis:
    """Factorise the kernel matrices of the sparse points.

    Parameters
    ----------
    kernels
        Of each term at delta = 1, shape (M_t, M_t).
    sparse, zetas
        Of each term.
    wanted, largest
        Jitter to begin with, and the largest that may be tried where a matrix is singular.

    Raises
    ------
    FitError
        If a matrix is singular still with the largest jitter.
    """
    jitter = wanted
    while True:
        factors = [_factorise(kernel, jitter) for kernel in kernels]
        found = [factor for factor in factors if factor is not None]
        if len(found) == len(kernels):
            return Basis(sparse, zetas, found, jitter)
        if jitter * 10 > largest * (1 + 1e-9):
            raise FitError(
                f"the kernel matrix of {sum(map(len, kernels))} sparse points is singular up to a jitter of "
                f"{jitter:g}; take fewer sparse points, or give a larger sparse_jitter",
                reason="singular_kernel",
            )
        jitter *= 10


def _factorise(kernel: FloatArray, jitter: float) -> FloatArray | None:
    matrix = np.array(kernel, order="F")
    matrix[np.diag_indices_from(matrix)] += jitter
    try:
        factor: FloatArray = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=True)
    except (np.linalg.LinAlgError, ValueError):
        return None
    return factor


@dataclass(eq=False)
class GroupSum:
    """What a group contributes, R rows in all.

    Attributes
    ----------
    rows, targets_squared, log_scale
        R, y^T y, and the sum of the logarithms of what rows were divided by.
    projection
        B^T y, shape (M,).
    matrix
        B^T B, shape (M, M), lower triangle; or B^T itself, shape (M, R), for few rows.
    is_gram
        Which of the two.
    """

    rows: int
    targets_squared: float
    log_scale: float
    projection: FloatArray
    matrix: FloatArray
    is_gram: bool

    @classmethod
    def empty(cls, size: int) -> GroupSum:
        """A group of size columns without rows."""
        return cls(0, 0.0, 0.0, np.zeros(size), np.empty((size, 0), order="F"), is_gram=False)

    def add(self, whitened: FloatArray, y: FloatArray, scale: FloatArray) -> None:
        """Add rows: B^T of shape (M, r), targets and divisors of shape (r,)."""
        block = np.asfortranarray(whitened / scale)
        scaled = y / scale
        self.rows += len(y)
        self.targets_squared += float(scaled @ scaled)
        self.log_scale += math.fsum(np.log(scale))
        self.projection = self.projection + block @ scaled
        if self.is_gram:
            self.matrix = _add_gram(self.matrix, block)
        elif self.rows * ROWS_KEPT <= len(whitened):
            self.matrix = np.asfortranarray(np.hstack([self.matrix, block]))
        else:
            gram = np.zeros((len(whitened), len(whitened)), order="F")
            if self.matrix.shape[1]:
                gram = _add_gram(gram, self.matrix)
            self.matrix, self.is_gram = _add_gram(gram, block), True

    def facts(self) -> dict[str, Any]:
        """The numbers of which there is one each."""
        return {
            "rows": self.rows,
            "targets_squared": self.targets_squared,
            "log_scale": self.log_scale,
            "is_gram": self.is_gram,
        }


def _add_gram(gram: FloatArray, block: FloatArray) -> FloatArray:
    added: FloatArray = blas.dsyrk(1.0, block, beta=1.0, c=gram, lower=1, overwrite_c=1)
    return added


@dataclass
class Assembler:
    """Passes over the configurations, one config type after the other.

    Parameters
    ----------
    terms, basis, weighting, energies
        Descriptors, sparse points, groups, and isolated-atom energies (eV) by atomic number.
    checkpoint
        Where finished sums go.
    processes, block_rows, chunk_bytes, checkpoint_s
        Resources; see `StudyOptions`.
    usage
        Gets what the workers used.
    """

    terms: list[Term]
    basis: Basis
    weighting: Weighting
    energies: Mapping[int, float]
    checkpoint: Checkpoint
    processes: int
    block_rows: int
    chunk_bytes: int
    checkpoint_s: float
    usage: Usage

    def run(self, frames: Sequence[Frame], progress: Callable[[int, int], None]) -> None:
        """Add up what is not yet finished.

        Parameters
        ----------
        frames
            All configurations.
        progress
            Gets how many are finished, and how many there are.
        """
        by_type: dict[str, list[Frame]] = {}
        for frame in frames:
            by_type.setdefault(frame.config_type, []).append(frame)
        finished = 0
        for config_type in sorted(by_type):
            for n_done in self._run_type(config_type, by_type[config_type]):
                progress(finished + n_done, len(frames))
            finished += len(by_type[config_type])

    def _run_type(self, config_type: str, frames: list[Frame]) -> Iterator[int]:
        sums = read_sums(self.checkpoint, self.basis.size, config_type)
        n_done = self._finished(config_type) if sums is not None else 0
        if n_done == len(frames):
            yield n_done
            return
        sums = {} if sums is None else {group: _owned(part) for group, part in sums.items()}
        saved = time.monotonic()
        for count, block in self._blocks(frames[n_done:]):
            self._add(sums, block)
            n_done += count
            last = n_done == len(frames)
            if last or time.monotonic() - saved >= self.checkpoint_s:
                self._save(config_type, sums, n_done)
                saved = time.monotonic()
            yield n_done

    def _finished(self, config_type: str) -> int:
        return int(self.checkpoint.facts.get("types", {}).get(config_type, {}).get("finished", 0))

    def _blocks(self, frames: Sequence[Frame]) -> Iterator[tuple[int, list[tuple[Frame, FloatArray]]]]:
        payload = (self.terms, self.basis.sparse, self.basis.zetas, self.chunk_bytes)
        results = map_frames(
            _frame_kernel, payload, frames, processes=self.processes, usage=self.usage, label="the kernel rows"
        )
        block: list[tuple[Frame, FloatArray]] = []
        for frame, rows in zip(frames, results, strict=True):
            block.append((frame, rows))
            if sum(len(part) for _, part in block) >= self.block_rows:
                yield len(block), block
                block = []
        if block:
            yield len(block), block

    def _add(self, sums: dict[Group, GroupSum], block: list[tuple[Frame, FloatArray]]) -> None:
        members: dict[Group, list[tuple[int, GroupRows]]] = {}
        begin = 0
        for frame, rows in block:
            for part in frame_rows(frame, self.weighting):
                members.setdefault(part.group, []).append((begin, part))
            begin += len(rows)
        y = np.concatenate([targets(frame, self.energies) for frame, _ in block])
        whitened = self.basis.whiten(np.concatenate([rows for _, rows in block]))
        block.clear()
        for group, parts in members.items():
            where = np.concatenate([begin + part.rows for begin, part in parts])
            scale = np.concatenate([part.scale for _, part in parts])
            total = sums.setdefault(group, GroupSum.empty(self.basis.size))
            total.add(whitened[:, where], y[where], scale)

    def _save(self, config_type: str, sums: Mapping[Group, GroupSum], n_done: int) -> None:
        prefix = f"{config_type}/"
        self.checkpoint.drop(prefix)
        facts: dict[str, Any] = {"finished": n_done, "groups": []}
        for group in sorted(sums):
            self.checkpoint.put(f"{group.name}/matrix", sums[group].matrix)
            self.checkpoint.put(f"{group.name}/projection", sums[group].projection)
            name = {"kind": group.kind, "weighting": group.weighting, "interval": group.interval}
            facts["groups"].append({**name, **sums[group].facts()})
        self.checkpoint.facts.setdefault("types", {})[config_type] = facts
        self.checkpoint.commit()


def _owned(part: GroupSum) -> GroupSum:
    """The same sums in memory of their own, to be added to."""
    part.matrix = np.array(part.matrix, order="F")
    return part


def read_sums(checkpoint: Checkpoint, size: int, config_type: str) -> dict[Group, GroupSum] | None:
    """Sums of a config type from the checkpoint; None where there are none, or a file is damaged."""
    facts = checkpoint.facts.get("types", {}).get(config_type)
    if facts is None:
        return None
    sums: dict[Group, GroupSum] = {}
    for entry in facts["groups"]:
        group = Group(config_type, entry["kind"], entry["weighting"], int(entry["interval"]))
        matrix = checkpoint.get(f"{group.name}/matrix")
        projection = checkpoint.get(f"{group.name}/projection")
        if matrix is None or projection is None or matrix.shape[0] != size:
            return None
        sums[group] = GroupSum(
            int(entry["rows"]),
            float(entry["targets_squared"]),
            float(entry["log_scale"]),
            np.array(projection),
            matrix,
            bool(entry["is_gram"]),
        )
    return sums


def _frame_kernel(payload: tuple[list[Term], list[FloatArray], list[float], int], frame: Frame) -> FloatArray:
    terms, sparse, zetas, chunk_bytes = payload
    return kernel_rows(environments(frame, terms), sparse, zetas, frame.n_atoms, chunk_bytes=chunk_bytes)
