"""A GAP as an ASE calculator that fails loudly instead of ending the process or giving nonsense."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols

from mlipdb.errors import CalculatorError, FrameworkNotInstalledError
from mlipdb.frameworks import gap_probe
from mlipdb.frameworks.gap_xml import GapXml, check_files
from mlipdb.frameworks.process import run_program

__all__ = ["GapCalculator", "probe"]

PROBE_TIMEOUT_S: Final = 900.0
# Stands for all elements where the descriptors name none.
_ANY_ELEMENT: Final = 14
# XML files that loaded in a child process, by SHA-256; they name their side files by MD5.
_PROBED: set[str] = set()


class GapCalculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    """Energy (eV), forces (eV/Angstrom) and stress (eV/Angstrom^3) of a GAP.

    All are computed in one go, whatever is asked for, since QUIP computes everything again for
    each further property.  It can be pickled and copied: it loads its files again, which must
    still be those it was made from.

    Parameters
    ----------
    directory
        Where the XML and its side files lie.
    main_file
        Name of the XML file.
    trust
        Do not load the files in a child process first.  A damaged file may then end this process.

    Raises
    ------
    CalculatorError
        If the files are missing, damaged or give NaN.
    FrameworkNotInstalledError
        If quippy is not installed.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, directory: Path | str, main_file: str, *, trust: bool = False) -> None:
        super().__init__()
        self._directory = Path(directory).resolve()
        self._main_file = main_file
        xml, data = check_files(self._directory, main_file)
        self._numbers = xml.atomic_numbers
        self._sha256 = hashlib.sha256(data).hexdigest()
        if not trust:
            probe(self._directory, main_file, _probe_structure(xml))
        self._potential = _load(self._directory / main_file)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute energy, forces and, for a structure with a cell, stress.

        Raises
        ------
        CalculatorError
            If an element is not one the potential was fitted for (QUIP would give it no energy),
            or a result is NaN.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        # ASE keeps a bare copy, without the labels and constraints of the caller's structure.
        structure = self.atoms
        self._check_elements(structure.numbers)
        properties = ["energy", "forces"]
        if structure.cell.rank == 3:
            properties.append("stress")
        else:
            structure = _boxed(structure)
        self.results: dict[str, Any] = {}
        try:
            self._potential.calculate(structure, properties, all_changes)
        except RuntimeError as error:
            raise CalculatorError(
                f"quippy failed for {structure.get_chemical_formula()}: {_squeeze(str(error))}",
                reason="calculation_failed",
            ) from error
        results = {name: np.array(self._potential.results[name]) for name in properties}
        for name, value in results.items():
            if not np.all(np.isfinite(value)):
                raise CalculatorError(
                    f"the potential {self._main_file} gives NaN or infinite {name} for "
                    f"{structure.get_chemical_formula()}",
                    reason="not_finite",
                )
        energy = float(results.pop("energy"))
        self.results = {"energy": energy, "free_energy": energy, **results}

    def _check_elements(self, numbers: np.ndarray[Any, Any]) -> None:
        unknown = sorted(set(map(int, numbers)) - self._numbers) if self._numbers else []
        if unknown:
            self.results = {}
            fitted = ", ".join(chemical_symbols[z] for z in sorted(self._numbers))
            raise CalculatorError(
                f"the potential {self._main_file} knows only {fitted}, and the structure holds "
                f"{', '.join(chemical_symbols[z] for z in unknown)}",
                reason="unknown_element",
            )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # A handle into Fortran memory.
        del state["_potential"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _, data = check_files(self._directory, self._main_file)
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise CalculatorError(
                f"the potential's file {self._main_file} has changed since this calculator was made",
                reason="changed_file",
            )
        self._potential = _load(self._directory / self._main_file)


def _load(path: Path) -> Any:
    try:
        from quippy.potential import Potential
    except ImportError as error:
        raise FrameworkNotInstalledError(f"GAP needs quippy ({error}); pip install quippy-ase") from error
    try:
        potential = Potential(param_filename=str(path))
    except RuntimeError as error:
        raise CalculatorError(
            f"quippy cannot load {path.name}: {_squeeze(str(error))}", reason="load_failed"
        ) from error
    # Every call is a new structure; the cache is ASE's, one level up.
    potential.calculation_always_required = True
    return potential


def _boxed(atoms: Atoms) -> Atoms:
    """Put a structure without a full cell into a box, which QUIP needs; periodicity is kept."""
    boxed = atoms.copy()
    span = float(np.max(np.ptp(atoms.positions, axis=0)))
    boxed.cell = atoms.cell.complete()
    for axis in range(3):
        if not atoms.cell[axis].any():
            boxed.cell[axis] *= span + 100.0
    return boxed


def _probe_structure(xml: GapXml) -> Atoms:
    """Put one atom of each element near each other, so that every descriptor acts."""
    numbers = sorted(xml.atomic_numbers) or [_ANY_ELEMENT]
    chain = [*numbers, *numbers] if len(numbers) == 1 else numbers
    positions = [(2.3 * i, 0.1 * i, 0.0) for i in range(len(chain))]
    return Atoms(numbers=chain, positions=positions, cell=[2.3 * len(chain) + 8, 10, 10], pbc=True)


def probe(directory: Path, main_file: str, atoms: Atoms) -> dict[str, Any] | None:
    """Load a potential in a child process and evaluate one structure there.

    Parameters
    ----------
    directory, main_file
        The potential.
    atoms
        A structure with a cell, of elements the potential knows.

    Returns
    -------
    dict or None
        ``energy``, ``forces`` and ``stress`` as plain lists; None where this process has already
        seen these very files load.

    Raises
    ------
    CalculatorError
        If the child does not answer, or answers NaN.
    """
    digest = hashlib.sha256((directory / main_file).read_bytes()).hexdigest()
    if digest in _PROBED:
        return None
    structure = {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    # -P: the folder of the script must not come before the installed packages.
    command = [sys.executable, "-P", str(Path(gap_probe.__file__).resolve()), main_file]
    run = run_program(command, directory, timeout_s=PROBE_TIMEOUT_S, stdin=json.dumps(structure).encode())
    answers = [line for line in run.lines if line.startswith(gap_probe.ANSWER)]
    if not answers:
        ended = "took too long" if run.timed_out else f"ended with code {run.returncode}"
        raise CalculatorError(
            f"the potential {main_file} does not load: a process that tried {ended} without an answer",
            reason="load_failed",
            log_tail=run.log_tail(),
        )
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(gap_probe.ANSWER))
    values = np.concatenate([np.ravel(answer[name]) for name in ("energy", "forces", "stress")])
    if not np.all(np.isfinite(values)):
        raise CalculatorError(
            f"the potential {main_file} loads, but gives NaN or infinity for {atoms.get_chemical_formula()}",
            reason="not_finite",
        )
    _PROBED.add(digest)
    return answer


def _squeeze(text: str) -> str:
    return " ".join(text.split())
