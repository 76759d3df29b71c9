"""Commands that make a project and fill or empty its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.options import JsonOption, opened

if TYPE_CHECKING:
    from mlipdb.ingest.add import AddReport
    from mlipdb.settings import Project
    from mlipdb.stores import Database

__all__ = ["add", "copy", "init", "make_project", "remove", "report_added"]


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder of the new project; made if need be.")
    ] = Path(),
) -> None:
    """Make a project: a commented mlipdb.yaml and an empty database with its indexes.

    A folder that is a project already is left as it is; its settings and indexes are checked.
    """
    project, made = make_project(directory, "project.yaml")
    with _indexed(project) as database:
        where = database.shown if project.settings.database != "embedded" else "embedded, in .mlipdb"
    typer.echo(f"{'made' if made else 'checked'} the project {directory} (database: {where})")
    typer.echo("next: `mlipdb add PATH...` takes your calculations in, `mlipdb build` does the rest")


def make_project(directory: Path, template_name: str) -> tuple[Project, bool]:
    """A project folder with a shipped template, or the project that is there; and whether it was made.

    Raises
    ------
    UsageError
        If the path is a file.
    """
    from mlipdb.data import template
    from mlipdb.errors import UsageError
    from mlipdb.settings import PROJECT_FILE, load_project

    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a folder for the project")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / PROJECT_FILE
    made = not file.exists()
    if made:
        file.write_text(template(template_name), encoding="utf-8")
    return load_project(directory), made


def _indexed(project: Project) -> Database:
    from mlipdb.stores import open_database

    database = open_database(project)
    database.ensure_indexes()
    return database


def add(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files or folders: .json, .jsonl, each also .gz.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Let new content replace the old whichever file it comes from.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take raw DFT tasks in, exactly as they came.

    A task that is there already with the same content is left alone. One with new content replaces
    the old if it comes from the same file; from another file it is refused, unless with `--replace`.
    What cannot be read is said in one sentence, kept as a failed entry that `mlipdb status` counts, and
    makes the exit code 1; everything else goes in.
    """
    from mlipdb.cli.progress import counter
    from mlipdb.ingest.add import add_paths

    with opened(context) as (project, database):
        database.ensure_indexes()
        with counter("add") as advance:
            report = add_paths(database, paths, group=project.settings.group, replace=replace, advance=advance)
    report_added(report, as_json=as_json)
    if report.problems:
        raise typer.Exit(1)


def report_added(report: AddReport, *, as_json: bool = False) -> None:
    """Print what `add` did."""
    from mlipdb.cli.output import print_json

    if as_json:
        print_json(report.as_dict())
        return
    for problem in report.problems:
        typer.echo(f"not taken: {problem}", err=True)
    formats = ", ".join(f"{count} {name}" for name, count in report.formats.items())
    typer.echo(
        f"tasks: {report.added} added, {report.updated} updated, {report.unchanged} there already, "
        f"{len(report.problems)} not taken" + (f" ({formats})" if formats else "")
    )
    if report.others:
        typer.echo(f"{report.others} other files left alone")


def remove(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="COLLECTION|ID", help="A whole collection, or one document.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really remove; without it, only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove documents and the files that nothing else needs.

    What was made from them stays. The next `mlipdb build` marks configurations, phonons and benchmarks
    that lost their parents as withdrawn; training sets and potentials are frozen and stay as they are.
    """
    from mlipdb.cli.output import print_json
    from mlipdb.removal import remove_documents

    with opened(context) as (_, database):
        collection, keys = _targets(database, target)
        dependents = _dependents(database, collection, keys)
        removed, files = remove_documents(database, collection, keys) if yes else (0, 0)
    if as_json:
        print_json(
            {"collection": collection, "ids": keys, "removed": removed, "files": files, "dependents": dependents}
        )
    elif yes:
        typer.echo(f"removed {removed} from {collection} and {files} files")
    else:
        typer.echo(f"would remove {len(keys)} from {collection}; {dependents} documents were made from them")
        typer.echo("say --yes to do it")
    if not yes:
        raise typer.Exit(2)


def _targets(database: Database, target: str) -> tuple[str, list[str]]:
    from mlipdb.client import MlipDB
    from mlipdb.stores import COLLECTIONS

    if target in COLLECTIONS:
        key = COLLECTIONS[target].key
        return target, [doc[key] for doc in database.collection(target).find({}, {key: 1}).sort(key, 1)]
    collection, found = MlipDB.of(database).find_id(target)
    return collection, [found]


def _dependents(database: Database, collection: str, keys: list[str]) -> int:
    from mlipdb.stores import COLLECTIONS

    count = 0
    for item in COLLECTIONS.values():
        fields = [field for field, parent in item.parents.items() if parent == collection]
        if fields:
            query: dict[str, Any] = {"$or": [{field: {"$in": keys}} for field in fields]}
            count += database.collection(item.name).count_documents(query)
    return count


def copy(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where to: mongodb://host:27017/name.")],
    as_json: JsonOption = False,
) -> None:
    """Copy all documents and files into another database, verified.

    What is there already is left alone, so a copy that was cut off goes on. Then set `database` in
    mlipdb.yaml to the new address.
    """
    from mlipdb.cli.output import print_json
    from mlipdb.cli.progress import counter
    from mlipdb.copying import copy_database
    from mlipdb.stores import COLLECTIONS, Database

    with opened(context) as (_, source), Database(address) as target, target.errors():
        target.ping()
        total = sum(source.collection(name).estimated_document_count() for name in COLLECTIONS)
        with counter("copy", total) as advance:
            report = copy_database(source, target, advance)
        shown = target.shown
    if as_json:
        print_json(report.__dict__)
    else:
        typer.echo(f"copied {report.copied} documents and {report.files} files to {shown}; {report.present} were there")
