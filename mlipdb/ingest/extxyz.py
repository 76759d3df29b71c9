"""Extended XYZ: every frame is a calculation.

Labels are read from one family of keys: ``REF_energy``, ``REF_forces``, ``REF_stress``/``REF_virial``
where a frame has any of them, else the bare ``energy`` (``free_energy`` before it), ``forces``,
``stress``/``virial``.  Beside ``REF_`` keys bare ones are often a potential's, so the two are never
mixed; the record says under ``label_keys`` which were read.

Units are eV, Angstrom, eV/Angstrom, eV/Angstrom^3.  A stress is tension positive, six components in
Voigt order xx yy zz yz xz xy or nine; a virial is ``-volume * stress``.  Where both stand they must be
the same up to the sign; with opposite signs the virial decides, whose sign nobody writes otherwise.
The level of theory comes from info keys named as in flat records (``code``, ``functional``, ...) or from
the user.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import IngestError
from mlipdb.ingest.exported import exported_fields
from mlipdb.ingest.files import Record
from mlipdb.ingest.given_level import LEVEL_FIELDS, check_level
from mlipdb.ingest.records import flat_record
from mlipdb.ingest.streams import head, open_stream, plain_name
from mlipdb.units import matrix_to_voigt, virial_to_stress

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["NAME", "TAKES_LEVEL", "claims", "labels_of", "parts", "raw_of", "read", "read_part"]

NAME = "extxyz"
TAKES_LEVEL = True
Raw = dict[str, Any]
#: Text of frames that is read at once; a larger frame is a portion of its own.
PART_BYTES = 512 * 1024
#: Atoms of a frame, and bytes of a line, that are believed.
MAX_ATOMS, MAX_LINE = 1_000_000, 16 * 1024 * 1024
#: Bytes of a frame: a million atoms with forces take a hundred megabytes.
MAX_FRAME = 256 * 1024 * 1024
#: Relative difference of a virial and a stress, or of two off-diagonal components, that is rounding.
TOLERANCE = 1e-3
#: The same, absolute: eV/Angstrom^3.
SMALL_STRESS = 1e-5
#: Keys of the comment line that ASE must not see, and the beginning of their other name.
STRESS_KEYS = re.compile(r"(^|\s)(stress|virials?)(?==)")
HIDDEN = "mlipdb_bare_"
#: Words for an isolated atom and others in use that differ from ours.
KINDS = {"isolatedatom": "isolated_atom", "isolated_atom": "isolated_atom", "isolated": "isolated_atom"}


def claims(path: Path, names: frozenset[str] | None) -> bool:
    """Files that end in .extxyz, and those in .xyz with a comment line of keys."""
    if names is not None:
        return False
    name = plain_name(path)
    if name.endswith(".extxyz"):
        return True
    return name.endswith(".xyz") and re.match(rb"\s*\d+[ \t]*\r?\n[^\n]*\w=", head(path)) is not None


def parts(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number of the first frame, and text of some frames."""
    text, size, first, number = bytearray(), 0, 1, 0
    with open_stream(path) as stream:
        while True:
            damage: Exception | None = None
            try:
                frame = _frame_text(stream, path, number + 1)
            except Exception as error:  # noqa: BLE001 - what stands before the damage is given first
                frame, damage = b"", error
            if frame:
                number += 1
                text += frame
                size += len(frame)
            if text and (not frame or size >= PART_BYTES):
                yield first, bytes(text)
                text, size, first = bytearray(), 0, number + 1
            if damage is not None:
                raise damage
            if not frame:
                return


def _frame_text(stream: IO[bytes], path: Path, number: int) -> bytes:
    """The lines of one frame; nothing at the end of the file."""
    line = stream.readline(MAX_LINE)
    while line and not line.strip():
        line = stream.readline(MAX_LINE)
    if not line:
        return b""
    if not re.fullmatch(rb"\s*\d{1,9}\s*", line) or not 0 < int(line) <= MAX_ATOMS:
        shown = line[:40].decode("utf-8", "backslashreplace").strip()
        raise IngestError(
            f"{path.name} frame {number} begins with {shown!r} in place of a number of atoms from 1 to {MAX_ATOMS}; "
            "the frames before it were read", reason="bad_extxyz",
        )  # fmt: skip
    lines, size = [line], len(line)
    for _ in range(int(line) + 1):
        line = stream.readline(MAX_LINE)
        size += len(line)
        if size > MAX_FRAME:
            raise IngestError(
                f"{path.name} frame {number} of {int(lines[0])} atoms is longer than {MAX_FRAME / 1024**2:g} MB; the "
                "frames before it were read", reason="too_large",
            )  # fmt: skip
        if not line or len(line) >= MAX_LINE:
            raise IngestError(
                f"{path.name} frame {number} of {int(lines[0])} atoms is cut off after {len(lines)} lines; the frames "
                "before it were read", reason="truncated",
            )  # fmt: skip
        lines.append(line)
    if not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return b"".join(lines)


def read(path: Path) -> Iterator[Record]:
    """Every frame of a file."""
    empty = True
    for part in parts(path):
        empty = False
        yield from read_part(path, part)
    if empty:
        raise IngestError(f"{path.name} holds no frame", reason="empty_file")


def read_part(path: Path, part: tuple[int, bytes]) -> Iterator[Record]:
    """The frames of a portion; one that cannot be read is one with a problem."""
    first, text = part
    stream = io.BytesIO(text)
    number = first
    while frame := _frame_text(stream, path, number):
        yield _frame_record(path, number, frame)
        number += 1


def _frame_record(path: Path, number: int, text: bytes) -> Record:
    place = f"{path.name} frame {number}"
    try:
        raw = _raw(text)
    except IngestError as error:
        problem = IngestError(f"{place}: {error.message}", reason=error.reason)
        return Record(path, str(number), None, problem, format=NAME)
    except Exception as error:  # noqa: BLE001 - ASE raises anything on damaged frames
        detail = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        problem = IngestError(f"{place}: is no frame of extended XYZ ({detail})", reason="bad_extxyz")
        return Record(path, str(number), None, problem, format=NAME)
    return Record(path, str(number), raw, format=NAME)


def _raw(text: bytes) -> Raw:
    from ase.io.extxyz import read_xyz

    # Universal line ends, as in a file opened for text.
    lines = text.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    _require_columns(lines)
    # ASE refuses a stress of six numbers and takes three of the nine others unseen: it gets another name.
    lines[1] = STRESS_KEYS.sub(r"\1" + HIDDEN + r"\2", lines[1])
    atoms = next(iter(read_xyz(io.StringIO("\n".join(lines)), index=0)))
    values = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc is not None else {})}
    return raw_of(atoms, {name.removeprefix(HIDDEN): value for name, value in values.items()}, NAME)


def _require_columns(lines: list[str]) -> None:
    """Raise where a row has not as many columns as are announced; ASE passes over more of them."""
    announced = re.search(r"(?:^|\s)Properties=\"?([^\s\"]+)", lines[1])
    if announced is None:
        return
    width = sum(int(number) for number in announced.group(1).split(":")[2::3])
    for number, line in enumerate(lines[2 : 2 + int(lines[0])], start=1):
        found = len(line.split())
        if found != width:
            raise IngestError(
                f"the row of its atom {number} has {found} columns; {width} are announced", reason="bad_extxyz"
            )


def raw_of(atoms: Atoms, values: Mapping[str, Any], name: str) -> Raw:
    """A flat record of a structure and named values: labels, level of theory, names.

    Raises
    ------
    IngestError
        If they are no labels of that structure.
    """
    energy, forces, stress, keys, notes = labels_of(values, atoms)
    return flat_record(
        atoms,
        energy=energy,
        forces=forces,
        stress=stress,
        level=_level(values),
        name=name,
        label_keys=keys,
        notes=notes,
        **{**_words(values), **exported_fields(values)},
    )


Labels = tuple[float | None, "NDArray[np.float64] | None", "NDArray[np.float64] | None", Raw, list[str]]


def labels_of(values: Mapping[str, Any], atoms: Atoms) -> Labels:
    """Energy, forces and stress (Voigt, tension positive) out of named values, the names, and what to note.

    Raises
    ------
    IngestError
        If there is no energy, or stress and virial contradict each other.
    """
    prefix = "REF_" if any(f"REF_{name}" in values for name in ("energy", "forces", "virial", "stress")) else ""
    energies = [f"{prefix}free_energy", f"{prefix}energy"]
    name = next((item for item in energies if values.get(item) is not None), None)
    keys: Raw = {}
    energy = forces = None
    if name is not None:
        energy, keys["energy"] = _number(name, values[name]), name
    if values.get(f"{prefix}forces") is not None:
        forces, keys["forces"] = _rows(f"{prefix}forces", values[f"{prefix}forces"], len(atoms)), f"{prefix}forces"
    if energy is None and forces is None:
        raise IngestError(
            "has neither energy nor forces; `energy` and `forces`, or `REF_energy` and `REF_forces`, are read",
            reason="no_labels",
        )
    stress, key, notes = _stress(values, prefix, atoms)
    if key is not None:
        keys["stress"] = key
    bare = [item for item in ("energy", "forces") if prefix and values.get(item) is not None]
    if bare:
        notes.append(f"the REF_ keys were read; the bare {' and '.join(bare)} beside them were not")
    return energy, forces, stress, keys, notes


def _number(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise IngestError(f"its {name} is {value!r:.60}; one number is needed", reason="bad_number")
    return float(array.reshape(()))


def _rows(name: str, value: Any, count: int) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.shape != (count, 3) or array.dtype.kind not in "iuf":
        raise IngestError(f"its {name} have shape {array.shape}; ({count}, 3) is needed", reason="wrong_shape")
    return array.astype(float)


def _stress(
    values: Mapping[str, Any], prefix: str, atoms: Atoms
) -> tuple[NDArray[np.float64] | None, str | None, list[str]]:
    """The stress of one family of keys, the key it came from, and what to note."""
    virials = (f"{prefix}virial", f"{prefix}virials")
    virial_key = next((name for name in virials if values.get(name) is not None), None)
    stress_key = f"{prefix}stress" if values.get(f"{prefix}stress") is not None else None
    if virial_key is None and stress_key is None:
        return None, None, []
    if not np.all(atoms.pbc):
        return None, None, ["a stress without a periodic cell was left out"]
    stated = None if stress_key is None else _voigt(stress_key, values[stress_key])
    if virial_key is None:
        return stated, stress_key, []
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if not volume > 0:
        raise IngestError("has a virial, but its cell has no volume", reason="bad_cell")
    stress = virial_to_stress(_voigt_matrix(virial_key, values[virial_key]), volume)
    if stated is None or _same(stress, stated):
        return stress, virial_key, []
    if _same(stress, -stated):
        return stress, virial_key, [f"{stress_key} has compression positive; its sign was taken from {virial_key}"]
    raise IngestError(
        f"its {stress_key} is not -{virial_key} / volume: {np.round(stated, 6).tolist()} and "
        f"{np.round(stress, 6).tolist()} eV/Angstrom^3; correct or remove one of them",
        reason="stress_mismatch",
    )


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    limit = TOLERANCE * float(np.abs(one).max()) + SMALL_STRESS
    return bool(np.all(np.abs(one - other) <= limit))


def _voigt(name: str, value: Any) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise IngestError(f"its {name} is {value!r:.60}; six or nine numbers are needed", reason="bad_number")
    if array.shape == (6,):
        return array.astype(float)
    return matrix_to_voigt(_voigt_matrix(name, value))


def _voigt_matrix(name: str, value: Any) -> NDArray[np.float64]:
    """A symmetric 3x3 matrix from nine numbers, or from six in Voigt order."""
    from mlipdb.units import voigt_to_matrix

    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.size not in (6, 9):
        raise IngestError(f"its {name} has shape {array.shape}; six or nine numbers are needed", reason="wrong_shape")
    if array.size == 6:
        return voigt_to_matrix(array)
    matrix = array.astype(float).reshape(3, 3)
    largest = float(np.abs(matrix).max())
    if float(np.abs(matrix - matrix.T).max()) > TOLERANCE * largest + SMALL_STRESS:
        raise IngestError(f"its {name} is not symmetric", reason="stress_mismatch")
    return matrix


def _level(info: Mapping[str, Any]) -> Raw:
    """Level of theory in the comment line."""
    from mlipdb.errors import UsageError

    stated = {name: _plain(info[name]) for name in LEVEL_FIELDS if info.get(name) is not None}
    try:
        return check_level(stated, "the comment line")
    except UsageError as error:
        raise IngestError(error.message, reason="bad_level") from None


def _words(info: Mapping[str, Any]) -> Raw:
    """What the producer calls it."""
    words: Raw = {}
    for name in ("config_type", "material", "material_id", "task_id"):
        value = info.get(name)
        if isinstance(value, (str, int, np.integer)) and not isinstance(value, bool) and str(value):
            words[name] = str(value)
    kind = words.get("config_type")
    if kind is not None:
        words["config_type"] = KINDS.get(kind.lower(), kind)
        words["config_name"] = kind if words["config_type"] != kind else None
    return words


def _plain(value: Any) -> Any:
    """Values of numpy as those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value
