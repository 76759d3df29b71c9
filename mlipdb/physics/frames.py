"""One labelled atomic configuration, as it goes into a fit.

Units: eV, Angstrom, eV/Angstrom, eV/Angstrom^3 (stress in ASE's Voigt order and sign).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import ConfigurationError
from mlipdb.units import stress_to_virial

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["ISOLATED_ATOM", "FloatArray", "Frame", "cell_volume", "chemical_symbols", "frame_elements"]

FloatArray = NDArray[np.float64]
ISOLATED_ATOM: Final = "isolated_atom"

# What both ASE's and QUIP's extxyz readers take for a plain word: no blanks, quotes, braces or
# separators, and a letter first, so that it is not taken for a number.
_CONFIG_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*")
_CONFIGURATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]*")
_LOGICAL_WORDS = {"t", "f", "true", "false"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """A structure with its DFT energy, forces and stress and the sigmas of its targets.

    Arrays are copied, checked and made read-only.

    Parameters
    ----------
    configuration_id
        Key of the configuration: letters, digits and ``_.:/+-``.
    numbers
        Atomic numbers, shape (N,).
    cell
        Cell vectors as rows, shape (3, 3), Angstrom, of either handedness; volume above zero.
    positions
        Cartesian positions, shape (N, 3), Angstrom.
    energy
        Force-consistent free energy of the whole cell, eV.
    forces
        Shape (N, 3), eV/Angstrom.
    config_type
        One word that begins with a letter, for example ``rattled``.
    stress
        Voigt xx yy zz yz xz xy, eV/Angstrom^3, tension positive; None where not known.
    pbc
        Periodicity along the three cell vectors.
    energy_sigma
        Expected error of the energy in eV **per atom** (the meaning `gap_fit` gives to its
        default sigma); None for the fit's default.
    force_sigmas
        Expected error of each atom's force components, shape (N,), eV/Angstrom; None for the
        fit's default.
    virial_sigma
        Expected error of the virial components in eV **per atom**; None for the fit's default.

    Raises
    ------
    ConfigurationError
        If a shape, name or number is not usable; ``reason`` is ``bad_shape``, ``bad_name``,
        ``not_finite``, ``bad_cell``, ``bad_element`` or ``bad_sigma``.
    """

    configuration_id: str
    numbers: NDArray[np.int64]
    cell: FloatArray
    positions: FloatArray
    energy: float
    forces: FloatArray
    config_type: str
    stress: FloatArray | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)
    energy_sigma: float | None = None
    force_sigmas: FloatArray | None = None
    virial_sigma: float | None = None

    def __post_init__(self) -> None:
        self._check_names()
        n_atoms = len(np.atleast_1d(self.numbers))
        self._set_numbers(n_atoms)
        shapes: dict[str, tuple[int, ...]] = {
            "cell": (3, 3),
            "positions": (n_atoms, 3),
            "forces": (n_atoms, 3),
            "stress": (6,),
            "force_sigmas": (n_atoms,),
        }
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                self._set_array(name, shape)
        for name in ("energy", "energy_sigma", "virial_sigma"):
            if getattr(self, name) is not None:
                self._set_float(name)
        flags = tuple(bool(flag) for flag in np.asarray(self.pbc).reshape(-1))
        if len(flags) != 3:
            raise self._error("pbc must be three true/false values", "bad_shape")
        object.__setattr__(self, "pbc", flags)
        if not self.volume > 1e-6:
            raise self._error(
                "the cell has no volume; give an isolated atom or molecule a box",
                "bad_cell",
            )
        self._check_sigmas()

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Cell volume in Angstrom^3."""
        return cell_volume(self.cell)

    @property
    def virial(self) -> FloatArray | None:
        """Virial ``-volume * stress``, shape (3, 3), eV; None where the stress is not known."""
        return None if self.stress is None else stress_to_virial(self.stress, self.volume)

    @property
    def symbols(self) -> list[str]:
        """Element symbol of each atom."""
        table = chemical_symbols()
        return [table[number] for number in self.numbers]

    @property
    def is_isolated_atom(self) -> bool:
        """Whether this is the reference calculation of a free atom."""
        return self.config_type == ISOLATED_ATOM

    def to_atoms(self) -> Atoms:
        """Give the bare structure as ASE Atoms, with no labels and no calculator."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)

    def _error(self, problem: str, reason: str) -> ConfigurationError:
        return ConfigurationError(f"configuration {self.configuration_id!r}: {problem}", reason=reason)

    def _check_names(self) -> None:
        if not _CONFIGURATION_ID.fullmatch(self.configuration_id):
            raise self._error("the id may hold only letters, digits and _.:/+-", "bad_name")
        word = self.config_type
        if not _CONFIG_TYPE.fullmatch(word) or word.lower() in _LOGICAL_WORDS:
            raise self._error(
                f"config_type {word!r} must be one word of letters, digits and _.+- that begins "
                "with a letter and is not a truth value",
                "bad_name",
            )

    def _set_numbers(self, n_atoms: int) -> None:
        numbers = np.array(self.numbers, dtype=np.int64).reshape(-1)
        if n_atoms == 0:
            raise self._error("there are no atoms", "bad_shape")
        if numbers.min() < 1 or numbers.max() > 118:
            raise self._error("atomic numbers must lie between 1 and 118", "bad_element")
        numbers.flags.writeable = False
        object.__setattr__(self, "numbers", numbers)

    def _set_array(self, name: str, shape: tuple[int, ...]) -> None:
        array = np.array(getattr(self, name), dtype=float)
        if array.shape != shape:
            raise self._error(f"{name} has shape {array.shape}, expected {shape}", "bad_shape")
        if not np.all(np.isfinite(array)):
            raise self._error(f"{name} holds NaN or infinity; every value must be finite", "not_finite")
        array.flags.writeable = False
        object.__setattr__(self, name, array)

    def _set_float(self, name: str) -> None:
        number = float(getattr(self, name))
        if not np.isfinite(number):
            raise self._error(f"{name} is {number}; it must be finite", "not_finite")
        object.__setattr__(self, name, number)

    def _check_sigmas(self) -> None:
        for name in ("energy_sigma", "virial_sigma", "force_sigmas"):
            value = getattr(self, name)
            if value is not None and not np.all(np.asarray(value) > 0):
                raise self._error(f"{name} must be above zero", "bad_sigma")


def cell_volume(cell: FloatArray) -> float:
    """Volume of a cell as a triple product, in plain arithmetic: the same double on any machine.

    Parameters
    ----------
    cell
        Cell vectors as rows, shape (3, 3), Angstrom, of either handedness.

    Returns
    -------
    float
        Angstrom^3.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    volume: float = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return abs(volume)


def chemical_symbols() -> list[str]:
    """Element symbols by atomic number; index 0 is a placeholder."""
    from ase.data import chemical_symbols as table

    return list(table)


def frame_elements(frames: Iterable[Frame]) -> list[str]:
    """Symbols of all elements in frames, by atomic number.

    Parameters
    ----------
    frames
        Any frames.

    Returns
    -------
    list of str
        Each element once.
    """
    table = chemical_symbols()
    return [table[z] for z in sorted({int(z) for frame in frames for z in frame.numbers})]
