"""The options of `add` for potentials whose files are not at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlipdb.ingest.external import ExternalPotential

__all__ = [
    "ExternalOptions",
    "FrameworkOption",
    "HyperparameterOption",
    "LicenseOption",
    "ManifestOption",
    "PotentialOption",
    "ReferenceOption",
]

PotentialOption = Annotated[
    str | None,
    typer.Option(
        "--as-potential",
        metavar="NAME",
        help="The phonopy files hold forces of this potential, whose own files are not at hand.",
    ),
]
FrameworkOption = Annotated[
    str | None, typer.Option("--framework", metavar="NAME", help="Its framework, such as gap; with --as-potential.")
]
HyperparameterOption = Annotated[
    list[str] | None,
    typer.Option("--hyperparameter", metavar="NAME=VALUE", help="One of its hyperparameters; may be repeated."),
]
ReferenceOption = Annotated[
    list[str] | None, typer.Option("--reference", metavar="DOI", help="Where it is published; may be repeated.")
]
LicenseOption = Annotated[str | None, typer.Option("--license", metavar="SPDX", help="Its licence.")]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        "--manifest", metavar="FILE", help="YAML or CSV file that says this of many phonopy files in its folder."
    ),
]


@dataclass(frozen=True)
class ExternalOptions:
    """What the command line says of external potentials."""

    name: str | None = None
    framework: str | None = None
    hyperparameters: list[str] | None = None
    references: list[str] | None = None
    license: str | None = None
    manifest: Path | None = None
    paths: list[Path] = field(default_factory=list)

    def potentials(self) -> list[ExternalPotential]:
        """The potentials and their files; none where the files are of DFT.

        Raises
        ------
        UsageError
            If options do not go together, or say something wrong.
        """
        from mlipdb.errors import UsageError
        from mlipdb.ingest.external import described, hyperparameter_of_text
        from mlipdb.ingest.manifest import read_manifest

        rest = {
            "--framework": self.framework,
            "--hyperparameter": self.hyperparameters,
            "--reference": self.references,
            "--license": self.license,
        }
        named = [option for option, value in rest.items() if value]
        if self.manifest is not None:
            if self.name is not None or named or self.paths:
                raise UsageError("--manifest says everything itself; leave out files and the options of one potential")
            return read_manifest(self.manifest)
        if self.name is None:
            if named:
                raise UsageError(f"{named[0]} describes an external potential; name it by --as-potential")
            if not self.paths:
                raise UsageError("name files, folders or archives to add, or a manifest by --manifest")
            return []
        if not self.paths:
            raise UsageError("--as-potential: name the phonopy files that hold its forces")
        given = {
            "name": self.name,
            "framework": self.framework,
            "hyperparameters": hyperparameter_of_text(self.hyperparameters or []),
            "references": self.references or [],
            **({} if self.license is None else {"license": self.license}),
        }
        return [described(path, given, "--as-potential") for path in self.paths]
