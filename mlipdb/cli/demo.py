"""The command that shows the whole job on shipped data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.options import WorkersOption

if TYPE_CHECKING:
    from mlipdb.stores import Database

__all__ = ["demo"]

Raw = dict[str, Any]

#: The benchmark of the study's template that its table shows.
STUDY_BENCHMARK = "relaxed"


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder of the project; mlipdb-demo, or mlipdb-study with --study."),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="The full hyperparameter study instead: 192 potentials, a quarter hour.")
    ] = False,
    workers: WorkersOption = None,
) -> None:
    """Run the whole job on shipped silicon data, in a few minutes on two cores.

    Raw DFT tasks of seven allotropes become training sets, GAPs of several sizes, and phonon
    benchmarks against DFT; then a table is printed and figures are written. Run it again: nothing is
    left to do.

    With `--study` the potentials are a grid over kind of training data, n_sparse, delta and f, all points
    of which share one pass over the data, and the benchmarks are made twice: relaxed, and at the DFT cell.
    """
    from mlipdb.cli.build import run_shown
    from mlipdb.cli.plot import draw_all
    from mlipdb.cli.project import make_project, report_added
    from mlipdb.data import SILICON_TASKS
    from mlipdb.errors import UsageError
    from mlipdb.ingest.add import add_paths
    from mlipdb.runner import Options, exit_code
    from mlipdb.stores import open_database

    directory = directory or Path("mlipdb-study" if study else "mlipdb-demo")
    project, _ = make_project(directory, "study.yaml" if study else "demo.yaml")
    if study and STUDY_BENCHMARK not in project.settings.benchmarks:
        raise UsageError(
            f"{directory} holds another project, without the benchmark {STUDY_BENCHMARK!r} of the study; name a new "
            "folder for it"
        )
    with open_database(project) as database, database.errors():
        database.ensure_indexes()
        report = add_paths(database, [SILICON_TASKS], group=project.settings.group, replace=True)
        report_added(report)
        reports = run_shown(project, database, (), Options(workers=workers))
        paths = draw_all(project, database)
        if study:
            study_table(database)
        else:
            benchmark_table(database)
    for path in paths:
        typer.echo(f"figure {path}")
    typer.echo(f"go on with `mlipdb --project {directory} status`, `find phonon_benchmarks --sort mesh.rmse`, ...")
    raise typer.Exit(exit_code(reports))


def benchmark_table(database: Database) -> None:
    """Print every benchmark: potential, material, hyperparameters and errors, best first by material."""
    from mlipdb.cli.output import table
    from mlipdb.client import Collection

    columns = {
        "potential": "potential_id",
        "material": "material_name",
        "trained on": "training_set",
        "n_sparse": "n_sparse",
        "delta": "delta",
        "f": "f",
        "E RMSE\nmeV/atom": "energy_rmse",
        "F RMSE\neV/A": "force_rmse",
        "mesh RMSE\nTHz": "mesh.rmse",
        "path RMSE\nTHz": "path.rmse",
        "stable": "stability.stable",
        "reference\nin training": "reference_in_training",
    }
    documents = Collection(database, "phonon_benchmarks").find(
        fields=[*columns.values(), "state", "failure.reason"], sort=["material_name", "mesh.rmse"], failed=True
    )
    rows = [[_value(document, field) for field in columns.values()] for document in documents]
    table(rows, list(columns), title="Phonon benchmarks")


def study_table(database: Database, benchmark: str = STUDY_BENCHMARK) -> None:
    """Print the best delta and f of every training set and n_sparse, by the mesh RMSE averaged over materials."""
    from mlipdb.cli.output import table
    from mlipdb.client import Collection

    fields = ["potential_id", "training_set", "n_sparse", "delta", "f", "force_rmse", "material_name", "mesh.rmse"]
    documents = list(
        Collection(database, "phonon_benchmarks").find(
            where={"benchmark": benchmark, "state": "complete"}, fields=fields, sort=["potential_id", "material_name"]
        )
    )
    materials = sorted({document["material_name"] for document in documents})
    by_potential: dict[str, list[Raw]] = {}
    for document in documents:
        by_potential.setdefault(document["potential_id"], []).append(document)
    best: dict[tuple[str, int], tuple[float, list[Raw]]] = {}
    for runs in by_potential.values():
        if len(runs) == len(materials):  # one that fails somewhere has no mean to compare
            mean = sum(run["mesh"]["rmse"] for run in runs) / len(runs)
            place = (runs[0]["training_set"], runs[0]["n_sparse"])
            if place not in best or mean < best[place][0]:
                best[place] = (mean, runs)
    rows = [
        [*place, runs[0]["delta"], runs[0]["f"], runs[0]["force_rmse"], mean, *(run["mesh"]["rmse"] for run in runs)]
        for place, (mean, runs) in sorted(best.items())
    ]
    columns = ["trained on", "n_sparse", "delta", "f", "F RMSE\neV/A", "mean mesh\nRMSE THz", *materials]
    table(rows, columns, title=f"The best of {len(by_potential)} potentials for each training set and n_sparse")


def _value(document: Raw, field: str) -> Any:
    from mlipdb.query import pick

    if document.get("state") == "failed" and field == "mesh.rmse":
        return f"failed: {pick(document, 'failure.reason')}"
    value = pick(document, field)
    return None if value is None else 1000 * value if field == "energy_rmse" else value
