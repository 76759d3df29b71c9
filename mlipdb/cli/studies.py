"""The figures of a hyperparameter study: which documents they show, and the files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.cli.plot import HEAVY, slug

if TYPE_CHECKING:
    from mlipdb.stores import Database

__all__ = ["StudyChoice", "draw_all_studies", "draw_study"]

Raw = dict[str, Any]
POTENTIAL_FIELDS = (
    "potential_id",
    "state",
    "framework",
    "engine",
    "study",
    "fit_name",
    "training_set",
    "training_set_id",
    "hyperparameters",
    "n_sparse",
    "delta",
    "f",
    "errors.test.overall",
    "evaluation_time_ms",
)


@dataclass(frozen=True)
class StudyChoice:
    """What a user wants to see.

    Attributes
    ----------
    metric
        One of `mlipdb.figures.scores.METRICS`.
    fit, training_set
        Names; None takes all.
    material
        Id or name; None takes the mean of all.
    where
        Conditions on phonon_benchmarks.
    """

    metric: str = "mesh.rmse"
    fit: str | None = None
    training_set: str | None = None
    material: str | None = None
    where: tuple[str, ...] = ()

    def path(self, folder: Path, figure: str, suffix: str) -> Path:
        """File of a figure, named after all that was chosen."""
        parts = [figure, self.metric, self.fit, self.training_set, self.material]
        return folder / f"{'-'.join(slug(part) for part in parts if part)}.{suffix}"


def draw_study(
    database: Database, choice: StudyChoice, folder: Path, suffix: str, say: Callable[[str], object] | None
) -> list[Raw]:
    """Write heat maps and Pareto front; returns the potentials on the front.

    Parameters
    ----------
    database, choice, folder, suffix
        From where, what, and to which files.
    say
        Told each path when it is written.

    Raises
    ------
    UsageError
        If the metric, fit, training set or material is unknown.
    DataError
        If there is nothing to show.
    """
    from mlipdb import figures
    from mlipdb.client import MlipDB
    from mlipdb.figures.scores import find_metric, pareto_members

    find_metric(choice.metric)
    material = MlipDB.of(database).find_id(choice.material)[1] if choice.material else None
    potentials = _potentials(database, choice)
    benchmarks = _benchmarks(database, choice.where)
    for draw, name in ((figures.study_heat_maps, "study-heat"), (figures.study_pareto, "study-pareto")):
        path = choice.path(folder, name, suffix)
        figures.save(draw(potentials, benchmarks, metric=choice.metric, material=material), path)
        if say is not None:
            say(str(path))
    return pareto_members(potentials, benchmarks, metric=choice.metric, material=material)


def draw_all_studies(database: Database, folder: Path, suffix: str) -> list[Path]:
    """The figures of the mesh RMSE for each protocol, where the grid has more than one point; returns the files."""
    from mlipdb import figures

    potentials = _potentials(database, StudyChoice())
    complete = [item for item in potentials if item["state"] == "complete" and item.get("n_sparse") is not None]
    points = {(item.get("n_sparse"), item.get("delta")) for item in complete}
    if len(points) < 2:
        return []
    benchmarks = _benchmarks(database, ())
    paths = []
    # A benchmark may outlive its potential, and an imported one has no place in a grid.
    keys = {item["potential_id"] for item in complete}
    shown = [item for item in benchmarks if item["state"] == "complete" and item["potential_id"] in keys]
    protocols = sorted({item.get("protocol_id", "") for item in shown})
    for protocol in protocols:
        chosen = [item for item in benchmarks if item.get("protocol_id", "") == protocol]
        name = f"mesh-rmse-{slug(protocol[:17])}" if len(protocols) > 1 else "mesh-rmse"
        paths.append(folder / f"study-heat-{name}.{suffix}")
        figures.save(figures.study_heat_maps(potentials, chosen), paths[-1])
        # Potentials of earlier versions have no evaluation time.
        if any(item.get("evaluation_time_ms") for item in _benchmarked(complete, chosen)):
            paths.append(folder / f"study-pareto-{name}.{suffix}")
            figures.save(figures.study_pareto(potentials, chosen), paths[-1])
    return paths


def _benchmarked(potentials: Sequence[Raw], benchmarks: Sequence[Raw]) -> list[Raw]:
    keys = {item["potential_id"] for item in benchmarks if item["state"] == "complete"}
    return [item for item in potentials if item["potential_id"] in keys]


def _potentials(database: Database, choice: StudyChoice) -> list[Raw]:
    """Complete and failed potentials of a fit and training set."""
    query: Raw = {"state": {"$in": ["complete", "failed"]}}
    collection = database.collection("potentials")
    for field, what, name in (
        ("fit_name", "fit", choice.fit),
        ("training_set", "training set", choice.training_set),
    ):
        if name is not None:
            _check_name(what, name, [str(known) for known in collection.distinct(field, query)])
            query[field] = name
    projection = {"_id": 0, **dict.fromkeys(POTENTIAL_FIELDS, 1)}
    return list(collection.find(query, projection).sort("potential_id", 1))


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    """Refuse a name that no potential has; none at all are told of later."""
    from mlipdb.errors import NotFoundError

    if not known or name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    raise NotFoundError(f"no potential is of a {what} {name!r}; {meant}There are {', '.join(sorted(known))}")


def _benchmarks(database: Database, where: Sequence[str]) -> list[Raw]:
    from mlipdb.client import Collection

    query = Collection(database, "phonon_benchmarks").filter(*where, failed=True)
    return list(database.collection("phonon_benchmarks").find(query, {"_id": 0, **dict.fromkeys(HEAVY, 0)}))
