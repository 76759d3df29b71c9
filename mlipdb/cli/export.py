"""The command that writes configurations into files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlipdb.cli.options import JsonOption, opened

if TYPE_CHECKING:
    from mlipdb.export import ExportReport, Selection
    from mlipdb.stores import Database

__all__ = ["export"]


class Format(StrEnum):
    """Formats of files."""

    EXTXYZ = "extxyz"
    ASE_DB = "ase-db"
    JSONL = "jsonl"


class Side(StrEnum):
    """Sides of a training set."""

    TRAIN = "train"
    TEST = "test"


def export(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; .gz at its end compresses text.")
    ],
    file_format: Annotated[Format, typer.Option("--format", help="Format of the file.")] = Format.EXTXYZ,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="CONDITION", help="As for `mlipdb find configurations`; repeatable; none means all."
        ),
    ] = None,
    training_set: Annotated[
        str | None, typer.Option("--training-set", metavar="NAME", help="The members of a training set instead.")
    ] = None,
    split: Annotated[Side | None, typer.Option("--split", help="One side of the training set.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="REASON", help="Quality that keeps nothing out, or `all`; repeatable."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write configurations into a file that MACE and gap_fit train on and `mlipdb add` reads back.

    Labels stand under REF_energy, REF_forces, REF_virial and REF_stress. The isolated atoms of the levels
    of theory come along. What a quality gate holds back is left out, counted, unless --allow lets it in.
    """
    from mlipdb.cli.output import print_json
    from mlipdb.cli.progress import counter
    from mlipdb.export import export_configurations

    with opened(context) as (_, database):
        selection = _selection(database, where or [], training_set, split, allow or [])
        with counter("export", len(selection.ids)) as advance:
            report = export_configurations(
                database, selection, output, file_format.value, overwrite=overwrite, advance=advance
            )
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report)


def _selection(
    database: Database, where: list[str], training_set: str | None, split: Side | None, allow: list[str]
) -> Selection:
    from mlipdb.client import Collection
    from mlipdb.errors import UsageError
    from mlipdb.export import members_of, select
    from mlipdb.schemas.quality import QUALITY_REASONS

    unknown = [reason for reason in allow if reason not in ("all", *QUALITY_REASONS)]
    if unknown:
        raise UsageError(f"--allow {unknown[0]}: there is no such reason; use all, {', '.join(QUALITY_REASONS)}")
    if training_set is None:
        if split is not None:
            raise UsageError("--split needs --training-set NAME")
        query = {"$and": [Collection(database, "configurations").filter(*where), {"state": "complete"}]}
        return select(database, query, allow)
    if where or allow:
        raise UsageError("--training-set takes its members as they are; leave --where and --allow out")
    return members_of(database, training_set, None if split is None else split.value)


def _print(report: ExportReport) -> None:
    kinds = ", ".join(f"{count} {name}" for name, count in report.by_config_type.items())
    typer.echo(f"{report.configurations} configurations in {report.file} ({kinds})")
    if len(report.levels) > 1:
        listed = "; ".join(f"{label}: {count}" for label, count in report.levels.items())
        typer.echo(f"levels of theory, of which only those of one kind should be trained on together: {listed}")
    for label, energies in report.isolated_atom_energies.items():
        listed = ", ".join(f"{element} {energy!r} eV" for element, energy in energies.items())
        typer.echo(f"isolated atoms ({label}): {listed or 'none'}")
    if report.left_out:
        listed = ", ".join(f"{count} {reason}" for reason, count in report.left_out.items())
        typer.echo(f"left out for their quality: {listed} (--allow REASON lets them in)")
