"""maggma Builders, one document type a file, in the order data flows."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlipdb.builders.base import DocumentBuilder

__all__ = ["BUILDERS", "builder_class"]

#: Name of each builder and where it is, in the order of flow; imported when used (maggma takes seconds).
BUILDERS: dict[str, str] = {
    "materials": "mlipdb.builders.materials:MaterialsBuilder",
    "configurations": "mlipdb.builders.configurations:ConfigurationsBuilder",
    "phonons": "mlipdb.builders.phonons:PhononsBuilder",
    "training_sets": "mlipdb.builders.training_sets:TrainingSetsBuilder",
    "potentials": "mlipdb.builders.potentials:PotentialsBuilder",
    "phonon_benchmarks": "mlipdb.builders.phonon_benchmarks:PhononBenchmarksBuilder",
}


def builder_class(name: str) -> type[DocumentBuilder]:
    """Import a builder by its name."""
    module, attribute = BUILDERS[name].split(":")
    found: type[DocumentBuilder] = getattr(import_module(module), attribute)
    return found
