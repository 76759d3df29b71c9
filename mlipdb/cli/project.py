"""Commands that make a project and fill or empty its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.external import (
    ExternalOptions,
    FrameworkOption,
    HyperparameterOption,
    LicenseOption,
    ManifestOption,
    PotentialOption,
    ReferenceOption,
)
from mlipdb.cli.options import JsonOption, opened
from mlipdb.cli.remote import (
    CollectionOption,
    DataCollectionOption,
    FromStartOption,
    QueryOption,
    RefreshOption,
    RemoteOptions,
    WhatOption,
)
from mlipdb.errors import UsageError

if TYPE_CHECKING:
    from mlipdb.ingest.add import AddReport
    from mlipdb.ingest.external import ExternalPotential
    from mlipdb.settings import Project
    from mlipdb.stores import Database

#: Items that `add` tells one by one; beyond that it counts equal ones.
SHOWN = 40

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
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders or archives: JSON documents, VASP directories, outputs of other codes, extxyz, ...; "
            "or mongodb://host:port/name; or ids of the Materials Project, such as mp-149.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let new content replace the old whichever file it comes from.")
    ] = False,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS",
            help="Level of theory of files that do not say theirs, such as code=VASP,functional=PBEsol,cutoff_ev=700.",
        ),
    ] = None,
    level_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The same fields in a YAML file.")] = None,
    each: Annotated[bool, typer.Option("--each", help="Print a line for every item, however many there are.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes that read; else `workers`.")
    ] = None,
    as_potential: PotentialOption = None,
    framework: FrameworkOption = None,
    hyperparameter: HyperparameterOption = None,
    reference: ReferenceOption = None,
    licence: LicenseOption = None,
    manifest: ManifestOption = None,
    collection: CollectionOption = None,
    query: QueryOption = None,
    data_collection: DataCollectionOption = None,
    from_start: FromStartOption = False,
    what: WhatOption = None,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take raw DFT tasks in, exactly as they came.

    A line for each item says what was understood: where it stands, its format, formula, number of atoms,
    kind and level of theory. Where there are many, equal ones are counted together.

    A task that is there already with the same content is left alone. One with new content replaces
    the old if it comes from the same file; from another file it is refused, unless with `--replace`.
    What cannot be read is said in one sentence, kept as a failed entry that `mlipdb status` counts, and
    makes the exit code 1; everything else goes in.

    With `--as-potential`, or with `--manifest`, phonopy files hold the forces of potentials, which are then
    held against the DFT phonons of the same crystal and supercell.

    From a database only what is new or changed since the last time is taken; a run that is cut off goes on
    where it was. The Materials Project needs a key in the variable MP_API_KEY.
    """
    from mlipdb.cli.progress import adding
    from mlipdb.ingest.add import add_paths
    from mlipdb.ingest.writer import AddReport

    given = _given_level(level, level_file)
    remote = RemoteOptions(paths or [], collection, query, data_collection, from_start, what, refresh)
    external: list[ExternalPotential] = []
    if as_potential or manifest or not remote.given:
        external = ExternalOptions(
            as_potential, framework, hyperparameter, reference, licence, manifest, remote.files
        ).potentials()
    if external:
        if given:
            raise UsageError("--level says how DFT was done; leave it out with --as-potential and --manifest")
        if remote.given:
            raise UsageError("--as-potential and --manifest take phonopy files; add databases and ids by themselves")
        _add_external(context, external, replace=replace, each=each, as_json=as_json)
        return
    with opened(context) as (project, database):
        database.ensure_indexes()
        report = AddReport(keep=None if each else SHOWN)
        if remote.files or not remote.given:
            with adding() as progress:
                report = add_paths(
                    database,
                    remote.files,
                    group=project.settings.group,
                    replace=replace,
                    progress=progress,
                    workers=workers or project.settings.workers,
                    level=given,
                    keep=report.keep,
                )
        remote.take(project, database, report, replace=replace)
    report_added(report, as_json=as_json, told=True)
    if report.problems:
        raise typer.Exit(1)


def _add_external(
    context: typer.Context, potentials: list[ExternalPotential], *, replace: bool, each: bool, as_json: bool
) -> None:
    from mlipdb.cli.progress import counter
    from mlipdb.ingest.external import add_external

    with opened(context) as (project, database):
        database.ensure_indexes()
        with counter("add") as advance:
            report = add_external(
                database,
                potentials,
                group=project.settings.group,
                replace=replace,
                keep=None if each else SHOWN,
                advance=advance,
            )
    report_added(report, as_json=as_json, told=True)
    if report.problems:
        raise typer.Exit(1)


def _given_level(text: str | None, file: Path | None) -> dict[str, Any] | None:
    """The level of theory of the command line; what stands there wins over the file."""
    from mlipdb.ingest.given_level import level_of_file, level_of_text

    given = {**(level_of_file(file) if file is not None else {}), **(level_of_text(text) if text is not None else {})}
    return given or None


def report_added(report: AddReport, *, as_json: bool = False, told: bool = False) -> None:
    """Print what `add` did, and before that what it understood (`told`)."""
    from mlipdb.cli.output import print_json

    if as_json:
        print_json(report.as_dict())
        return
    if told:
        lines = _understood(report)
        for line in lines if report.keep is None else lines[:SHOWN]:
            typer.echo(line)
        if report.keep is not None and len(lines) > SHOWN:
            typer.echo(f"and {len(lines) - SHOWN} more groups; `--each` tells every item")
    shown = report.problems if report.keep is None else report.problems[:SHOWN]
    for problem in shown:
        typer.echo(f"not taken: {problem}", err=True)
    if len(shown) < len(report.problems):
        rest = len(report.problems) - len(shown)
        typer.echo(f"not taken: {rest} more; `mlipdb find tasks --all --where state=failed` shows them", err=True)
    formats = ", ".join(f"{count} {name}" for name, count in report.formats.items())
    typer.echo(
        f"tasks: {report.added} added, {report.updated} updated, {report.unchanged} there already, "
        f"{len(report.problems)} not taken" + (f" ({formats})" if formats else "")
    )
    if report.others:
        typer.echo(f"{report.others} other files left alone")


def _understood(report: AddReport) -> list[str]:
    """A line for each item that was taken, or for each group of equal ones; refused ones are told apart."""
    lines = []
    for item in report.told():
        if item["place"] is None and item["problem"] == "not taken":
            continue
        if item["place"] is not None and item["formula"] is None and item["problem"] in report.problems:
            continue
        where = item["place"] or f"{item['count']} items"
        size = None if item["n_atoms"] is None else f"{item['n_atoms']} atom{'s' if item['n_atoms'] > 1 else ''}"
        kind = item["kind"] or (None if item["formula"] is None else "kind by geometry")
        problem = item["problem"] and f"no configuration as it is: {item['problem']}"
        if item["place"] is None:
            problem = item["problem"]
        parts = [item["format"], item["formula"], size, kind, item["level"], problem]
        lines.append(f"{where}: " + ", ".join(part for part in parts if part))
    return lines


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
