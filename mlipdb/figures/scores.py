"""Errors and costs of the potentials of a study, from documents."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mlipdb.errors import DataError, NotFoundError, UsageError
from mlipdb.figures.documents import Raw, finite, require_one_protocol

__all__ = [
    "METRICS",
    "Metric",
    "Score",
    "Scores",
    "find_metric",
    "front_of",
    "pareto_front",
    "pareto_members",
    "scores_of",
]


@dataclass(frozen=True)
class Metric:
    """An error that potentials are ranked by.

    Attributes
    ----------
    name
        As users write it.
    label
        Of an axis, with the unit.
    field
        Dotted path in documents of `phonon_benchmarks`, or of `potentials`.
    of_benchmarks
        Whether it is a mean over materials, from benchmarks.
    factor
        From the documents' unit to the label's.
    """

    name: str
    label: str
    field: str
    of_benchmarks: bool
    factor: float = 1.0


METRICS = {
    metric.name: metric
    for metric in (
        Metric("mesh.rmse", "Phonon RMSE, mesh (THz)", "mesh.rmse", True),
        Metric("path.rmse", "Phonon RMSE, path (THz)", "path.rmse", True),
        Metric("force_rmse", "Force RMSE on the test set (eV/Å)", "errors.test.overall.force_rmse", False),
        Metric("energy_rmse", "Energy RMSE on the test set (meV/atom)", "errors.test.overall.energy_rmse", False, 1e3),
    )
}


@dataclass(frozen=True)
class Score:
    """One potential.

    Attributes
    ----------
    document
        Of `potentials`.
    n_sparse, delta, f
        Sparse points; energy scale, eV; force regularisation. None where it has none.
    value
        Error in the unit of the metric's label; None where there is none.
    n_present
        DFT phonon references in the mean.
    evaluation_time_ms
        CPU time per atom, ms.
    """

    document: Raw
    n_sparse: float | None
    delta: float | None
    f: float | None
    value: float | None
    n_present: int
    evaluation_time_ms: float | None

    @property
    def key(self) -> str:
        """Its `potential_id`."""
        return str(self.document.get("potential_id"))

    @property
    def source(self) -> str:
        """Its training set; the framework of an imported potential."""
        return str(self.document.get("training_set") or f"{self.document.get('framework') or 'unknown'} (imported)")

    @property
    def failed(self) -> bool:
        """Whether the fit failed."""
        return self.document.get("state") == "failed"


@dataclass(frozen=True)
class Scores:
    """Potentials of a study by one metric.

    Attributes
    ----------
    metric
        What the values are.
    rows
        By key.
    n_references
        DFT phonon references of which some potential has a value; 0 for errors on the test set.
    materials
        Names of their materials, sorted.
    left_out
        Reason -> how many documents are not shown.
    """

    metric: Metric
    rows: list[Score]
    n_references: int
    materials: list[str]
    left_out: Counter[str]

    def whole(self, row: Score) -> bool:
        """Whether a value misses no material, so that it can be compared with others."""
        return row.value is not None and row.n_present == self.n_references

    def label(self) -> str:
        """Label of an axis of values."""
        if not self.materials:
            return self.metric.label
        over = self.materials[0] if len(self.materials) == 1 else f"mean of {len(self.materials)} materials"
        return f"{self.metric.label}\n{over}"


def find_metric(name: str) -> Metric:
    """A metric by its name.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest.
    """
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no metric {name!r}; {meant}They are {', '.join(METRICS)}")
    return METRICS[name]


def scores_of(potentials: Sequence[Raw], benchmarks: Sequence[Raw], metric: str, material: str | None = None) -> Scores:
    """Give every potential its error.

    Phonon errors are means over materials (over the references of a material first) of complete
    benchmarks. A reference of which no potential has a value is left out of all of them.

    Parameters
    ----------
    potentials
        Documents of `potentials`, failed ones too. Those in other states but complete are counted.
    benchmarks
        Documents of `phonon_benchmarks`; those of other potentials are ignored. Errors on the test
        set need none.
    metric
        One of `METRICS`.
    material
        Id or name of one material instead of the mean.

    Raises
    ------
    UsageError
        If there is no such metric, or a material is given for an error on the test set.
    NotFoundError
        If no benchmark is of the material.
    DataError
        If there are no potentials or no benchmarks of them, or the benchmarks follow several protocols.
    """
    found = find_metric(metric)
    if material is not None and not found.of_benchmarks:
        of_materials = ", ".join(name for name, other in METRICS.items() if other.of_benchmarks)
        raise UsageError(
            f"{metric} belongs to a test set, not to {material}; leave the material out, or take {of_materials}"
        )
    if not potentials:
        raise DataError("there are no potentials for the figures of a study; run `mlipdb build potentials` first")
    left_out: Counter[str] = Counter()
    kept = []
    for document in potentials:
        state = str(document.get("state", "complete"))
        if state in ("complete", "failed"):
            kept.append(document)
        else:
            left_out[state] += 1
    kept.sort(key=lambda document: str(document.get("potential_id")))
    if not found.of_benchmarks:
        rows = [_score(document, kept, found, (_field(document, found.field), 0)) for document in kept]
        return Scores(found, rows, 0, [], left_out)
    used = _benchmarks_of(kept, benchmarks, material)
    return _phonon_scores(found, kept, used, left_out)


def _phonon_scores(metric: Metric, potentials: list[Raw], benchmarks: list[Raw], left_out: Counter[str]) -> Scores:
    errors: dict[str, dict[tuple[str, str], float]] = {}
    names: dict[tuple[str, str], str] = {}
    for item in benchmarks:
        reference = (str(item.get("material_id")), str(item.get("phonon_id")))
        names[reference] = str(item.get("material_name") or item.get("material_id") or "unknown material")
        value = _field(item, metric.field) if item.get("state", "complete") == "complete" else None
        if value is not None:
            errors.setdefault(str(item.get("potential_id")), {})[reference] = value
    compared = set().union(*errors.values())
    if not compared:
        raise DataError(
            f"none of the {len(benchmarks)} phonon benchmarks of these potentials is complete and has a {metric.name}; "
            "look at `mlipdb find phonon_benchmarks --all`"
        )
    without = len({material for material, _ in names} - {material for material, _ in compared})
    if without:
        left_out[f"{'material' if without == 1 else 'materials'} without any complete benchmark"] += without
    rows = []
    for document in potentials:
        own = errors.get(str(document.get("potential_id")), {})
        rows.append(_score(document, potentials, metric, (_mean(own), len(own))))
    materials = {material: names[material, phonon] for material, phonon in sorted(compared)}
    return Scores(metric, rows, len(compared), sorted(materials.values()), left_out)


def _mean(errors: dict[tuple[str, str], float]) -> float | None:
    """Mean over materials of the mean over the references of each."""
    by_material: dict[str, list[float]] = {}
    for (material, _), value in sorted(errors.items()):
        by_material.setdefault(material, []).append(value)
    return fmean(fmean(values) for values in by_material.values()) if by_material else None


def _benchmarks_of(potentials: Sequence[Raw], benchmarks: Sequence[Raw], material: str | None) -> list[Raw]:
    """Standing benchmarks of some potentials, all of one protocol."""
    keys = {document.get("potential_id") for document in potentials}
    used = [item for item in benchmarks if item.get("potential_id") in keys and item.get("state") != "withdrawn"]
    if not used:
        raise DataError(
            "there are no phonon benchmarks of these potentials; run `mlipdb build phonon_benchmarks` first, "
            "or take force_rmse or energy_rmse, which need none"
        )
    if material is not None:
        chosen = [item for item in used if material in (item.get("material_id"), item.get("material_name"))]
        if not chosen:
            known = sorted({str(item.get("material_name") or item.get("material_id")) for item in used})
            raise NotFoundError(f"none of these potentials was benchmarked on {material}, but on {', '.join(known)}")
        used = chosen
    require_one_protocol(used)
    return used


def _score(document: Raw, potentials: Sequence[Raw], metric: Metric, found: tuple[float | None, int]) -> Score:
    value, n_present = found
    return Score(
        document=document,
        n_sparse=finite(document.get("n_sparse")) or _asked_n_sparse(document),
        delta=_either(finite(document.get("delta")), _asked_delta(document)),
        f=_either(finite(document.get("f")), _asked_f(document, potentials)),
        value=None if value is None else metric.factor * value,
        n_present=n_present,
        evaluation_time_ms=finite(document.get("evaluation_time_ms")),
    )


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


# A failed fit has no summary: its place in the grid is read from what was asked for.


def _asked_n_sparse(document: Raw) -> float | None:
    counts = [finite(part.get("n_sparse")) for part in _descriptors(document)]
    known = [count for count in counts if count is not None]
    return sum(known) or None


def _asked_delta(document: Raw) -> float | None:
    return next((finite(part.get("delta")) for part in _descriptors(document)), None)


def _descriptors(document: Raw) -> list[Raw]:
    """Descriptors with sparse points, SOAP first, as its delta is the one tables show."""
    parts = document.get("hyperparameters") or {}
    names = sorted(parts, key=lambda name: (name != "soap", name != "two_body", name))
    return [parts[name] for name in names if isinstance(parts[name], dict) and "n_sparse" in parts[name]]


def _asked_f(document: Raw, potentials: Sequence[Raw]) -> float | None:
    own = finite((document.get("hyperparameters") or {}).get("f"))
    if own is not None or not document.get("training_set_id"):
        return own
    # Without an f of its own a potential has that of its training set, as the others on it.
    shared = {
        finite(other.get("f"))
        for other in potentials
        if other.get("training_set_id") == document["training_set_id"]
        and other.get("state", "complete") == "complete"
        and (other.get("hyperparameters") or {}).get("f") is None
    }
    return shared.pop() if len(shared) == 1 else None


def _field(document: Raw, path: str) -> float | None:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return finite(value)


def pareto_front(costs: Sequence[float], errors: Sequence[float]) -> list[int]:
    """Find the points that no other point beats.

    A point is on the front if no other has both a cost and an error as low and one of them lower.
    Equal points do not beat each other: they are all on the front, or none is.

    Parameters
    ----------
    costs, errors
        As many of one as of the other, shape (n,), in any units; points with NaN or infinity are
        never on the front.

    Returns
    -------
    list of int
        Indices by ascending cost, and so by descending error; equal points in the order given.

    Raises
    ------
    UsageError
        If the two differ in length.

    Examples
    --------
    >>> pareto_front([3.0, 1.0, 2.0, 2.0], [0.1, 0.5, 0.6, 0.2])
    [1, 3, 0]
    """
    if len(costs) != len(errors):
        raise UsageError(
            f"{len(costs)} costs and {len(errors)} errors make no points; give as many of one as of the other"
        )
    points = [
        (float(cost), float(error), index)
        for index, (cost, error) in enumerate(zip(costs, errors, strict=True))
        if math.isfinite(cost) and math.isfinite(error)
    ]
    front: list[tuple[float, float, int]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return [index for _, _, index in front]


def front_of(scores: Scores, rows: Sequence[Score]) -> list[Score]:
    """Potentials on the Pareto front; one whose mean misses materials has no place on it."""
    fair = [row for row in rows if scores.whole(row) and row.evaluation_time_ms is not None]
    costs = [row.evaluation_time_ms or 0.0 for row in fair]
    return [fair[index] for index in pareto_front(costs, [row.value or 0.0 for row in fair])]


def pareto_members(
    potentials: Iterable[Raw], benchmarks: Iterable[Raw], *, metric: str = "mesh.rmse", material: str | None = None
) -> list[dict[str, Any]]:
    """The Pareto front of accuracy against evaluation time as plain records, the fastest potential first.

    Parameters
    ----------
    potentials, benchmarks, metric, material
        As for `scores_of`.

    Returns
    -------
    list of dict
        ``potential_id``, ``training_set``, ``n_sparse``, ``delta`` (eV), ``f``, ``metric`` (its
        name), ``value`` (in the unit of the metric: THz, eV/Angstrom or meV/atom) and
        ``evaluation_time_ms`` (per atom).
    """
    scores = scores_of(list(potentials), list(benchmarks), metric, material)
    return [
        {
            "potential_id": row.key,
            "training_set": row.document.get("training_set"),
            **{name: row.document.get(name) for name in ("n_sparse", "delta", "f")},
            "metric": metric,
            "value": row.value,
            "evaluation_time_ms": row.evaluation_time_ms,
        }
        for row in front_of(scores, scores.rows)
    ]
