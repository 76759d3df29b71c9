"""The benchmark of a potential of which only forces are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlipdb.benchmarks.external import external_result
from mlipdb.derive import Built
from mlipdb.derive.phonon_benchmarks import _completed as completed
from mlipdb.derive.phonon_benchmarks import reference_of
from mlipdb.ingest.phonopy_file import phonopy_data
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol

__all__ = ["external_benchmark_of"]


def external_benchmark_of(
    stub: PhononBenchmark, raw: Mapping[str, Any], phonon: Phonon, protocol: PhononProtocol
) -> Built:
    """Hold the forces in one raw task against one reference.

    Parameters
    ----------
    stub
        The document with its key and parents; its first task is the one given.
    raw
        Content of the task: phonopy's files with the forces of the potential.
    phonon
        The DFT phonons.
    protocol
        How phonons follow from forces.

    Raises
    ------
    PhononError
        The file is of another crystal or supercell, or its displacements do not suffice.
    """
    result, same = external_result(phonopy_data(raw), reference_of(phonon), protocol, stub.task_ids[0])
    document, files = completed(stub, result)
    return Built(document.model_copy(update={"same_displacements": same}), files=files)
