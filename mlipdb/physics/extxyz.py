"""Deterministic extended XYZ: what a training set is stored as and `gap_fit` reads.

Every number is written in the shortest form that reads back to the same double, lines end with
LF, and keys come in one order, so that the same frames give the same bytes on any machine.

Keys of the comment line
    ``Lattice`` (cell vectors one after the other), ``Properties``, ``pbc``, ``REF_energy`` (eV),
    ``REF_virial`` (eV, flat 9-vector, ``-volume * stress``; a 3x3 array would be written by ASE
    as JSON, which `gap_fit` ignores), ``REF_stress`` (the Voigt stress), ``config_type``,
    ``configuration_id``,
    ``energy_sigma`` and ``virial_sigma`` (eV per **configuration**, see below),
    ``energy_sigma_per_atom`` and ``virial_sigma_per_atom`` (eV per atom).
Columns
    ``species``, ``pos``, ``REF_forces`` and, where given, ``force_atom_sigma`` (eV/Angstrom).

Sigmas
    `gap_fit` multiplies its *default* and *config type* sigmas of energies and virials by
    sqrt(N) (``kernel_regularisation_is_per_atom=T``), but takes the values of a configuration,
    ``energy_sigma`` and ``virial_sigma``, as they stand.  A `Frame` holds them per atom, with the
    meaning of the default; the file gives them times sqrt(N) to `gap_fit`, and per atom under
    keys `gap_fit` does not know, from which they are read back without rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from mlipdb.errors import ConfigurationError, DataError
from mlipdb.physics.frames import FloatArray, Frame, cell_volume, chemical_symbols
from mlipdb.units import virial_to_stress

__all__ = ["read_extxyz", "words_of_numbers", "write_extxyz"]

_COLUMNS: Final = "species:S:1:pos:R:3:REF_forces:R:3"
_SIGMA_COLUMN: Final = ":force_atom_sigma:R:1"
_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|(\S+))\s*')
_KNOWN_KEYS: Final = {
    "Lattice",
    "Properties",
    "pbc",
    "REF_energy",
    "REF_virial",
    "REF_stress",
    "config_type",
    "configuration_id",
    "energy_sigma",
    "energy_sigma_per_atom",
    "virial_sigma",
    "virial_sigma_per_atom",
}


def write_extxyz(frames: Iterable[Frame]) -> bytes:
    """Write frames as extended XYZ.

    Parameters
    ----------
    frames
        In the order of the file.

    Returns
    -------
    bytes
        ASCII; readable by ASE, by `gap_fit` and, without any loss, by `read_extxyz`.
    """
    return "".join(line + "\n" for frame in frames for line in _frame_lines(frame)).encode("ascii")


def _frame_lines(frame: Frame) -> Iterator[str]:
    yield str(frame.n_atoms)
    yield " ".join(_info(frame))
    for i, symbol in enumerate(frame.symbols):
        row = [*frame.positions[i], *frame.forces[i]]
        if frame.force_sigmas is not None:
            row.append(frame.force_sigmas[i])
        yield f"{symbol} {words_of_numbers(row)}"


def _info(frame: Frame) -> Iterator[str]:
    columns = _COLUMNS if frame.force_sigmas is None else _COLUMNS + _SIGMA_COLUMN
    yield f'Lattice="{words_of_numbers(frame.cell.ravel())}"'
    yield f"Properties={columns}"
    yield f'pbc="{" ".join("T" if flag else "F" for flag in frame.pbc)}"'
    yield f"REF_energy={words_of_numbers([frame.energy])}"
    if frame.stress is not None and frame.virial is not None:
        yield f'REF_virial="{words_of_numbers(frame.virial.ravel())}"'
        # Dividing by the volume rounds; the stress itself goes along so that reading is exact.
        # gap_fit is told a different name for its stress, so this key is ours alone.
        yield f'REF_stress="{words_of_numbers(frame.stress)}"'
    yield f"config_type={frame.config_type}"
    yield f'configuration_id="{frame.configuration_id}"'
    for name, sigma in (("energy_sigma", frame.energy_sigma), ("virial_sigma", frame.virial_sigma)):
        if sigma is not None:
            yield f"{name}={words_of_numbers([sigma * math.sqrt(frame.n_atoms)])}"
            yield f"{name}_per_atom={words_of_numbers([sigma])}"


def words_of_numbers(values: Sequence[float] | FloatArray) -> str:
    """Numbers, each in the shortest form that reads back to the same double."""
    return " ".join(repr(float(value)) for value in values)


def read_extxyz(data: bytes) -> list[Frame]:
    """Read what `write_extxyz` wrote.

    Parameters
    ----------
    data
        The whole file.  Keys and columns other than those of `write_extxyz` are refused, so that
        nothing is dropped without a word.

    Returns
    -------
    list of Frame
        In the order of the file.

    Raises
    ------
    DataError
        If the bytes are not such a file, are cut short, or hold unusable numbers
        (`ConfigurationError`); the message names the line.
    """
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"the extxyz data are not ASCII text: {error}", reason="bad_extxyz") from error
    if lines and lines[-1] == "":
        lines.pop()
    else:
        raise DataError("the extxyz data do not end with a line end; they are cut short",
                        reason="bad_extxyz")  # fmt: skip
    frames = []
    start = 0
    while start < len(lines):
        frame, start = _read_frame(lines, start)
        frames.append(frame)
    return frames


def _read_frame(lines: list[str], start: int) -> tuple[Frame, int]:
    where = f"extxyz line {start + 1}"
    if not re.fullmatch(r"[0-9]{1,9}", lines[start].strip()):
        raise DataError(f"{where}: {lines[start]!r} is not a number of atoms", reason="bad_extxyz")
    n_atoms = int(lines[start])
    end = start + 2 + n_atoms
    if n_atoms == 0 or end > len(lines):
        raise DataError(
            f"{where}: a frame of {n_atoms} atoms is announced, but the data end before it",
            reason="bad_extxyz",
        )
    try:
        return _parse_frame(_parse_info(lines[start + 1]), lines[start + 2 : end]), end
    except ConfigurationError:
        raise
    except (KeyError, ValueError) as error:
        raise DataError(f"frame at {where}: {_reason(error)}", reason="bad_extxyz") from error


def _reason(error: Exception) -> str:
    return f"the key {error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _parse_info(line: str) -> dict[str, str]:
    info: dict[str, str] = {}
    position = 0
    while position < len(line):
        match = _PAIR.match(line, position)
        if match is None:
            raise ValueError(f"cannot read the comment line from column {position + 1}")
        key = match.group(1)
        if key not in _KNOWN_KEYS or key in info:
            raise ValueError(f"the key {key} is repeated or unknown")
        quoted = match.group(2)
        info[key] = match.group(3) if quoted is None else quoted
        position = match.end()
    return info


def _parse_frame(info: dict[str, str], rows: list[str]) -> Frame:
    with_sigmas = info["Properties"] == _COLUMNS + _SIGMA_COLUMN
    if not with_sigmas and info["Properties"] != _COLUMNS:
        raise ValueError(f"Properties={info['Properties']} is not what mlipdb writes")
    cell = _floats(info["Lattice"], 9).reshape(3, 3)
    cells = [row.split() for row in rows]
    width = 8 if with_sigmas else 7
    wrong = next((row for row, cell_texts in zip(rows, cells, strict=True) if len(cell_texts) != width), None)
    if wrong is not None:
        raise ValueError(f"the row {wrong!r} has not {width} columns")
    values = np.array([[float(text) for text in texts[1:]] for texts in cells])
    table = {symbol: number for number, symbol in enumerate(chemical_symbols()) if number > 0}
    unknown = next((texts[0] for texts in cells if texts[0] not in table), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is not an element")
    return Frame(
        configuration_id=info["configuration_id"],
        numbers=np.array([table[texts[0]] for texts in cells]),
        cell=cell,
        positions=values[:, 0:3],
        pbc=_parse_pbc(info["pbc"]),
        energy=float(info["REF_energy"]),
        forces=values[:, 3:6],
        stress=_parse_stress(info, cell_volume(cell)),
        config_type=info["config_type"],
        energy_sigma=_parse_sigma(info, "energy_sigma", len(rows)),
        force_sigmas=values[:, 6] if with_sigmas else None,
        virial_sigma=_parse_sigma(info, "virial_sigma", len(rows)),
    )


def _floats(text: str, count: int) -> FloatArray:
    values = np.array([float(word) for word in text.split()])
    if values.shape != (count,):
        raise ValueError(f"{text!r} has not {count} numbers")
    return values


def _parse_pbc(text: str) -> tuple[bool, bool, bool]:
    flags = text.split()
    if len(flags) != 3 or not set(flags) <= {"T", "F"}:
        raise ValueError(f'pbc="{text}" is not three of T and F')
    return (flags[0] == "T", flags[1] == "T", flags[2] == "T")


def _parse_stress(info: dict[str, str], volume: float) -> FloatArray | None:
    if ("REF_virial" in info) != ("REF_stress" in info):
        raise ValueError("REF_virial and REF_stress must come together")
    if "REF_virial" not in info:
        return None
    if volume == 0.0:
        raise ValueError("the cell has no volume")
    stress = _floats(info["REF_stress"], 6)
    from_virial = virial_to_stress(_floats(info["REF_virial"], 9), volume)
    if not np.allclose(stress, from_virial, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise ValueError("REF_virial is not -volume * REF_stress")
    return stress


def _parse_sigma(info: dict[str, str], name: str, n_atoms: int) -> float | None:
    per_atom = f"{name}_per_atom"
    if (name in info) != (per_atom in info):
        raise ValueError(f"{name} and {per_atom} must come together")
    if name not in info:
        return None
    sigma = float(info[per_atom])
    if not math.isclose(float(info[name]), sigma * math.sqrt(n_atoms), rel_tol=1e-12):
        raise ValueError(f"{name} is not sqrt(N) * {per_atom}")
    return sigma
