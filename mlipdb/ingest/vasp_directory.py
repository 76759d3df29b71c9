"""VASP directories: vasprun.xml, else OUTCAR, with or without what else VASP leaves.

The last ionic step of the newest run becomes a record; CONTCAR and POSCAR are not needed.  A
directory whose files lie in ``outputs/`` beside ``inputs/`` is found there.  The inputs are kept as
they are read, so that the level of theory is understood again when its reader gets better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError
from mlipdb.ingest.calculation import require_crystal
from mlipdb.ingest.files import Record
from mlipdb.ingest.flat import read_structure
from mlipdb.ingest.records import content_id, source_files
from mlipdb.ingest.streams import plain_name
from mlipdb.ingest.vasp_level import CODE
from mlipdb.ingest.vasp_names import kind_of
from mlipdb.ingest.vasp_outcar import read_incar, read_kpoints, read_outcar
from mlipdb.ingest.vasp_tags import pressure_of
from mlipdb.ingest.vasp_values import is_converged, stress_of_kbar
from mlipdb.ingest.vasprun import LISTED, Vasprun, read_vasprun

__all__ = ["NAME", "claims", "read"]

NAME = "vasp_directory"

#: Names of vasprun.xml and OUTCAR, with the suffixes of custodian for runs one after the other.
VASPRUN = re.compile(r"^vasprun(?:\.(?P<before>\w+))?\.xml(?:\.(?P<after>\w+))?$")
OUTCAR = re.compile(r"^outcar(?:\.(?P<after>\w+))?$")
#: Runs that are no self-consistent calculations, or are copies that custodian made of failed ones.
IGNORED = re.compile(r"^(error|orig|bak|old|nscf|dielectric|band|bands|dos|loptics|gw|bse)\d*$")
#: Order of the runs of one job, the newest first; a number behind counts up.
RUNS = ("", "static", "standard", "relax", "opt", "double_relax")


def claims(path: Path, names: frozenset[str] | None) -> bool:
    """Whether a directory holds a finished or broken VASP run, or a file is a vasprun.xml or OUTCAR."""
    if names is None:
        return bool(_suffix(path.name, VASPRUN) is not None or _suffix(path.name, OUTCAR) is not None)
    found = [name for name in names if _suffix(name, VASPRUN) is not None or _suffix(name, OUTCAR) is not None]
    # A directory may be called so as well, and is walked like any other.
    return any(not (path / name).is_dir() for name in found)


def read(path: Path) -> Iterator[Record]:
    """The newest run of a directory, or the run of a vasprun.xml or OUTCAR, as one flat record.

    Raises
    ------
    IngestError
        ``truncated``, ``bad_xml``, ``bad_outcar``, ``no_ionic_step`` and the like.
    ConfigurationError
        Where a value cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    vaspruns = _runs(folder, VASPRUN) if path.is_dir() else [path] if _suffix(path.name, VASPRUN) is not None else []
    outcars = _runs(folder, OUTCAR) if path.is_dir() else [path] if _suffix(path.name, OUTCAR) is not None else []
    file, run = _read_run(vaspruns[:1], outcars[:1])
    if run.energy is None or not run.symbols:
        raise IngestError(f"{file.name} has no ionic step with an energy; a finished run is needed",
                          reason="no_ionic_step")  # fmt: skip
    yield Record(path, file.name, _record(folder, file, run), format=NAME)


def _read_run(vaspruns: list[Path], outcars: list[Path]) -> tuple[Path, Vasprun]:
    """From vasprun.xml; from OUTCAR where there is none or it is no XML, as some versions of VASP write it."""
    problem: IngestError | None = None
    for file in vaspruns:
        try:
            return file, read_vasprun(file)
        except IngestError as error:
            if error.reason not in {"bad_xml", "empty_file"} or not outcars:
                raise
            problem = error
    for file in outcars:
        try:
            return file, _with_inputs(file, read_outcar(file))
        except IngestError:
            if problem is not None:
                raise problem from None
            raise
    raise IngestError("holds neither a vasprun.xml nor an OUTCAR of a run that can be read", reason="no_run")


def _with_inputs(outcar: Path, run: Vasprun) -> Vasprun:
    """INCAR and KPOINTS beside an OUTCAR, which does not repeat all of them."""
    suffix = _suffix(outcar.name, OUTCAR) or ""
    for name, reader in (("incar", read_incar), ("kpoints", read_kpoints)):
        known = {name, f"{name}.{suffix}"} if suffix else {name}
        files = [file for file in sorted(outcar.parent.iterdir()) if plain_name(file) in known and file.is_file()]
        # The file of the very run comes last in this order.
        for file in sorted(files, key=lambda item: len(plain_name(item)))[-1:]:
            said = reader(file)
            # A list may be a regular mesh written out, which OUTCAR shows.
            listed = name == "kpoints" and said == LISTED and "mesh" in run.kpoints
            setattr(run, name, getattr(run, name) if listed or not said else said)
    return run


def _record(folder: Path, file: Path, run: Vasprun) -> dict[str, Any]:
    inputs = {
        "incar": run.incar,
        "parameters": run.parameters,
        "kpoints": run.kpoints,
        "potcars": run.potcars,
        "neutral_electrons": run.neutral_electrons,
    }
    name = folder.absolute()
    stress = stress_of_kbar(file.name, run.stress)
    converged = is_converged(file.name, {"num_electronic_steps": run.n_electronic}, inputs)
    sites = zip(run.symbols, run.positions, strict=False)
    structure = {
        "lattice": {"matrix": run.cell},
        "sites": [{"species": [{"element": symbol, "occu": 1}], "abc": abc} for symbol, abc in sites],
    }
    atoms = read_structure(file.name, structure)
    require_crystal(file.name, atoms)
    kind = kind_of([], atoms, inputs, [name.name, name.parent.name])
    pressure = pressure_of(inputs)
    raw: dict[str, Any] = {
        "structure": structure,
        "energy": run.energy,
        "energy_kind": f"unknown (PSTRESS = {pressure:g} kB: it may be the enthalpy)" if pressure != 0 else None,
        "forces": run.forces,
        "stress": None if stress is None else stress.tolist(),
        "n_ionic_steps": run.n_ionic,
        "n_electronic_steps": run.n_electronic,
        "converged": converged is not False,
        "code": CODE,
        "code_version": run.version,
        "vasp_inputs": {key: value for key, value in inputs.items() if value},
        "config_type": kind,
    }
    kept = {key: value for key, value in raw.items() if value is not None}
    return {"task_id": content_id(NAME, kept), **kept, "source_files": source_files([file])}


def _runs(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Files of a kind, the newest run first."""
    found = [(suffix, file) for file in folder.iterdir() if (suffix := _suffix(file.name, pattern)) is not None]
    return [file for suffix, file in sorted(found, key=lambda item: (*_order(item[0]), item[1].name)) if file.is_file()]


def _suffix(name: str, pattern: re.Pattern[str]) -> str | None:
    """The run a file name belongs to (``relax2``), empty for the only one; None for another file."""
    found = pattern.match(plain_name(Path(name)))
    if found is None:
        return None
    suffix = next((part for part in found.groups() if part), "")
    return None if IGNORED.match(suffix) else suffix


def _order(suffix: str) -> tuple[int, int]:
    found = re.match(r"^(.*?)(\d*)$", suffix)
    word, digits = found.groups() if found else (suffix, "")
    place = RUNS.index(word) if word in RUNS else len(RUNS)
    return place, -int(digits[:9] or 0)
