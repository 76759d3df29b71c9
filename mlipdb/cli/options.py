"""Options that several commands share, and the project they work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlipdb.settings import Project
    from mlipdb.stores import Database

__all__ = ["JsonOption", "WorkersOption", "opened"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Processes for fits and benchmarks.")
]


@contextmanager
def opened(context: typer.Context) -> Iterator[tuple[Project, Database]]:
    """The project of a command and its open database."""
    from mlipdb.settings import load_project
    from mlipdb.stores import open_database

    directory: Path | None = context.obj
    project = load_project(directory)
    with open_database(project) as database, database.errors():
        yield project, database
