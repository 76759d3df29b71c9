"""The command that verifies a database."""

from __future__ import annotations

import typer

from mlipdb.cli.options import JsonOption, opened

__all__ = ["check"]

#: Pairs of configurations told one by one.
SHOWN = 100


def check(context: typer.Context, as_json: JsonOption = False) -> None:
    """Verify every document: its model, key, parents, files and their checksums.

    Exit code 1 if anything is wrong; each problem is one sentence. Pairs of configurations that hold one
    structure at one level of theory with different labels are warnings.
    """
    from mlipdb.checking import check_database
    from mlipdb.cli.output import print_json
    from mlipdb.cli.progress import counter
    from mlipdb.stores import COLLECTIONS

    with opened(context) as (_, database):
        total = sum(database.collection(name).estimated_document_count() for name in COLLECTIONS)
        with counter("check", total) as advance:
            report = check_database(database, advance)
    if as_json:
        print_json(report.as_dict())
    else:
        for problem in report.problems:
            typer.echo(f"wrong: {problem}", err=True)
        for pair in report.near_duplicates[:SHOWN]:
            typer.echo(f"warning: {pair.sentence()}", err=True)
        if len(report.near_duplicates) > SHOWN:
            typer.echo(f"warning: and {len(report.near_duplicates) - SHOWN} more such pairs (--json)", err=True)
        typer.echo(
            f"checked {report.documents} documents, {report.parents} parents, {report.artifacts} files: "
            f"{len(report.problems)} problems, {len(report.near_duplicates)} warnings"
        )
        if report.unused_artifacts or report.orphaned_chunks:
            typer.echo(
                f"unused: {len(report.unused_artifacts)} files that no document names, "
                f"{report.orphaned_chunks} pieces of uploads that were cut off"
            )
    if report.problems:
        raise typer.Exit(1)
