"""The phonons of many potentials against those of DFT, their forces from one evaluation."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlipdb.benchmarks.phonons import FixedCell
from mlipdb.benchmarks.relaxation import evaluate_forces
from mlipdb.derive import Built
from mlipdb.derive.calculators import calculator_from_files
from mlipdb.derive.phonon_benchmarks import benchmark_built, phonon_benchmark_of, reference_of
from mlipdb.errors import CalculatorError, MlipdbError
from mlipdb.frameworks.gap_grid import Potentials, load_potentials
from mlipdb.frameworks.gap_xml import check_files
from mlipdb.physics.frames import Frame
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.potential import Potential
from mlipdb.work_progress import report_progress

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["CANNOT_SHARE", "DISAGREEMENT", "SPOT_CHECK", "SPOT_TOLERANCE", "shared_benchmarks_of", "spot_order"]

#: One in so many benchmarks is computed by quippy as well, and compared.
SPOT_CHECK = 10
#: Largest difference allowed between the two, eV/Angstrom.
SPOT_TOLERANCE = 1e-7
#: Reasons: these potentials have no evaluation in common; quippy computes other forces.
CANNOT_SHARE = "cannot_share"
DISAGREEMENT = "disagreement"

Forces = Sequence[NDArray[np.float64]]


def shared_benchmarks_of(
    stubs: Sequence[PhononBenchmark],
    potentials: Sequence[Potential],
    files: Sequence[Mapping[str, bytes]],
    phonon: Phonon,
    protocol: PhononProtocol,
) -> list[Built | Exception]:
    """Run potentials that share their side files against one reference, at its own cell.

    Parameters
    ----------
    stubs
        One document for each potential, with key and parents.
    potentials
        The potentials, SOAP alone.
    files
        The files of each, verified.
    phonon
        The DFT phonons.
    protocol
        How phonons are computed; its ``relax`` is "none".

    Returns
    -------
    list of Built or Exception
        For each potential what `phonon_benchmark_of` gives: a document, with state failed where the
        potential cannot do it, or what was raised where the potential cannot even be loaded.

    Raises
    ------
    CalculatorError
        ``disagreement``: quippy computes other forces with a stored potential, so no result is to be
        trusted.  ``cannot_share``: the potentials have no evaluation in common; each is to be run by
        itself.
    PhononError
        If the phonon document holds no phonons.
    """
    if protocol.relax != "none":
        raise CalculatorError(
            f"with relax: {protocol.relax} every potential has a cell of its own", reason=CANNOT_SHARE
        )
    started = perf_counter()
    cell = FixedCell(reference_of(phonon), protocol)
    forces = _forces([cell.unitcell, *cell.supercells], potentials, files)
    failed = _spot_check(cell, forces, stubs, potentials, files)
    common = (perf_counter() - started) / max(1, len(forces))
    results: list[Built | Exception] = []
    for place, stub in enumerate(stubs):
        report_progress("phonons", place, len(stubs))
        if place in failed:
            results.append(failed[place])
        elif place in forces:
            results.append(_measured(cell, forces[place], stub, common))
        else:
            results.append(_alone(stub, potentials[place], files[place], phonon, protocol))
    return results


def spot_order(keys: Sequence[str]) -> tuple[list[int], int]:
    """In what order benchmarks are compared with quippy, and how many of them must be.

    A benchmark's own key decides whether it is one of the tenth, whatever else is computed with it.
    Where none is, the first in the order stands for all.

    Parameters
    ----------
    keys
        Keys of the benchmarks.

    Returns
    -------
    tuple
        Places in ``keys``, and a number of at least one where there are keys.
    """
    digests = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") for key in keys]
    order = sorted(range(len(keys)), key=lambda place: (digests[place] % SPOT_CHECK != 0, digests[place]))
    tenth = sum(digest % SPOT_CHECK == 0 for digest in digests)
    return order, min(len(keys), max(1, tenth))


def _measured(cell: FixedCell, forces: Forces, stub: PhononBenchmark, common: float) -> Built | Exception:
    began = perf_counter()
    try:
        result = cell.result_from_forces(forces)
        return benchmark_built(stub, result, common + perf_counter() - began)
    except Exception as error:  # noqa: BLE001 - one potential's wild forces must not end the others' phonons
        return error


def _alone(
    stub: PhononBenchmark, potential: Potential, files: Mapping[str, bytes], phonon: Phonon, protocol: PhononProtocol
) -> Built | Exception:
    try:
        return phonon_benchmark_of(stub, potential, files, phonon, protocol)
    except Exception as error:  # noqa: BLE001 - the failure of this one alone
        return error


def _forces(
    cells: Sequence[Atoms], potentials: Sequence[Potential], files: Sequence[Mapping[str, bytes]]
) -> dict[int, Forces]:
    """Forces of all cells for every potential that can be loaded, by its place."""
    with tempfile.TemporaryDirectory(prefix="mlipdb-shared-") as folder:
        names = _write(Path(folder), potentials, files)
        try:
            # What overflows is told with the results.
            with np.errstate(over="ignore", invalid="ignore"):
                usable, loaded = _load(Path(folder), names)
                if loaded is None:
                    return {}
                predicted = loaded.predict(
                    [_frame(atoms, number) for number, atoms in enumerate(cells)],
                    progress=lambda done, total: report_progress("forces", done, total),
                    finite=False,
                )
        except Exception as error:  # one potential's damage may not fail the others: each is tried by itself
            cause = error.message if isinstance(error, MlipdbError) else f"{type(error).__name__}: {error}"
            raise CalculatorError(
                f"{len(potentials)} potentials cannot be evaluated together: {cause}", reason=CANNOT_SHARE
            ) from error
    return {place: [one.forces for one in own] for place, own in zip(usable, predicted, strict=True)}


def _write(directory: Path, potentials: Sequence[Potential], files: Sequence[Mapping[str, bytes]]) -> list[str]:
    """Put all files side by side; the main files, which have one name, under others."""
    written: dict[str, bytes] = {}
    names = []
    for number, (potential, own) in enumerate(zip(potentials, files, strict=True)):
        names.append(f"potential-{number}.xml")
        for name, data in own.items():
            place = names[-1] if name == potential.main_file else Path(name).name
            if written.setdefault(place, data) != data:
                raise CalculatorError(f"side files named {place} differ between potentials", reason=CANNOT_SHARE)
    for place, data in written.items():
        (directory / place).write_bytes(data)
    return names


def _load(directory: Path, names: Sequence[str]) -> tuple[list[int], Potentials | None]:
    """All potentials at once; without those that cannot be loaded, where there are such."""
    try:
        return list(range(len(names))), load_potentials(directory, names)
    except CalculatorError:
        usable = [place for place, name in enumerate(names) if _readable(directory, name)]
        if len(usable) == len(names):
            raise
    if not usable:
        return [], None
    return usable, load_potentials(directory, [names[place] for place in usable])


def _readable(directory: Path, name: str) -> bool:
    try:
        check_files(directory, name)
    except CalculatorError:
        return False
    return True


def _frame(atoms: Atoms, number: int) -> Frame:
    return Frame(
        configuration_id=f"cell-{number}",
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=0.0,
        forces=np.zeros((len(atoms), 3)),
        config_type="single_displacement",
    )


def _spot_check(
    cell: FixedCell,
    forces: Mapping[int, Forces],
    stubs: Sequence[PhononBenchmark],
    potentials: Sequence[Potential],
    files: Sequence[Mapping[str, bytes]],
) -> dict[int, Exception]:
    """Compare some potentials with quippy, and return those that quippy cannot load or evaluate.

    Such a one fails by itself, as it would alone, and the next in the order is compared in its place.
    """
    places = [place for place, own in forces.items() if all(np.all(np.isfinite(part)) for part in own)]
    order, wanted = spot_order([stubs[place].benchmark_id for place in places])
    failed: dict[int, Exception] = {}
    compared = 0
    for place in (places[number] for number in order):
        if compared == wanted:
            break
        report_progress("spot check", compared, wanted)
        try:
            difference = _difference(cell, forces[place], potentials[place], files[place])
        except CalculatorError as error:
            failed[place] = error
            continue
        if not difference <= SPOT_TOLERANCE:
            raise CalculatorError(
                f"quippy computes forces with the stored potential {potentials[place].potential_id} that differ by "
                f"{difference:.1e} eV/Angstrom from those of {len(forces)} potentials evaluated together; at most "
                f"{SPOT_TOLERANCE:g} is right (rounding alone exceeds that at a delta of 100 eV, or with tiny sigmas)",
                reason=DISAGREEMENT,
            )
        compared += 1
    return failed


def _difference(cell: FixedCell, forces: Forces, potential: Potential, files: Mapping[str, bytes]) -> float:
    """Largest difference of a force component over all cells, eV/Angstrom."""
    calculator = calculator_from_files(
        potential.framework,
        files,
        potential.main_file or "",
        potential.potential_id,
        trust=potential.origin == "fitted",
    )
    cells = [cell.unitcell, *cell.supercells]
    theirs = [evaluate_forces(atoms, calculator) for atoms in cells]
    return max(float(np.abs(own - other).max()) for own, other in zip(forces, theirs, strict=True))
