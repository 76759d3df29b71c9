"""The application and its commands, in the order of ``--help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipdb.cli import build, check, demo, explore, export, plot, project

__all__ = ["app"]

app = typer.Typer(
    name="mlipdb",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keep, compare and publish machine-learned interatomic potentials that get phonons right.",
    epilog="Start with `mlipdb demo`, or `mlipdb init DIR`, `mlipdb add PATH` and `mlipdb build`.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from mlipdb import __version__

        typer.echo(f"mlipdb {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    project_directory: Annotated[
        Path | None,
        typer.Option("--project", metavar="DIR", help="Folder of the project; else the nearest mlipdb.yaml upwards."),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    context.obj = project_directory


app.command()(project.init)
app.command()(demo.demo)
app.command()(project.add)
app.command()(build.build)
app.command()(build.status)
app.command()(explore.find)
app.command()(explore.show)
app.command()(export.export)
app.command()(project.remove)
app.command()(check.check)
app.command()(project.copy)
app.add_typer(plot.app, name="plot")
