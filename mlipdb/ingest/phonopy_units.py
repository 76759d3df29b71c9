"""Units of phonopy's files, which are those of the program that computed the forces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlipdb.errors import IngestError

__all__ = ["CODES", "Units", "units_of"]

#: CODATA 2018: Bohr radius in Angstrom, Hartree energy in eV.
BOHR: Final = 0.529177210903
HARTREE: Final = 27.211386245988
RYDBERG: Final = HARTREE / 2

LENGTHS: Final = {"angstrom": 1.0, "au": BOHR}
FORCES: Final = {
    "eV/angstrom": 1.0,
    "Ry/au": RYDBERG / BOHR,
    "mRy/au": RYDBERG / BOHR / 1000,
    "hartree/au": HARTREE / BOHR,
}
FORCE_CONSTANTS: Final = {
    "eV/angstrom^2": 1.0,
    "eV/angstrom.au": 1 / BOHR,
    "Ry/au^2": RYDBERG / BOHR**2,
    "mRy/au^2": RYDBERG / BOHR**2 / 1000,
    "hartree/au^2": HARTREE / BOHR**2,
    "hartree/angstrom.au": HARTREE / BOHR,
}
_EV_A: Final = ("angstrom", "eV/angstrom", "eV/angstrom^2")
_EV_AU: Final = ("au", "eV/angstrom", "eV/angstrom.au")
_RY: Final = ("au", "Ry/au", "Ry/au^2")
_HARTREE: Final = ("au", "hartree/au", "hartree/au^2")
#: phonopy's table (phonopy/physical_units.py): units of length, force and force constants by calculator.
CALCULATORS: Final[dict[str, tuple[str, str, str]]] = {
    **dict.fromkeys(("vasp", "aims", "lammps", "pwmat", "crystal", "castep"), _EV_A),
    **dict.fromkeys(("abinit", "siesta", "abacus"), _EV_AU),
    **dict.fromkeys(("qe", "qlm"), _RY),
    **dict.fromkeys(("elk", "dftbp", "turbomole", "fleur", "exciting", "octopus"), _HARTREE),
    "wien2k": ("au", "mRy/au", "mRy/au^2"),
    "cp2k": ("angstrom", "hartree/au", "hartree/angstrom.au"),
}
#: What levels of theory call the programs.
CODES: Final = {
    "vasp": "VASP",
    "qe": "Quantum ESPRESSO",
    "castep": "CASTEP",
    "aims": "FHI-aims",
    "abinit": "ABINIT",
    "cp2k": "CP2K",
    "siesta": "SIESTA",
    "wien2k": "WIEN2k",
    "elk": "Elk",
    "exciting": "exciting",
    "crystal": "CRYSTAL",
    "dftbp": "DFTB+",
    "turbomole": "TURBOMOLE",
    "abacus": "ABACUS",
    "fleur": "FLEUR",
    "octopus": "Octopus",
    "pwmat": "PWmat",
    "qlm": "Questaal",
}


@dataclass(frozen=True)
class Units:
    """Factors from a file's units to Angstrom, eV/Angstrom and eV/Angstrom^2.

    Attributes
    ----------
    calculator
        phonopy's word for the program; None where the file has none, which stands for VASP's units.
    length, force, force_constants
        Factors.
    """

    calculator: str | None
    length: float
    force: float
    force_constants: float


def units_of(content: Mapping[str, Any], name: str) -> Units:
    """Units of a file: those of its calculator, checked against what it states besides.

    Raises
    ------
    IngestError
        Reason ``bad_units``: the calculator is unknown, or units are stated that are not its own.
    """
    header = content.get("phonopy")
    word = header.get("calculator") if isinstance(header, Mapping) else None
    calculator = None if word is None else str(word).lower()
    if calculator is not None and calculator not in CALCULATORS:
        raise IngestError(
            f"{name} was made for the calculator {calculator!r:.40}; {', '.join(sorted(CALCULATORS))} are known",
            reason="bad_units",
        )
    expected = dict(zip(("length", "force", "force_constants"), CALCULATORS[calculator or "vasp"], strict=True))
    stated = content.get("physical_unit")
    for quantity, unit in expected.items():
        told = stated.get(quantity, unit) if isinstance(stated, Mapping) else unit
        if str(told).lower() != unit.lower():
            raise IngestError(
                f"{name} states the unit {told!r:.40} of {quantity}, but {calculator or 'vasp'} has {unit!r}; write "
                "the file again with phonopy, naming the right calculator",
                reason="bad_units",
            )
    return Units(
        calculator,
        LENGTHS[expected["length"]],
        FORCES[expected["force"]],
        FORCE_CONSTANTS[expected["force_constants"]],
    )
