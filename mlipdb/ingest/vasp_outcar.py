"""OUTCAR, where there is no vasprun.xml: its last ionic step by ASE, its inputs line by line."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from math import lcm, prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlipdb.errors import IngestError
from mlipdb.ingest.streams import DAMAGED, open_stream
from mlipdb.ingest.vasprun import LISTED, Vasprun

__all__ = ["read_incar", "read_kpoints", "read_outcar"]

#: Bytes of an OUTCAR, unpacked, and of an INCAR or KPOINTS.
MAX_BYTES, MAX_SMALL = 4 * 1024**3, 1024 * 1024
#: Irreducible k-points that are looked at.
MAX_POINTS = 100_000
#: Characters of a line.
MAX_LINE = 1024 * 1024
FLOAT = r"[-+]?\d[\d.]*(?:[EeDd][-+]?\d+)?"
#: Tags as VASP lists them in its header.
HEADER = {
    "ENMAX": re.compile(rf"^\s*ENCUT\s*=\s*({FLOAT}) eV"),
    "NELM": re.compile(r"^\s*NELM\s*=\s*(\d+);"),
    **{
        tag: re.compile(rf"^\s*{tag}\s*=\s*(-?\d+)\s")
        for tag in ("ISPIN", "ICHARG", "IBRION", "NSW", "IVDW", "IVDW_NL")
    },
    **{tag: re.compile(rf"^\s*{tag}\s*=\s*({FLOAT})\s") for tag in ("AEXX", "HFSCREEN", "NELECT", "PSTRESS")},
    **{
        tag: re.compile(rf"^\s*{tag}\s*=\s*([TF])\b")
        for tag in ("LHFCALC", "LNONCOLLINEAR", "LSORBIT", "LEPSILON", "LUSE_VDW", "LVDW", "LDAU")
    },
    "GGA": re.compile(r"^\s*GGA\s*=\s*(\S+)\s+GGA type"),
    "METAGGA": re.compile(r"^\s*METAGGA\s*=\s*(\S+)"),
    "LDAUTYPE": re.compile(r"^\s*LDA\+U is selected, type is set to LDAUTYPE\s*=\s*(\d+)"),
    "LDAUL": re.compile(r"^\s*angular momentum for each species LDAUL\s*=\s*(.+)$"),
    "LDAUU": re.compile(r"^\s*U \(eV\)\s+for each species LDAUU\s*=\s*(.+)$"),
    "LDAUJ": re.compile(r"^\s*J \(eV\)\s+for each species LDAUJ\s*=\s*(.+)$"),
}
#: Tags with one number for each species.
LISTS = ("LDAUL", "LDAUU", "LDAUJ")
#: Valence electrons of each POTCAR, where it is described, and ions of each species.
VALENCE = re.compile(rf"^\s*POMASS\s*=\s*{FLOAT};\s*ZVAL\s*=\s*({FLOAT})\s")
IONS = re.compile(r"^\s*ions per type =\s*([\d\s]+)$")
TITEL = re.compile(r"^\s*TITEL\s*=\s*(.+)$")
MESH = re.compile(r"^\s*generate k-points for:\s*(\d+)\s+(\d+)\s+(\d+)")
ITERATION = re.compile(r"-\s*Iteration\s+(\d+)\(\s*(\d+)\)")
END = "General timing and accounting"


def read_outcar(path: Path) -> Vasprun:
    """Read an OUTCAR, compressed or not.

    Positions and forces have five or six decimals there, so the same calculation read from its
    vasprun.xml is a configuration of its own.

    Raises
    ------
    IngestError
        ``truncated`` where the run did not end, ``bad_outcar`` where no ionic step can be read.
    """
    try:
        with open_stream(path) as stream:
            text = _bounded(path, stream, MAX_BYTES)
    except DAMAGED as error:
        raise IngestError(f"{path.name} is cut off or damaged ({error}); copy it again", reason="truncated") from None
    found, ended = _header(io.StringIO(text))
    if not ended:
        raise IngestError(
            f"{path.name} ends before its end (a run that was killed, or has not ended); finish the calculation and "
            "add it again",
            reason="truncated",
        )
    _last_step(path, text, found)
    return found


def read_incar(path: Path) -> dict[str, Any]:
    """Tags of an INCAR with their values: numbers and flags where they are such, else text."""
    with open_stream(path) as stream:
        text = _bounded(path, stream, MAX_SMALL)
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"[#!]", line)[0].split(";"):
            tag, equals, value = part.partition("=")
            if equals and tag.strip():
                found[tag.strip().upper()] = _value(value.strip())
    return found


def read_kpoints(path: Path) -> dict[str, Any]:
    """Mesh of a KPOINTS with automatic generation; `LISTED` for lists and lines, empty if it cannot be read."""
    with open_stream(path) as stream:
        lines = _bounded(path, stream, MAX_SMALL).splitlines()
    try:
        if int(lines[1].split()[0]) != 0:
            return dict(LISTED)
        style = lines[2].strip()[:1].upper()
        words = lines[3].split()
        if style == "A":
            return {"generation_style": "Automatic", "kpoints": [[float(words[0])]]}
        if style in {"C", "R", "K"}:  # generating vectors
            return dict(LISTED)
        return {"mesh": [int(word) for word in words[:3]]} if style in {"G", "M"} else {}
    except (IndexError, ValueError):
        return {}


def _bounded(path: Path, stream: IO[bytes], limit: int) -> str:
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise IngestError(f"{path.name} has more than {limit} bytes; it is no such file of VASP", reason="too_large")
    return data.decode("utf-8", "replace")


def _header(text: io.StringIO) -> tuple[Vasprun, bool]:
    """Inputs, number of steps, and whether the run ended."""
    found, ended, points = Vasprun(), False, False
    listed: list[list[float]] = []
    valences: list[float] = []
    ions: list[int] = []
    for line in _lines(text):
        points = "Following reciprocal coordinates" in line or (points and _is_point(line, listed))
        if match := ITERATION.search(line):
            found.n_ionic, found.n_electronic = int(match[1]), int(match[2])
        elif END in line:
            ended = True
        elif found.n_ionic == 0:
            if match := VALENCE.match(line):
                valences.append(float(match[1]))
            elif match := IONS.match(line):
                ions = [int(word) for word in match[1].split()]
            _note(found, line)
    found.kpoints = found.kpoints or _mesh(listed)
    if valences and len(valences) == len(ions):
        found.neutral_electrons = sum(number * valence for number, valence in zip(ions, valences, strict=True))
    if "LDAUTYPE" in found.parameters:  # a line of runs with +U alone
        found.parameters.setdefault("LDAU", True)
    return found, ended


def _is_point(line: str, listed: list[list[float]]) -> bool:
    """Whether a line belongs to the list of irreducible k-points; the points in it are added."""
    words = line.split()
    if words[:1] == ["Coordinates"]:
        return True
    if len(words) != 4 or len(listed) > MAX_POINTS:
        return False
    try:
        listed.append([float(word) for word in words])
    except ValueError:
        return False
    return True


def _mesh(listed: list[list[float]]) -> dict[str, Any]:
    """The regular mesh that irreducible k-points with their weights come from; empty where they show none.

    Coordinates of a mesh of n points along an axis are multiples of 1/n, and of 1/2n where the mesh is
    shifted by half a step; the weights add up to the number of points.
    """
    total = round(sum(row[3] for row in listed))
    mesh = [lcm(1, *(Fraction(row[axis]).limit_denominator(200).denominator for row in listed)) for axis in range(3)]
    if listed and prod(mesh) == 8 * total and all(number % 2 == 0 for number in mesh):
        mesh = [number // 2 for number in mesh]
    return {"mesh": mesh} if listed and prod(mesh) == total else {}


def _lines(text: io.StringIO) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        yield line


def _note(found: Vasprun, line: str) -> None:
    if match := TITEL.match(line):
        titel = " ".join(match[1].split())
        found.potcars.append(titel)
    elif match := MESH.match(line):
        found.kpoints = {"mesh": [int(part) for part in match.groups()]}
    else:
        for tag, pattern in HEADER.items():
            if tag not in found.parameters and (match := pattern.match(line)):
                found.parameters[tag] = match[1].strip() if tag in LISTS else _value(match[1])


class _Named(io.StringIO):
    """A stream with a name, as ASE asks for one."""

    name = "OUTCAR"


def _last_step(path: Path, text: str, found: Vasprun) -> None:
    from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarHeaderParser, outcarchunks

    try:
        # Without a working directory it looks for no constraints in other files.
        chunks = outcarchunks(_Named(text), header_parser=OutcarHeaderParser(workdir=None))
        atoms = deque(chunks, maxlen=1)[0].build()
        found.energy = float(atoms.get_potential_energy(force_consistent=True))
        found.forces = atoms.get_forces(apply_constraint=False).tolist()
    except Exception as error:  # noqa: BLE001 - its parsers raise anything on what VASP did not finish
        raise IngestError(
            f"{path.name} has no ionic step that ASE can read ({type(error).__name__}); a finished run is needed",
            reason="bad_outcar",
        ) from None
    found.symbols = atoms.get_chemical_symbols()
    found.cell = atoms.cell.array.tolist()
    found.positions = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T.tolist()
    found.stress = _stress(atoms)


def _stress(atoms: Any) -> list[list[float]] | None:
    """In kB, as vasprun.xml has it."""
    from mlipdb.ingest.vasp_values import KBAR

    stress = atoms.calc.results.get("stress")
    if stress is None:
        return None
    xx, yy, zz, yz, xz, xy = (-KBAR * float(value) for value in stress)
    return [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    word = text.strip(".").upper()
    return word in {"T", "TRUE"} if word in {"T", "TRUE", "F", "FALSE"} else text
