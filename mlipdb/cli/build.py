"""Commands that build documents and say how things stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.options import JsonOption, WorkersOption, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlipdb.runner import Options, RunReport
    from mlipdb.settings import Project
    from mlipdb.stores import Database

__all__ = ["build", "run_shown", "status"]


def build(
    context: typer.Context,
    builders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BUILDER]...",
            help="materials, configurations, phonons, training_sets, potentials, phonon_benchmarks; none means all.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be built.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Build again what failed before.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Withdraw even more than a quarter of a collection, and check everything.")
    ] = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is missing or out of date, in the order data flows.

    A second run with nothing new does nothing and says so. What fails becomes a failed document that
    is not tried again until something it depends on changes, or with --retry-failed.
    Exit code: 0 built or nothing to do, 1 something failed, 2 wrong settings, 3 no database,
    4 somebody else is building.
    """
    from mlipdb.cli.output import print_json
    from mlipdb.runner import Options, exit_code, plan_builders

    options = Options(workers=workers, retry_failed=retry_failed, force=force)
    with opened(context) as (project, database):
        if dry_run:
            reports = plan_builders(project, database, builders or (), options=options)
        else:
            reports = run_shown(project, database, builders or (), options)
    if as_json:
        print_json([report.as_dict() for report in reports])
    elif dry_run:
        _print_plan(reports)
    else:
        _print_result(reports)
    raise typer.Exit(exit_code(reports))


def run_shown(project: Project, database: Database, builders: Sequence[str], options: Options) -> list[RunReport]:
    """Run builders with bars on a terminal and log lines elsewhere."""
    from mlipdb.cli.progress import reporter
    from mlipdb.runner import run_builders

    database.ensure_indexes()
    with reporter() as shown:
        return run_builders(project, database, builders, options=options, reporter=shown)


def _print_plan(reports: list[RunReport]) -> None:
    for report in reports:
        typer.echo(f"{report.builder}: {len(report.planned)} to build, {report.unchanged} up to date")
        for label in report.planned[:10]:
            typer.echo(f"  {label}")
        if len(report.planned) > 10:
            typer.echo(f"  and {len(report.planned) - 10} more")
    typer.echo("counted with the documents there are now; what these give is built after them")


def _print_result(reports: list[RunReport]) -> None:
    if all(not (report.built or report.failed or report.withdrawn or report.locked) for report in reports):
        typer.echo("nothing to do: everything is up to date")
        return
    built = sum(report.built for report in reports)
    failed = sum(report.failed for report in reports)
    withdrawn = sum(report.withdrawn for report in reports)
    seconds = sum(report.duration_s for report in reports)
    typer.echo(f"built {built}, failed {failed}, withdrawn {withdrawn} documents in {seconds:.0f} s")
    for report in reports:
        if report.locked:
            typer.echo(report.locked, err=True)
    if failed:
        typer.echo("`mlipdb status` lists what failed and why", err=True)


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what is in the database, what failed and why, and what was last built."""
    from mlipdb.cli.output import print_json
    from mlipdb.state import state_of

    with opened(context) as (project, database):
        state = state_of(project, database)
    if as_json:
        print_json(state)
    else:
        _print_state(state)


def _print_state(state: dict[str, Any]) -> None:
    from mlipdb.cli.output import cell, table

    typer.echo(f"project {state['project']}")
    typer.echo(f"database {state['database']}")
    if state.get("limits"):
        typer.echo(state["limits"])
    names = ("complete", "incomplete", "failed", "withdrawn")
    rows = [[name, *(counts.get(word, 0) for word in names)] for name, counts in state["collections"].items()]
    table(rows, ["collection", *names])
    for incomplete in state["incomplete"]:
        missing = incomplete["missing"]
        typer.echo(f"incomplete: {incomplete['label']}: {len(missing)} displacements missing")
        for text in missing[:4]:
            typer.echo(f"  {text}")
    for reason, count in state["quality"].items():
        typer.echo(
            f"held back: {count} configurations {reason} (`mlipdb find configurations --where quality.reason={reason}`)"
        )
    for name, counts in state["left_out"].items():
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        typer.echo(f"left out of the training set {name}: {listed}")
    for failure in state["failures"]:
        name = " ".join(filter(None, (failure["collection"], failure["id"])))
        typer.echo(f"failed: {name} ({failure['reason']}): {failure['message']}")
    if state["failures_not_shown"]:
        typer.echo(f"and {state['failures_not_shown']} more failures")
    for run in state["last_runs"]:
        typer.echo(
            f"last run of {run['builder']}: {cell(run['started'])} UTC, built {run['built']}, failed {run['failed']}"
        )
    for lock in state["building"]:
        typer.echo(f"building now: {lock['builder']} by process {lock['pid']} on {lock['host']}")
