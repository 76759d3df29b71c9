"""Commands that draw figures from documents."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.options import JsonOption, opened

if TYPE_CHECKING:
    from mlipdb.settings import Project
    from mlipdb.stores import Database

__all__ = ["app", "draw_all", "slug"]

Raw = dict[str, Any]
#: Fields of phonon_benchmarks that figures of many potentials do not need.
HEAVY = ("mesh_frequencies", "band_structure", "density_of_states", "thermal_properties")
app = typer.Typer(
    no_args_is_help=True, help="Draw figures from documents: bands, rmse-n-sparse, rmse-force, study, or all."
)

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write: .png, .pdf or .svg.")
]
FormatOption = Annotated[str, typer.Option("--format", metavar="png|pdf|svg", help="Kind of files.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="CONDITION", help="Condition on phonon_benchmarks, as in `mlipdb find`."),
]


@app.command()
def bands(
    context: typer.Context,
    material: Annotated[str, typer.Argument(metavar="MATERIAL", help="Id or name of a material.")],
    potential: Annotated[
        list[str] | None, typer.Option("--potential", metavar="ID", help="Potentials to show; else the best one.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Draw the DFT band structure and density of states against potentials."""
    with opened(context) as (project, database):
        path = output or project.figures_directory / f"bands-{slug(material)}.png"
        _draw_bands(database, material, potential or [], path)
    typer.echo(str(path))


@app.command("rmse-n-sparse")
def rmse_n_sparse(context: typer.Context, where: WhereOption = None, output: OutputOption = None) -> None:
    """Draw the phonon RMSE against the number of sparse points."""
    with opened(context) as (project, database):
        path = output or project.figures_directory / "rmse-n-sparse.png"
        _draw_scatter(database, "rmse_against_n_sparse", where or (), path)
    typer.echo(str(path))


@app.command("rmse-force")
def rmse_force(context: typer.Context, where: WhereOption = None, output: OutputOption = None) -> None:
    """Draw the phonon RMSE against the test force RMSE."""
    with opened(context) as (project, database):
        path = output or project.figures_directory / "rmse-force.png"
        _draw_scatter(database, "phonon_rmse_against_force_rmse", where or (), path)
    typer.echo(str(path))


@app.command()
def study(
    context: typer.Context,
    fit: Annotated[str | None, typer.Option("--fit", metavar="NAME", help="Fit in mlipdb.yaml; else all.")] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="mesh.rmse or path.rmse (THz), or of the test set force_rmse (eV/Angstrom) or energy_rmse (meV/atom).",
        ),
    ] = "mesh.rmse",
    material: Annotated[
        str | None, typer.Option("--material", metavar="NAME", help="Id or name of one material; else the mean of all.")
    ] = None,
    training_set: Annotated[
        str | None, typer.Option("--training-set", metavar="NAME", help="Name of a recipe; else all.")
    ] = None,
    where: WhereOption = None,
    suffix: FormatOption = "png",
    output_directory: Annotated[
        Path | None, typer.Option("--output-dir", metavar="FOLDER", help="Where to write; else figures/.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw RMSE over the grid as heat maps, and the Pareto front of accuracy against evaluation time.

    With --json the potentials on the front are printed as a plain list, the fastest first.
    """
    from mlipdb.cli.studies import StudyChoice, draw_study

    with opened(context) as (project, database):
        choice = StudyChoice(metric, fit, training_set, material, tuple(where or ()))
        folder = output_directory or project.figures_directory
        front = draw_study(database, choice, folder, suffix, None if as_json else typer.echo)
    if as_json:
        from mlipdb.cli.output import print_json

        print_json(front)


@app.command("all")
def all_figures(context: typer.Context, suffix: FormatOption = "png") -> None:
    """Draw every figure into the project's folder figures/."""
    with opened(context) as (project, database):
        paths = draw_all(project, database, suffix)
    for path in paths:
        typer.echo(str(path))


def draw_all(project: Project, database: Database, suffix: str = "png") -> list[Path]:
    """Bands of every material with DFT phonons, the scatter plots and those of a grid; returns the files."""
    from mlipdb.cli.progress import counter
    from mlipdb.cli.studies import draw_all_studies

    folder = project.figures_directory
    phonons = list(
        database.collection("phonons")
        .find({"state": "complete"}, {"material_id": 1, "material_name": 1})
        .sort("material_id", 1)
    )
    paths: list[Path] = []
    with counter("figures", len(phonons) + 3) as advance:
        for document in phonons:
            name = document.get("material_name") or document["material_id"]
            paths.append(folder / f"bands-{slug(name)}.{suffix}")
            _draw_bands(database, document["material_id"], [], paths[-1])
            advance()
        if database.collection("phonon_benchmarks").find_one({"state": "complete"}, {"_id": 1}) is not None:
            for figure, name, field in (
                ("rmse_against_n_sparse", "rmse-n-sparse", "n_sparse"),
                ("phonon_rmse_against_force_rmse", "rmse-force", "force_rmse"),
            ):
                paths += _draw_scatters(database, figure, name, field, folder, suffix)
                advance()
            paths += draw_all_studies(database, folder, suffix)
            advance()
    return paths


def slug(name: str) -> str:
    """A name as part of a file name."""
    return "".join(character if character.isalnum() or character in "-_" else "-" for character in name)


def _draw_bands(database: Database, material: str, potentials: list[str], path: Path) -> None:
    from mlipdb import figures
    from mlipdb.client import Collection, MlipDB
    from mlipdb.errors import NotFoundError

    client = MlipDB.of(database)
    material_id = client.find_id(material)[1]
    phonons = Collection(database, "phonons").find(where={"material_id": material_id, "state": "complete"})
    if not phonons:
        raise NotFoundError(f"there are no DFT phonons of {material}; look at `mlipdb find phonons --all`")
    phonon = phonons[0]
    query: Raw = {"phonon_id": phonon["phonon_id"], "state": "complete"}
    if potentials:
        query["potential_id"] = {"$in": [client.find_id(name)[1] for name in potentials]}
    chosen = Collection(database, "phonon_benchmarks").find(where=query, sort="mesh.rmse", limit=0 if potentials else 1)
    if potentials and not chosen:
        raise NotFoundError(f"none of these potentials was benchmarked on {material}; run `mlipdb build`")
    figures.save(figures.band_structure(phonon, chosen), path)


def _draw_scatter(database: Database, figure: str, where: Iterable[str], path: Path) -> None:
    from mlipdb import figures

    figures.save(getattr(figures, figure)(_benchmarks(database, where)), path)


def _draw_scatters(database: Database, figure: str, name: str, field: str, folder: Path, suffix: str) -> list[Path]:
    """One figure for each protocol with potentials to show, which have ``field``; returns the files."""
    from mlipdb import figures
    from mlipdb.figures.documents import finite, mesh_rmse, sort_out

    documents = _benchmarks(database, ())
    shown = sort_out(documents, {"phonon RMSE": mesh_rmse, field: lambda item: finite(item.get(field))}).shown
    protocols = sorted({item.get("protocol_id", "") for item in shown})
    paths = []
    for protocol in protocols:
        chosen = [item for item in documents if item.get("protocol_id", "") == protocol]
        named = f"{name}-{slug(protocol[:17])}" if len(protocols) > 1 else name
        paths.append(folder / f"{named}.{suffix}")
        figures.save(getattr(figures, figure)(chosen), paths[-1])
    return paths


def _benchmarks(database: Database, where: Iterable[str]) -> list[Raw]:
    from mlipdb.client import Collection

    conditions = list(where)
    query = Collection(database, "phonon_benchmarks").filter(*conditions, failed=not conditions)
    return list(database.collection("phonon_benchmarks").find(query, {"_id": 0, **dict.fromkeys(HEAVY, 0)}))
