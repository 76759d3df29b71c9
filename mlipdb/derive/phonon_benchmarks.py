"""The phonons of a potential against those of DFT."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from mlipdb.benchmarks.phonons import PhononBenchmark as Benchmark
from mlipdb.benchmarks.phonons import PhononBenchmarkResult, PhononReference
from mlipdb.derive import Built
from mlipdb.derive.calculators import calculator_from_files
from mlipdb.derive.phonons import PHONOPY_FILE
from mlipdb.errors import PhononError
from mlipdb.schemas.common import ArtifactRef, Failure
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.potential import Potential
from mlipdb.schemas.structure import AtomicStructure

__all__ = ["benchmark_built", "phonon_benchmark_of", "reference_of"]

Raw = dict[str, Any]


def phonon_benchmark_of(
    stub: PhononBenchmark, potential: Potential, files: Mapping[str, bytes], phonon: Phonon, protocol: PhononProtocol
) -> Built:
    """Run one potential against one reference.

    Parameters
    ----------
    stub
        The document with its key and parents.
    potential
        The potential.
    files
        Its files, verified.
    phonon
        The DFT phonons.
    protocol
        How the potential's phonons are computed.

    Returns
    -------
    Built
        With state failed, and the reason, where the potential cannot do it.
    """
    started = perf_counter()
    calculator = calculator_from_files(
        potential.framework,
        files,
        potential.main_file or "",
        potential.potential_id,
        trust=potential.origin == "fitted",
    )
    result = Benchmark().run(calculator, reference_of(phonon), protocol)
    return benchmark_built(stub, result, perf_counter() - started)


def benchmark_built(stub: PhononBenchmark, result: PhononBenchmarkResult, elapsed: float) -> Built:
    """Make the document of a result.

    Parameters
    ----------
    stub
        The document with its key and parents.
    result
        Complete or failed; the document's state says the same.
    elapsed
        Wall time, s.
    """
    if result.status == "failed":
        failure = Failure(reason=result.reason or "failed", message=result.message or "the benchmark failed")
        update = {"state": "failed", "failure": failure, "structure": result.structure_errors, "wall_time_s": elapsed}
        return Built(stub.model_copy(update=update))
    document, files_out = _completed(stub, result)
    return Built(document.model_copy(update={"wall_time_s": elapsed}), files=files_out)


def reference_of(phonon: Phonon) -> PhononReference:
    """What a benchmark needs of a phonon document.

    Raises
    ------
    PhononError
        If the document holds no phonons.
    """
    if (
        phonon.unitcell is None
        or phonon.mesh is None
        or phonon.path is None
        or phonon.dos is None
        or phonon.thermal is None
        or phonon.stability is None
    ):
        raise PhononError(f"{phonon.phonon_id} holds no phonons; build its displacement set first")
    return PhononReference(
        unitcell=phonon.unitcell.to_ase(),
        supercell_matrix=np.array(phonon.supercell_matrix, dtype=np.int64),
        primitive_matrix=np.array(phonon.primitive_matrix),
        mesh=phonon.mesh,
        band_structure=phonon.path,
        dos=phonon.dos,
        thermal=phonon.thermal,
        stability=phonon.stability,
        displacements=[(item.atom, np.array(item.vector)) for item in phonon.displacements],
    )


def _completed(stub: PhononBenchmark, result: PhononBenchmarkResult) -> tuple[PhononBenchmark, dict[str, bytes]]:
    phonons = result.phonons
    assert phonons is not None
    params = phonons.phonopy_params.encode()
    update: Raw = {
        "mesh": result.mesh_errors,
        "path": result.path_errors,
        "dos": result.dos_error,
        "thermal": result.thermal_errors,
        "structure": result.structure_errors,
        "stability": result.stability,
        "max_frequency": phonons.max_frequency,
        "min_frequency": phonons.min_frequency,
        "mesh_frequencies": phonons.mesh,
        "band_structure": phonons.band_structure,
        "density_of_states": phonons.dos,
        "thermal_properties": phonons.thermal,
        "relaxed_unitcell": AtomicStructure.from_ase(phonons.unitcell),
        "phonopy_file": ArtifactRef.of(PHONOPY_FILE, params),
    }
    return stub.model_copy(update=update), {PHONOPY_FILE: params}
