"""A whole hyperparameter study from one pass over the configurations."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from mlipdb.errors import FitError
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.gap import checked_frames, isolated_energies
from mlipdb.frameworks.gap_grid.assembly import Assembler, Basis, GroupSum, make_basis, read_sums
from mlipdb.frameworks.gap_grid.checkpoint import Checkpoint, write_atomically
from mlipdb.frameworks.gap_grid.checks import check_points, find_duplicates, memory_plan, sparse_config_types
from mlipdb.frameworks.gap_grid.environment_set import SparseSet, choose_sparse_sets
from mlipdb.frameworks.gap_grid.kernel import kernel_matrix
from mlipdb.frameworks.gap_grid.points import (
    SPARSE_ORDERS,
    StudyOptions,
    StudyPoint,
    as_points,
    scale_warning,
    study_terms,
)
from mlipdb.frameworks.gap_grid.pool import Usage, blas_threads, peak_memory_mb
from mlipdb.frameworks.gap_grid.results import FitContext
from mlipdb.frameworks.gap_grid.soap import descriptor_dimensions
from mlipdb.frameworks.gap_grid.solve import PointSystem, Solution, Solver
from mlipdb.frameworks.gap_grid.targets import Group, group_sigma, make_weighting
from mlipdb.frameworks.gap_grid.xml_writer import SideFile, XmlTerm, side_file, write_gap_xml
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.frameworks.gap_training import without_own_sigmas
from mlipdb.frameworks.gap_xml import normalised_xml_hash
from mlipdb.physics.frames import Frame, chemical_symbols
from mlipdb.version import __version__

__all__ = ["StudyResult", "run_study"]

Progress = Callable[[str, int, int], None]
_THREADED_SIZE: Final = 1500
_PACKAGES: Final = ("quippy-ase", "numpy", "scipy")


@dataclass(frozen=True)
class StudyResult:
    """What a study gave.

    Parameters
    ----------
    fits
        One for each point, in their order.  The XML lies in the study's directory under
        ``details["study_file"]``, beside the side files that all points share.
    warnings
        Sentences about the data and the grid.
    shared
        What the points have in common: times, sparse points and where they came from.
    """

    fits: list[FitResult]
    warnings: list[str]
    shared: dict[str, Any] = field(default_factory=dict)


def run_study(
    data: FitInput,
    points: Sequence[StudyPoint | GapHyperparameters],
    directory: Path,
    *,
    options: StudyOptions | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Fit every point of a study.

    Parameters
    ----------
    data
        The training set.
    points
        Grid points that `can_share` finds nothing against.
    directory
        Where potentials and intermediate sums are kept.  A study that was ended there goes on
        where it was; the folder ``blocks`` may be removed once it has ended.
    options
        Resources and the choice of sparse points.
    progress
        Gets the name of the phase, how many of its steps are done, and how many there are.

    Returns
    -------
    StudyResult
        Potentials with the predictions of `gap_fit` on the same sparse points.

    Raises
    ------
    FitError
        ``reason`` is ``cannot_share``, ``inconsistent_input``, ``no_isolated_atom``, ``zero_sigma``,
        ``unknown_config_type``, ``too_many_sparse_points``, ``singular_kernel``, ``out_of_memory``,
        ``bad_descriptor``, ``killed``, ``disk_full`` or ``unwritable``.
    """
    study = as_points(points)
    settings = options or StudyOptions()
    check_points(study)
    frames = checked_frames(data)
    if study[0].hyperparameters.own_sigmas == "replace":
        frames = without_own_sigmas(frames)
    if not directory.is_dir():
        raise FitError(f"the directory {directory.name!r} for the study does not exist", reason="no_directory")
    steps = _Study(data, frames, study, directory, settings, progress or _silent)
    # Small matrices keep several threads busy with waiting.
    with blas_threads(settings.threads if steps.size >= _THREADED_SIZE else 1):
        return steps.run()


def _silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


class _Study:
    """The steps of `run_study`, in order."""

    def __init__(
        self,
        data: FitInput,
        frames: list[Frame],
        points: list[StudyPoint],
        directory: Path,
        options: StudyOptions,
        progress: Progress,
    ) -> None:
        self._began = time.monotonic(), time.process_time()
        self._frames, self._points, self._directory = frames, points, directory
        self._options, self._progress, self._usage = options, progress, Usage()
        symbols = isolated_energies(data, frames, points[0].hyperparameters)
        self._energies = {chemical_symbols().index(symbol): energy for symbol, energy in symbols.items()}
        self._numbers = sorted({int(number) for frame in frames for number in frame.numbers})
        self._terms = study_terms(points[0], self._numbers)
        self._weighting = make_weighting(frames, points)
        self._types = sparse_config_types(frames, points, options)
        self._counts = [max(point.tier(number) for point in points) for number in self._numbers]
        # More than there are environments is refused later, with their number.
        there = [sum(int((frame.numbers == number).sum()) for frame in frames) for number in self._numbers]
        possible = [min(pair) for pair in zip(self._counts, there, strict=True)]
        self._memory = memory_plan(frames, self._weighting, possible, options, self._dimensions())
        self._order = options.sparse_order or SPARSE_ORDERS[points[0].soap.sparse_method]
        self._checkpoint = Checkpoint(directory, self._identity(data))
        self._before = dict(self._checkpoint.facts.get("used", {}))
        self._checkpoint.meter = self._used

    @property
    def size(self) -> int:
        """Sparse points of all terms."""
        return sum(self._counts)

    def _dimensions(self) -> int:
        return max(descriptor_dimensions(term) for term in self._terms)

    def _jitter(self) -> float:
        """Smallest jitter of a point, relative to delta^2: what larger ones are made from."""
        return min(
            point.hyperparameters.sparse_jitter / point.deviation(number) ** 2
            for point in self._points
            for number in self._numbers
        )

    def _identity(self, data: FitInput) -> str:
        soap = self._points[0].soap.model_dump(mode="json", exclude={"n_sparse", "delta", "sparse_method"})
        content = {
            "extxyz": hashlib.sha256(data.extxyz).hexdigest(),
            "own_sigmas": self._points[0].hyperparameters.own_sigmas,
            "soap": soap,
            "energies": {str(number): energy for number, energy in self._energies.items()},
            "weighting": [self._weighting.floors, self._weighting.flat, self._weighting.by_column],
            "sparse": [self._order, self._points[0].hyperparameters.seed, sorted(self._types), self._counts],
            "jitter": [self._jitter(), self._options.max_jitter],
            "versions": _versions(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _used(self) -> dict[str, Any]:
        """Time and memory up to now, those of sessions before this one included."""
        wall, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1] + self._usage.cpu_time_s
        used = {
            "wall_time_s": self._before.get("wall_time_s", 0.0) + wall,
            "cpu_time_s": self._before.get("cpu_time_s", 0.0) + cpu,
            "peak_memory_mb": max(self._before.get("peak_memory_mb", 0.0), peak_memory_mb()),
            "worker_peak_memory_mb": max(self._before.get("worker_peak_memory_mb", 0.0), self._usage.peak_memory_mb),
        }
        return {"used": used}

    def run(self) -> StudyResult:
        sets = self._sparse_sets()
        basis = self._basis(sets)
        self._assemble(basis)
        groups, solver = self._solver(basis)
        sides = [side_file(term.number, part.points) for term, part in zip(self._terms, sets, strict=True)]
        for side in sides:
            write_atomically(self._directory / side.name, side.content)
        # Of the session that finished the sums; later ones only solve.
        shared_used = self._checkpoint.facts.setdefault("assembly", self._used()["used"])
        records = []
        for done, point in enumerate(self._points, start=1):
            records.append(self._record(point, solver, groups, sides, basis))
            self._progress("solve", done, len(self._points))
        self._checkpoint.commit()
        return self._result(records, sets, sides, shared_used)

    def _sparse_sets(self) -> list[SparseSet]:
        stored = self._checkpoint.facts.get("sparse")
        if stored is not None:
            arrays = [self._checkpoint.get(f"sparse:{term.number}") for term in self._terms]
            found = [array for array in arrays if array is not None]
            if len(found) == len(self._terms):
                return [SparseSet.from_facts(array, facts) for array, facts in zip(found, stored, strict=True)]
        self._forget()
        sets = choose_sparse_sets(
            self._frames,
            self._terms,
            self._counts,
            config_types=self._types,
            method=self._order,
            seed=self._points[0].hyperparameters.seed,
            processes=self._options.processes,
            usage=self._usage,
            progress=lambda done, total: self._progress("sparse points", done, total),
        )
        for term, part in zip(self._terms, sets, strict=True):
            self._checkpoint.put(f"sparse:{term.number}", part.points)
        self._checkpoint.facts["sparse"] = [part.facts() for part in sets]
        self._checkpoint.commit()
        return sets

    def _forget(self) -> None:
        self._checkpoint.drop("")
        self._checkpoint.facts.clear()

    def _basis(self, sets: Sequence[SparseSet]) -> Basis:
        sparse = [part.points for part in sets]
        zetas = [term.zeta for term in self._terms]
        # The sums belong to one factor; another, computed again, may differ in its last digits.
        stored = [self._checkpoint.get(f"factor:{term.number}") for term in self._terms]
        factors = [factor for factor in stored if factor is not None]
        if len(factors) == len(self._terms) and "jitter" in self._checkpoint.facts:
            return Basis(sparse, zetas, factors, float(self._checkpoint.facts["jitter"]))
        self._checkpoint.facts.pop("types", None)
        kernels = [kernel_matrix(points, points, zeta) for points, zeta in zip(sparse, zetas, strict=True)]
        basis = make_basis(kernels, sparse, zetas, self._jitter(), self._options.max_jitter)
        for term, factor in zip(self._terms, basis.factors, strict=True):
            self._checkpoint.put(f"factor:{term.number}", factor)
        self._checkpoint.facts["jitter"] = basis.jitter
        self._checkpoint.commit()
        return basis

    def _assemble(self, basis: Basis) -> None:
        Assembler(
            terms=self._terms,
            basis=basis,
            weighting=self._weighting,
            energies=self._energies,
            checkpoint=self._checkpoint,
            processes=self._options.processes,
            block_rows=self._memory.block_rows,
            chunk_bytes=self._memory.chunk_bytes,
            checkpoint_s=self._options.checkpoint_s,
            usage=self._usage,
        ).run(self._frames, lambda done, total: self._progress("kernel rows", done, total))

    def _solver(self, basis: Basis) -> tuple[list[Group], Solver]:
        groups: list[Group] = []
        sums: list[GroupSum] = []
        for config_type in sorted({frame.config_type for frame in self._frames}):
            found = read_sums(self._checkpoint, basis.size, config_type)
            if found is None:
                raise FitError(
                    f"the sums of config type {config_type!r} cannot be read back from the study's folder; "
                    "look at the disk",
                    reason="damaged",
                )
            groups.extend(found)
            sums.extend(found.values())
        return groups, Solver(basis, sums)

    def _record(
        self, point: StudyPoint, solver: Solver, groups: Sequence[Group], sides: Sequence[SideFile], basis: Basis
    ) -> dict[str, Any]:
        """Facts of a point, solved unless its file is there already."""
        records = self._checkpoint.facts.setdefault("points", {})
        name = f"gap.{point.key[:16]}.xml"
        path = self._directory / name
        stored = records.get(point.key)
        if stored is not None and path.is_file() and _sha256(path.read_bytes()) == stored["sha256"]:
            return dict(stored)
        began = time.monotonic(), time.process_time()
        sigmas = {place: group_sigma(group, point, self._weighting) for place, group in enumerate(groups)}
        used = {place: sigma for place, sigma in sigmas.items() if sigma is not None}
        deltas = [point.deviation(number) for number in self._numbers]
        system = PointSystem([point.tier(n) for n in self._numbers], deltas, used, point.hyperparameters.sparse_jitter)
        solution = solver.solve(system)
        content = write_gap_xml(_xml_terms(point, solution, sides, basis, self._numbers), self._energies)
        write_atomically(path, content)
        counts = {"energies": "energy", "forces": "force", "virials": "virial"}
        record = {
            "file": name,
            "sha256": _sha256(content),
            "normalised_xml_hash": normalised_xml_hash(content),
            "n_targets": {
                plural: sum(solver.rows(place) for place in used if groups[place].kind == kind)
                for plural, kind in counts.items()
            },
            "log_likelihood": solution.log_likelihood,
            "condition_number": solution.condition_number,
            "kernel_condition_number": solution.kernel_condition_number,
            "jitter": solution.jitter,
            "wall_time_s": time.monotonic() - began[0],
            "cpu_time_s": time.process_time() - began[1],
        }
        records[point.key] = record
        self._checkpoint.commit()
        return record

    def _some_sigmas_stay(self) -> bool:
        """Whether configurations other than isolated atoms have sigmas that no point changes."""
        return any(
            frame.energy_sigma is not None
            or frame.virial_sigma is not None
            or (frame.force_sigmas is not None and self._weighting.flat)
            for frame in self._frames
            if not frame.is_isolated_atom
        )

    def _result(
        self,
        records: Sequence[Mapping[str, Any]],
        sets: Sequence[SparseSet],
        sides: Sequence[SideFile],
        shared_used: Mapping[str, float],
    ) -> StudyResult:
        warnings = find_duplicates(self._frames)
        scan = None if self._some_sigmas_stay() else scale_warning(self._points)
        if scan is not None:
            warnings.append(scan)
        shared = {
            "engine": "grid",
            "n_points": len(self._points),
            "sparse_order": self._order,
            "sparse_from": self._options.sparse_from,
            "sparse_config_types": sorted(self._types),
            "processes": self._options.processes,
            "threads": self._options.threads,
            "assembly": dict(shared_used),
            "total": self._used()["used"],
        }
        context = FitContext(self._directory, self._numbers, list(sets), list(sides), shared, warnings, _versions())
        fits = [context.fit(point, record) for point, record in zip(self._points, records, strict=True)]
        return StudyResult(fits, warnings, {**shared, "sparse_sets": [part.facts() for part in sets]})


def _xml_terms(
    point: StudyPoint, solution: Solution, sides: Sequence[SideFile], basis: Basis, numbers: Sequence[int]
) -> list[XmlTerm]:
    return [
        XmlTerm(
            term.descriptor,
            term.zeta,
            point.deviation(term.number),
            basis.sparse[index].shape[1],
            solution.weights[index],
            sides[index],
        )
        for index, term in enumerate(study_terms(point, numbers))
    ]


def _versions() -> dict[str, str]:
    return {"mlipdb": __version__, **{package: version(package) for package in _PACKAGES}}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
