"""vasprun.xml, read once from beginning to end in little memory.

Kept are the inputs that the level of theory needs and the last ionic step.  Eigenvalues, densities of
states and projections, most of a file, are dropped while they are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree as ET

from mlipdb.errors import IngestError
from mlipdb.ingest.streams import DAMAGED, open_stream
from mlipdb.ingest.vasp_level import PARAMETERS, element_of_titel

__all__ = ["LISTED", "Vasprun", "read_vasprun"]

#: Only this may stand before the content: no document type, so no entities.
PROLOGUE = re.compile(rb"\A(\xef\xbb\xbf)?\s*(<\?xml version=[^?>]{1,80}\?>)?\s*<modeling[\s>]")
ENCODINGS = re.compile(rb"encoding=.(ISO-8859-1|UTF-8|US-ASCII)", re.IGNORECASE)
#: Bytes without a tag, levels, and children of one element that no calculation has.
MAX_TEXT, MAX_DEPTH, MAX_CHILDREN = 4 * 1024 * 1024, 60, 2_000_000
#: Bytes of an unpacked file: the longest runs of molecular dynamics stay below it.
MAX_BYTES = 8 * 1024**3
#: Parts that nobody asks for.
DROPPED = {
    "eigenvalues", "dos", "projected", "dielectricfunction", "dynmat", "scstep", "primitive_cell", "kpointlist",
    "weights", "born_charges",
}  # fmt: skip
#: K-points listed one by one or along lines, in the words of pymatgen.
LISTED = {"generation_style": "Reciprocal"}
#: Asterisks and other text in place of a number: refused later as not finite.
UNREADABLE = float("nan")


@dataclass
class Vasprun:
    """What was read.

    Attributes
    ----------
    incar, parameters
        Tags; of the parameters those in `mlipdb.ingest.vasp_level.PARAMETERS`.
    kpoints
        ``mesh``, or ``generation_style`` and ``kpoints`` of a fully automatic mesh; `LISTED` for
        lists, empty where nothing tells.
    symbols, potcars
        POTCAR's element of each atom; TITEL of each species.
    neutral_electrons
        Valence electrons of the neutral cell; None where nothing tells.
    cell, positions
        Of the last ionic step: (3, 3) in Angstrom, and (N, 3) in fractions of the cell.
    forces, stress
        Of the last ionic step: (N, 3) in eV/Angstrom, (3, 3) in kB; None where there are none.
    energy
        ``e_fr_energy`` of the last ionic step, eV; the enthalpy where PSTRESS is set.
    n_ionic, n_electronic
        Number of ionic steps, and of electronic steps in the last of them.
    """

    incar: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    kpoints: dict[str, Any] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    potcars: list[str] = field(default_factory=list)
    neutral_electrons: float | None = None
    cell: list[list[float]] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    forces: list[list[float]] | None = None
    stress: list[list[float]] | None = None
    energy: float | None = None
    n_ionic: int = 0
    n_electronic: int = 0
    version: str | None = None


def read_vasprun(path: Path) -> Vasprun:
    """Read a vasprun.xml, compressed or not.

    Raises
    ------
    IngestError
        ``truncated`` where the file ends early (a killed run, or one that is still running), ``bad_xml``
        where it is no vasprun.xml.
    """
    try:
        with open_stream(path) as stream:
            return _read(path, _Guarded(path, stream))
    except ET.ParseError as error:
        # expat: 3 no element found, 5 unclosed token: the text was right as far as it goes.
        if error.code in (3, 5):
            raise _truncated(path) from None
        raise IngestError(f"{path.name} is no XML ({error}); VASP did not write it so", reason="bad_xml") from None
    except EOFError:
        raise _truncated(path) from None
    except DAMAGED as error:
        raise IngestError(f"{path.name} cannot be read ({error}); copy it again", reason="truncated") from None


def _truncated(path: Path) -> IngestError:
    return IngestError(
        f"{path.name} ends before its end (a run that was killed, or has not ended); finish the calculation and add it "
        "again",
        reason="truncated",
    )


class _Guarded:
    """A stream that ends with an error where no vasprun.xml would go on."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream
        self._size = self._bare = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if size > 0 else 65536)
        if self._size == 0:
            self._look(data)
        self._size += len(data)
        self._bare = 0 if b"<" in data else self._bare + len(data)
        if self._bare > MAX_TEXT or self._size > MAX_BYTES:
            raise IngestError(f"{self._path.name} is no vasprun.xml: it is too large, or has no tags", reason="bad_xml")
        return data

    def _look(self, data: bytes) -> None:
        if not data:
            raise IngestError(f"{self._path.name} is empty; the run wrote nothing", reason="empty_file")
        first = data[:4096]
        told = re.search(rb"encoding=", first.split(b"?>")[0])
        if PROLOGUE.match(first) is None or (told and ENCODINGS.search(first) is None):
            raise IngestError(
                f"{self._path.name} does not begin as a vasprun.xml (<modeling>); document types and entities are "
                "refused",
                reason="bad_xml",
            )


def _read(path: Path, stream: Any) -> Vasprun:
    found, dropped = Vasprun(), 0
    stack: list[ET.Element] = []
    for event, element in ET.iterparse(stream, events=("start", "end")):  # noqa: S314 - no document type gets here
        if event == "start":
            if len(stack) >= MAX_DEPTH or (stack and len(stack[-1]) > MAX_CHILDREN):
                raise IngestError(f"{path.name} is no vasprun.xml: nested or repeated without end", reason="bad_xml")
            stack.append(element)
            dropped += _is_dropped(element)
            if element.tag == "calculation":
                found.n_electronic = 0
            continue
        stack.pop()
        if element.tag == "scstep":
            found.n_electronic += 1
        if dropped and stack:
            stack[-1].remove(element)
        elif len(stack) == 1:
            _take(found, element)
            stack[0].remove(element)
        dropped -= _is_dropped(element)
    return found


def _is_dropped(element: ET.Element) -> bool:
    return element.tag in DROPPED or element.get("name") in DROPPED


def _take(found: Vasprun, element: ET.Element) -> None:
    """A child of <modeling>."""
    if element.tag == "generator":
        found.version = _text(element.find("i[@name='version']")) or None
    elif element.tag == "incar":
        found.incar = _tags(element)
    elif element.tag == "parameters":
        tags = _tags(element)
        found.parameters = {key: tags[key] for key in PARAMETERS if key in tags}
    elif element.tag == "kpoints":
        found.kpoints = found.kpoints or _kpoints(element)
    elif element.tag == "atominfo":
        _take_atoms(found, element)
    elif element.tag == "calculation":
        _take_step(found, element)


def _take_atoms(found: Vasprun, element: ET.Element) -> None:
    kinds = [_cells(row) for row in element.iterfind("array[@name='atomtypes']/set/rc")]
    found.potcars = [" ".join(row[4].split()) for row in kinds if len(row) > 4]
    valences = [_number(row[0]) * _number(row[3]) for row in kinds if len(row) > 4]
    found.neutral_electrons = sum(valences) if valences and isfinite(sum(valences)) else None
    # VASP cuts the names of elements in <atoms> ("r" for Zr); those of POTCARs are whole.
    of_kind = [element_of_titel(titel) for titel in found.potcars]
    for row in (_cells(row) for row in element.iterfind("array[@name='atoms']/set/rc")):
        number = int(row[1]) if len(row) > 1 and row[1].isdigit() else 0
        found.symbols.append(of_kind[number - 1] if 0 < number <= len(of_kind) else row[0] if row else "")


def _take_step(found: Vasprun, element: ET.Element) -> None:
    """An ionic step; one without energy (a part of a response calculation) leaves the last one standing."""
    energy = element.find("energy/i[@name='e_fr_energy']")
    structure = element.find("structure")
    if energy is None or structure is None:
        return
    found.n_ionic += 1
    found.energy = _number(_text(energy))
    found.cell = _rows(structure.find("crystal/varray[@name='basis']")) or []
    found.positions = _rows(structure.find("varray[@name='positions']")) or []
    found.forces = _rows(element.find("varray[@name='forces']"))
    found.stress = _rows(element.find("varray[@name='stress']"))


def _kpoints(element: ET.Element) -> dict[str, Any]:
    generation = element.find("generation")
    if generation is None or generation.get("param") == "listgenerated":
        return dict(LISTED)
    divisions = generation.find("v[@name='divisions']")
    if divisions is not None:
        return {"mesh": [_typed("int", word) for word in _text(divisions).split()]}
    length = generation.find("i[@name='subdivisionlength']")
    if length is None:
        return {}
    return {"generation_style": "Automatic", "kpoints": [[_number(_text(length))]]}


def _tags(element: ET.Element) -> dict[str, Any]:
    """Tags with their values, of all separators inside."""
    found: dict[str, Any] = {}
    for item in element.iter():
        name = item.get("name")
        if not name or item.tag not in ("i", "v"):
            continue
        words, kind = _text(item), item.get("type") or "float"
        found[name.strip()] = _typed(kind, words) if item.tag == "i" else [_typed(kind, w) for w in words.split()]
    return found


def _typed(kind: str, word: str) -> Any:
    if kind == "logical":
        return word.strip().strip(".").upper().startswith("T")
    if kind == "int":
        try:
            return int(word)
        except ValueError:
            return None  # asterisks: a number too wide for its field
    return word.strip() if kind == "string" else _number(word)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return UNREADABLE


def _rows(element: ET.Element | None) -> list[list[float]] | None:
    return None if element is None else [[_number(word) for word in _text(row).split()] for row in element.iter("v")]


def _cells(row: ET.Element) -> list[str]:
    return [_text(cell) for cell in row.iterfind("c")]


def _text(element: ET.Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""
