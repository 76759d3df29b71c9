"""Outputs of Quantum ESPRESSO, GPAW, ABINIT, CASTEP, FHI-aims and CP2K.

An output is told by what it begins with, whatever its name.  ASE reads structure and labels (CP2K's
are read here: ASE has no reader for them); the last ionic step is the calculation.  What the output
says of its level of theory is in `mlipdb.ingest.output_levels`; the rest comes from the user.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import IngestError
from mlipdb.ingest import output_levels as levels
from mlipdb.ingest.extxyz import labels_of
from mlipdb.ingest.files import Record
from mlipdb.ingest.records import flat_record, source_files
from mlipdb.ingest.streams import head, open_stream, plain_name

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["NAME", "TAKES_LEVEL", "claims", "read"]

NAME = "ase_output"
TAKES_LEVEL = True
#: Outputs are text of at most this size; those of long molecular dynamics are larger, and are to be converted.
MAX_BYTES = 512 * 1024 * 1024
#: Bytes of an input of Quantum ESPRESSO that are looked at.
MAX_INPUT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Dialect:
    """One program's output.

    Attributes
    ----------
    code
        Name of the program in levels of theory.
    marker
        What stands within the first 4096 bytes.
    format
        ASE's name of the format; None for CP2K.
    level
        Gives the level of theory that a text tells, from the text and the structure.
    bad
        What the text says after its last energy if the self-consistency was not reached.
    """

    code: str
    marker: re.Pattern[bytes]
    format: str | None
    level: levels.ReadLevel
    bad: re.Pattern[str]


DIALECTS = (
    Dialect(
        "Quantum ESPRESSO pw.x",
        re.compile(rb"^ +Program PWSCF v", re.M),
        "espresso-out",
        levels.espresso,
        re.compile(r"convergence NOT achieved"),
    ),
    Dialect(
        "GPAW",
        re.compile(rb"^ \|__ \|  _\|___\|_____\|", re.M),
        "gpaw-out",
        levels.gpaw,
        re.compile(r"Did not converge"),
    ),
    Dialect(
        "ABINIT",
        re.compile(rb"^\.Version +[\w.]+ +of ABINIT", re.M),
        "abinit-out",
        levels.abinit,
        re.compile(r"(?i)scfcv.*not enough SCF cycles|was not enough SCF cycles to converge"),
    ),
    Dialect(
        "CASTEP",
        re.compile(rb"^ \|\s+CCC\s+AA\s+SSS\s+TTTTT\s+EEEEE\s+PPPP", re.M),
        "castep-castep",
        levels.castep,
        re.compile(r"system has not reached the groundstate"),
    ),
    Dialect(
        "FHI-aims",
        re.compile(rb"Invoking FHI-aims"),
        "aims-output",
        levels.aims,
        re.compile(
            r"WARNING! SELF-CONSISTENCY CYCLE DID NOT CONVERGE|Self-consistency cycle not yet converged - stopp"
        ),
    ),
    Dialect(
        "CP2K",
        re.compile(rb"^ (?:DBCSR|CP2K)\|", re.M),
        None,
        levels.cp2k,
        re.compile(r"SCF run NOT converged"),
    ),
)


def claims(path: Path, names: frozenset[str] | None) -> bool:
    """Files that begin as one of these programs' outputs."""
    # By far the most files are something else, and many are large: only their first bytes are looked at.
    return names is None and _dialect(head(path)) is not None


def _dialect(beginning: bytes) -> Dialect | None:
    return next((item for item in DIALECTS if item.marker.search(beginning)), None)


def read(path: Path) -> Iterator[Record]:
    """The last ionic step of an output."""
    with open_stream(path) as stream:
        data = stream.read(MAX_BYTES)
    if len(data) >= MAX_BYTES:
        raise IngestError(
            f"{path.name} is longer than {MAX_BYTES // 1024**2} MB; write its frames as extxyz", reason="too_large"
        )
    dialect = _dialect(data[:4096])
    if dialect is None:
        raise IngestError(f"{path.name} is no output of a known program", reason="unknown_format")
    text = data.decode("utf-8", "replace")
    try:
        raw = _raw(dialect, text)
    except IngestError as error:
        raise IngestError(f"{path.name}: {error.message}", reason=error.reason) from None
    except Exception as error:  # noqa: BLE001 - ASE raises anything on outputs that are cut off
        detail = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        raise IngestError(
            f"{path.name}: no finished ionic step of {dialect.code} can be read ({detail}); is the output whole?",
            reason="truncated",
        ) from None
    files = [path]
    if dialect.format == "espresso-out" and "kpoints" not in raw:
        inputs = _espresso_input(path, text)
        if inputs is not None:
            files.append(inputs[0])
            raw["kpoints"] = inputs[1]
    raw["source_files"] = source_files(files)
    yield Record(path, "1", raw, format=NAME)


def _espresso_input(path: Path, text: str) -> tuple[Path, dict[str, Any]] | None:
    """The input beside an output, by the name that it was started with or by its own, and the mesh in it."""
    started = re.search(r"Reading input from +(\S+)", text)
    names = [PurePath(started.group(1)).name] if started else []
    stem = plain_name(path).rpartition(".")[0]
    names += [stem + ending for ending in (".pwi", ".in", ".inp", ".scf.in")]
    beside = {plain_name(file): file for file in sorted(path.parent.iterdir(), reverse=True)}
    for name in names:
        file = beside.get(name.lower())
        if file is not None and file != path and file.is_file():
            mesh = levels.espresso_mesh(head(file, MAX_INPUT).decode("utf-8", "replace"))
            if mesh is not None:
                return file, mesh
    return None


def _raw(dialect: Dialect, text: str) -> dict[str, Any]:
    atoms, values = _cp2k(text) if dialect.format is None else _from_ase(dialect, text)
    energy, forces, stress, _, notes = labels_of(values, atoms)
    stated = dialect.level(text, atoms)
    known = {key: value for key, value in stated.items() if value is not None and value not in ("", {}, [])}
    return flat_record(
        atoms,
        energy=energy,
        forces=forces,
        stress=stress,
        level={"code": dialect.code, **known},
        name=NAME,
        notes=notes,
        converged=False if dialect.bad.search(text, _last_cycle(text)) else None,
    )


def _last_cycle(text: str) -> int:
    """Where the last self-consistency cycle begins: an early one that failed says nothing of the last step."""
    found = 0
    for match in CYCLE.finditer(text):
        found = match.start()
    return found


#: First line of a self-consistency cycle in one of the outputs.
CYCLE = re.compile(
    r"Self-consistent Calculation|SCF loop +Energy|Begin self-consistency loop|SCF WAVEFUNCTION OPTIMIZATION"
    r"|iter +Etot\(hartree\)|^ +iter +time", re.M,
)  # fmt: skip


def _from_ase(dialect: Dialect, text: str) -> tuple[Atoms, dict[str, Any]]:
    from ase.io import read as read_ase

    # An unconverged calculation of FHI-aims is read as well, and told as such.
    options = {"non_convergence_ok": True} if dialect.code == "FHI-aims" else {}
    # A file, as some of ASE's readers take no stream; decompressed, as ASE knows not every compression.
    with tempfile.NamedTemporaryFile("w", suffix=".out", encoding="utf-8") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside ASE
        stream.write(text)
        stream.flush()
        found = read_ase(stream.name, format=dialect.format, index=-1, **options)
    atoms = found[-1] if isinstance(found, list) else found
    values = dict(atoms.calc.results) if atoms.calc is not None else {}
    if dialect.code == "GPAW":  # ASE gives the energy extrapolated to no smearing, which forces do not belong to
        free = re.findall(r"^Free energy: +(\S+)", text, re.M)
        values["free_energy"] = float(free[-1]) if free else None
    return atoms, values


#: CODATA 2018: Hartree in eV, Bohr in Angstrom, GPa in eV/Angstrom^3.
HARTREE, BOHR, GPA = 27.211386245988, 0.529177210903, 1 / 160.2176634
_ROW = re.compile(r"^ +\d+ +\d+ +([A-Z][a-z]?) +\d+ +(\S+) +(\S+) +(\S+) +\S+ +\S+ *$", re.M)
_FORCE = re.compile(r"^ +\d+ +\d+ +[A-Z][a-z]? +(\S+) +(\S+) +(\S+) *$", re.M)


def _cp2k(text: str) -> tuple[Atoms, Mapping[str, Any]]:
    """Structure and labels of a CP2K run of a single structure (ENERGY_FORCE).

    Raises
    ------
    IngestError
        If it is another run, or the output does not hold what is needed.
    """
    from ase import Atoms

    kind = re.search(r"^ GLOBAL\| Run type +(\S+)", text, re.M)
    if kind is None or kind.group(1) != "ENERGY_FORCE":
        raise IngestError(
            f"is a CP2K run of type {kind.group(1) if kind else 'unknown'}; ENERGY_FORCE is read, convert others to "
            "extxyz", reason="unknown_format",
        )  # fmt: skip
    _, _, rest = text.partition("MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM")
    if not rest:
        _, _, rest = text.partition("MODULE QUICKSTEP: ATOMIC COORDINATES IN angstrom")
    sites = _ROW.findall(rest.partition("SCF PARAMETERS")[0])
    energy = re.findall(r"^ ENERGY\| Total FORCE_EVAL .*?(-?\d+\.\d+) *$", text, re.M)
    if not sites or not energy:
        raise IngestError("has no coordinates or no energy; is the output whole?", reason="truncated")
    _, _, rest = text.partition("ATOMIC FORCES in [a.u.]")
    forces = _FORCE.findall(rest.partition("SUM OF ATOMIC FORCES")[0])
    stress = re.search(r"^ STRESS\| Analytical stress tensor \[GPa\]\n.*\n((?: STRESS\| +[xyz] .*\n){3})", text, re.M)
    values: dict[str, Any] = {"free_energy": float(energy[-1]) * HARTREE}
    if forces:
        values["forces"] = np.array(forces, dtype=float) * HARTREE / BOHR
    if stress:
        # CP2K's stress is a pressure: compression positive.
        rows = [line.split()[2:5] for line in stress.group(1).splitlines()]
        values["stress"] = -np.array(rows, dtype=float) * GPA
    symbols, positions = [row[0] for row in sites], np.array([row[1:] for row in sites], dtype=float)
    return Atoms(symbols, positions=positions, cell=_cp2k_cell(text), pbc=True), values


def _cp2k_cell(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Cell vectors, rows, Angstrom; where they stand with three decimals only, a box's edges from their lengths."""
    rows = re.findall(r"^ CELL\| Vector [abc] \[angstrom\]: +(\S+) +(\S+) +(\S+) +\|[abc]\| = +(\S+)", text, re.M)[:3]
    if len(rows) != 3 or "CELL| Periodicity" not in text:
        raise IngestError("does not say its cell", reason="truncated")
    if not re.search(r"^ CELL\| Periodicity +XYZ", text, re.M):
        raise IngestError("is not periodic in all directions; bulk crystals are read", reason="partly_periodic")
    cell = np.array([row[:3] for row in rows], dtype=float)
    if all(len(number.partition(".")[2]) >= 6 for row in rows for number in row[:3]):
        return cell
    off_diagonal = cell - np.diag(np.diag(cell))
    if np.any(off_diagonal != 0):
        raise IngestError(
            "has a cell that is no rectangular box, and prints its vectors to 0.001 Angstrom only, too coarse for "
            "phonons; convert it to extxyz from the input",
            reason="coarse_cell",
        )
    return np.diag([float(row[3]) for row in rows])
