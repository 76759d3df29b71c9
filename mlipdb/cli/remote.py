"""Options of `add` for tasks that come from another database or from the Materials Project."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlipdb.errors import UsageError

if TYPE_CHECKING:
    from mlipdb.ingest.writer import AddReport
    from mlipdb.settings import Project
    from mlipdb.stores import Database

__all__ = [
    "CollectionOption",
    "DataCollectionOption",
    "FromStartOption",
    "QueryOption",
    "RefreshOption",
    "RemoteOptions",
    "WhatOption",
]

CollectionOption = Annotated[
    str | None, typer.Option("--collection", metavar="NAME", help="Of a database: the collection with the tasks.")
]
QueryOption = Annotated[
    str | None, typer.Option("--query", metavar="JSON", help="Of a database: MongoDB filter of what is taken.")
]
DataCollectionOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a database: collection or GridFS bucket of jobflow's additional store."),
]
FromStartOption = Annotated[
    bool, typer.Option("--from-start", help="Of a database: read everything again, not only what is new.")
]
WhatOption = Annotated[
    str | None,
    typer.Option(
        metavar="KINDS", help="Of the Materials Project: structure, phonons, tasks; structure,phonons by default."
    ),
]
RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="Of the Materials Project: ask again, whatever was answered before.")
]


@dataclass
class RemoteOptions:
    """What stands on the command line of `add`, sorted into files, databases and ids of the Materials Project.

    Attributes
    ----------
    files, addresses, ids
        The words by what they are.  A word that is a file is one, whatever it looks like.
    """

    words: list[str]
    collection: str | None = None
    query: str | None = None
    data_collection: str | None = None
    from_start: bool = False
    what: str | None = None
    refresh: bool = False
    files: list[Path] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from mlipdb.ingest.materials_project import is_material_id
        from mlipdb.ingest.mongo_source import is_address

        for word in self.words:
            if is_address(word):
                self.addresses.append(word)
            elif is_material_id(word) and not Path(word).exists():
                self.ids.append(word)
            else:
                self.files.append(Path(word))
        of_database = self.collection or self.query or self.data_collection or self.from_start
        if of_database and not self.addresses:
            raise UsageError(
                "--collection, --query, --data-collection and --from-start go with the address of a database; "
                "write mongodb://host:port/name"
            )
        if (self.what or self.refresh) and not self.ids:
            raise UsageError("--what and --refresh go with ids of the Materials Project, such as mp-149")

    @property
    def given(self) -> bool:
        """Whether anything but files is asked for."""
        return bool(self.addresses or self.ids)

    def take(self, project: Project, database: Database, report: AddReport, *, replace: bool) -> None:
        """Take the databases, then the ids, into one report."""
        from mlipdb.cli.progress import counter
        from mlipdb.ingest.materials_project import add_materials, parse_kinds
        from mlipdb.ingest.mongo_source import add_collection

        kinds = parse_kinds("structure,phonons" if self.what is None else self.what)
        group = project.settings.group
        for address in self.addresses:
            with counter("add") as advance:
                add_collection(
                    database,
                    address,
                    self.collection,
                    query=self.query,
                    data_collection=self.data_collection,
                    group=group,
                    replace_others=replace,
                    from_start=self.from_start,
                    report=report,
                    advance=advance,
                )
        if self.ids:
            with counter("add", len(self.ids)) as advance:
                add_materials(
                    database,
                    self.ids,
                    project.data_directory / "cache",
                    what=kinds,
                    refresh=self.refresh,
                    group=group,
                    replace_others=replace,
                    report=report,
                    advance=advance,
                )
