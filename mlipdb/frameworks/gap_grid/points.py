"""The points of a hyperparameter study, and which of them can share one assembly."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_command import descriptor_strings
from mlipdb.frameworks.gap_grid.soap import Term
from mlipdb.frameworks.gap_grid.sparse_points import SparseOrder
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters, SoapDescriptor
from mlipdb.physics.frames import ISOLATED_ATOM, chemical_symbols

__all__ = [
    "SPARSE_ORDERS",
    "StudyOptions",
    "StudyPoint",
    "as_points",
    "can_share",
    "eligible_config_types",
    "partition",
    "scale_warning",
    "study_terms",
]

#: What `sparse_method` stands for here.
SPARSE_ORDERS: Final[dict[str, SparseOrder]] = {"cur_points": "cur", "pivot": "pivot"}
# Options of SOAP that change the descriptor alone, which quippy computes either way.
_DESCRIPTOR_OPTIONS: Final = {
    "Z_mix",
    "K",
    "R_mix",
    "basis_error_exponent",
    "coupling",
    "cutoff_dexp",
    "cutoff_rate",
    "cutoff_scale",
    "mix_shift",
    "nu_R",
    "nu_S",
    "radial_basis",
    "sym_mix",
}
_FIT_OPTIONS: Final = {"verbosity", "openmp_chunk_size", "do_ip_timing"}


@dataclass(frozen=True)
class StudyPoint:
    """One grid point.

    Parameters
    ----------
    hyperparameters
        As for a fit by `gap_fit`.
    config_types
        Which configurations of the training set are fitted, these alone; None for what the
        hyperparameters say, with isolated atoms.
    n_sparse, delta
        Sparse points and delta (eV) of the SOAP around each element, by symbol, where they differ
        from ``hyperparameters.soap``.
    """

    hyperparameters: GapHyperparameters
    config_types: frozenset[str] | None = None
    n_sparse: Mapping[str, int] = field(default_factory=dict)
    delta: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = self.hyperparameters.config_types
        if named is None:
            return
        if self.config_types is None:
            object.__setattr__(self, "config_types", frozenset({*named, ISOLATED_ATOM}))
        elif self.config_types - {ISOLATED_ATOM} != set(named):
            raise FitError(
                f"the point names the config types {', '.join(sorted(self.config_types))}, but its hyperparameters "
                f"{', '.join(named)}; name them once",
                reason="cannot_share",
            )

    @property
    def soap(self) -> SoapDescriptor:
        """The SOAP; a point that can share an assembly has one."""
        if self.hyperparameters.soap is None:
            raise FitError("a point without SOAP cannot be part of a study", reason="cannot_share")
        return self.hyperparameters.soap

    def tier(self, number: int) -> int:
        """Sparse points around an element."""
        count = self.n_sparse.get(chemical_symbols()[number], self.soap.n_sparse)
        if not isinstance(count, int):
            raise FitError("n_sparse by config type cannot be part of a study", reason="cannot_share")
        return count

    def deviation(self, number: int) -> float:
        """Delta around an element, eV."""
        return float(self.delta.get(chemical_symbols()[number], self.soap.delta))

    def describe(self) -> dict[str, Any]:
        """Everything that makes this point, in plain types."""
        return {
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "config_types": None if self.config_types is None else sorted(self.config_types),
            "n_sparse": dict(sorted(self.n_sparse.items())),
            "delta": dict(sorted(self.delta.items())),
        }

    @property
    def key(self) -> str:
        """SHA-256 of `describe`."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class StudyOptions:
    """How a study is computed; none of this changes its potentials but what is said to.

    Parameters
    ----------
    processes
        Worker processes that compute descriptors and kernel rows; 1 for none besides this one.
    threads
        BLAS threads of this process, for the linear algebra.
    memory_mb
        Memory, 10^6 bytes, that this process and its workers may use; a study that needs more is
        refused with the figure.
    checkpoint_s
        Seconds of work after which the sums so far are saved; 0 for after every block.
    sparse_order
        How sparse points are ordered, in place of what ``sparse_method`` says.  Changes potentials.
    sparse_from
        Whether environments of config types that only some points fit may become sparse points
        (``any``), or only those of the types that every point fits (``every``).  Changes potentials.
    sparse_config_types
        Config types whose environments may become sparse points, in place of what ``sparse_from``
        gives for the points at hand; beside isolated atoms.  Changes potentials.
    max_jitter
        Largest jitter, relative to delta^2, that is tried where a kernel matrix is singular.
    """

    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_mb: float = 6000.0
    checkpoint_s: float = 60.0
    sparse_order: SparseOrder | None = None
    sparse_from: Literal["any", "every"] = "any"
    sparse_config_types: frozenset[str] | None = None
    max_jitter: float = 1e-5


def as_points(points: Sequence[StudyPoint | GapHyperparameters]) -> list[StudyPoint]:
    """Take bare hyperparameters for points with all configurations."""
    return [point if isinstance(point, StudyPoint) else StudyPoint(point) for point in points]


def can_share(points: Sequence[StudyPoint | GapHyperparameters]) -> str | None:
    """Why points cannot be solved from one assembly.

    Parameters
    ----------
    points
        At least one.

    Returns
    -------
    str or None
        A reason to be read; None where they can.  Points that cannot are for `gap_fit`.
    """
    study = as_points(points)
    if not study:
        return "there are no points"
    for point in study:
        reason = _obstacle(point.hyperparameters)
        if reason is not None:
            return reason
    first = _shared_part(study[0])
    for point in study[1:]:
        other = _shared_part(point)
        differing = sorted(name for name in first if first[name] != other[name])
        if differing:
            return f"the points differ in {', '.join(differing)}, which changes descriptors, kernels or targets"
    return None


def partition(points: Sequence[StudyPoint | GapHyperparameters]) -> tuple[list[list[int]], dict[int, str]]:
    """Divide points into studies, and those left for `gap_fit`.

    Parameters
    ----------
    points
        Any.

    Returns
    -------
    tuple
        Places of the points of each study, in the order of its first point; and the reason of every
        point that is no part of one, by its place.
    """
    studies: dict[str, list[int]] = {}
    left: dict[int, str] = {}
    for place, point in enumerate(as_points(points)):
        reason = _obstacle(point.hyperparameters)
        if reason is None:
            studies.setdefault(json.dumps(_shared_part(point), sort_keys=True), []).append(place)
        else:
            left[place] = reason
    return list(studies.values()), left


def _obstacle(settings: GapHyperparameters) -> str | None:
    soap = settings.soap
    if soap is None or settings.two_body is not None or settings.three_body is not None:
        return "only SOAP alone shares an assembly, not two-body or three-body terms"
    refused = sorted((set(soap.options) - _DESCRIPTOR_OPTIONS) | (set(settings.options) - _FIT_OPTIONS))
    causes = {
        f"the covariance_type {soap.covariance_type}": soap.covariance_type != "dot_product",
        "n_sparse by config type": isinstance(soap.n_sparse, dict),
        f"the sparse_method {soap.sparse_method}": soap.sparse_method not in SPARSE_ORDERS,
        "e0_method average": settings.e0_method != "isolated",
        f"the options {', '.join(refused)}": bool(refused),
    }
    found = [cause for cause, applies in causes.items() if applies]
    return f"gap_fit alone knows {', '.join(found)}" if found else None


def _shared_part(point: StudyPoint) -> dict[str, Any]:
    soap = point.soap.model_dump(mode="json", exclude={"n_sparse", "delta"})
    return {**soap, "seed": point.hyperparameters.seed, "own_sigmas": point.hyperparameters.own_sigmas}


def eligible_config_types(
    points: Sequence[StudyPoint | GapHyperparameters], sparse_from: Literal["any", "every"]
) -> set[str] | None:
    """Config types whose environments may become sparse points, as far as the points tell.

    Parameters
    ----------
    points
        At least one.
    sparse_from
        See `StudyOptions`.

    Returns
    -------
    set of str or None
        None for all that the training set has.
    """
    named = [point.config_types for point in as_points(points)]
    given = [set(types) for types in named if types is not None]
    if not given or (sparse_from == "any" and len(given) < len(named)):
        return None
    return set.union(*given) if sparse_from == "any" else set.intersection(*given)


def study_terms(point: StudyPoint, numbers: Sequence[int]) -> list[Term]:
    """One SOAP for each central element, by atomic number.

    The descriptor's text is the one `gap_fit` writes into its XML for these hyperparameters.
    """
    elements = sorted(set(numbers))
    texts = []
    for number in elements:
        soap = point.soap.model_copy(update={"n_sparse": point.tier(number), "delta": point.deviation(number)})
        settings = point.hyperparameters.model_copy(update={"soap": soap})
        text = descriptor_strings(settings, elements)[elements.index(number)]
        texts.append(text.replace("{{", "{").replace("}}", "}"))
    return [Term(number, text, point.soap.zeta) for number, text in zip(elements, texts, strict=True)]


def scale_warning(points: Sequence[StudyPoint | GapHyperparameters]) -> str | None:
    """A warning where points scan delta and all sigmas together as if they were two axes.

    Multiplying delta and every sigma by one number leaves all predictions as they are (but for the
    jitter), so of such a scan only the ratios count.

    Parameters
    ----------
    points
        Whose configurations bring no sigmas that are kept, but for isolated atoms.

    Returns
    -------
    str or None
        One sentence; None where there is no such scan.
    """
    families: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for point in as_points(points):
        settings = point.hyperparameters
        sigmas = settings.sigmas
        delta, scale = point.soap.delta, sigmas.energy
        force = sigmas.force if settings.f is None else settings.f
        shape = (
            point.config_types,
            settings.own_sigmas,
            tuple(sorted(point.n_sparse.items())),
            point.soap.n_sparse if isinstance(point.soap.n_sparse, int) else None,
            tuple((symbol, _rounded(value / delta)) for symbol, value in sorted(point.delta.items())),
            settings.floor,
            _rounded(force / scale),
            _rounded(sigmas.virial / scale),
        )
        families.setdefault(shape, []).append((delta, scale))
    wasteful = [
        members
        for members in families.values()
        if len({delta for delta, _ in members}) > 1 and len({scale for _, scale in members}) > 1
    ]
    if not wasteful:
        return None
    total = sum(len(set(members)) for members in wasteful)
    ratios = sum(len({_rounded(scale / delta) for delta, scale in members}) for members in wasteful)
    replaced = any(point.hyperparameters.own_sigmas == "replace" for point in as_points(points))
    but = " but for the energy sigma that isolated atoms keep," if replaced else ""
    return (
        f"{total} points scan delta and all sigmas together as two axes, but predictions depend on their ratio "
        f"alone,{but} of which there are {ratios}; scan one of the two, or the ratios between energy, force and virial "
        "sigmas"
    )


def _rounded(value: float) -> float:
    return float(f"{value:.9e}") if math.isfinite(value) else value
