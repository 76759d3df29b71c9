"""phonopy's files (phonopy.yaml, phonopy_params.yaml, phonopy_disp.yaml with FORCE_SETS) as raw tasks.

A raw task holds the texts as they came, beside what the level of theory and the matching of crystals
need of them: the unit cell as a flat record has it and the supercell matrix.  It is no configuration,
as it has no energies.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest import flat
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.files import Record
from mlipdb.ingest.phonopy_text import FORCE_CONSTANTS, FORCE_SETS, read_phonopy_text
from mlipdb.ingest.phonopy_units import CODES
from mlipdb.ingest.records import source_files, structure_of
from mlipdb.ingest.streams import COMPRESSIONS, head, open_stream, plain_name
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.phonopy_data import PhonopyData

__all__ = [
    "EXTERNAL",
    "NAME",
    "PHONOPY_FORMATS",
    "TAKES_LEVEL",
    "claims",
    "interpret",
    "is_second",
    "phonopy_data",
    "read",
    "read_raw",
    "supercell_of",
    "understood",
]

Raw = dict[str, Any]
NAME = "phonopy_file"
#: Format of tasks with the forces of a potential whose files are not at hand.
EXTERNAL = "phonopy_potential"
#: Formats of tasks that are no configurations.
PHONOPY_FORMATS = (NAME, EXTERNAL)
#: The level of theory on the command line says what the file does not: the functional, for one.
TAKES_LEVEL = True
#: Names of one calculation's files, the most complete first: one of them is read.
NAMES = ("phonopy_params.yaml", "phonopy_disp.yaml", "phonopy.yaml")
#: Bytes of text after decompression; force constants of 500 atoms take a hundred megabytes.
MAX_TEXT = 256 * 1024 * 1024
#: Where a YAML file holds forces or force constants, and not the names of their units.
FORCES = re.compile(r"^[ -]*forces?:[ \t]*(?:$|#|\[)", re.MULTILINE)
CONSTANTS = re.compile(r"^force_constants:", re.MULTILINE)
#: How phonopy's own YAML files begin, and not its bands, meshes and configurations.
OWN = re.compile(rb"^phonopy:", re.MULTILINE)


def claims(path: Path, names: frozenset[str] | None) -> bool:
    """Whether a file has one of phonopy's names, or one made from them such as ``phonopy_params-Si.yaml.xz``."""
    plain = plain_name(path)
    return names is None and plain.startswith("phonopy") and plain.endswith((".yaml", ".yml"))


def read(path: Path) -> Iterator[Record]:
    """The calculation in a file; none where a more complete file of the same calculation stands beside it."""
    if is_second(path):
        return
    try:
        raw, data = read_raw(path)
    except IngestError as error:
        yield Record(path, "0", None, error, format=NAME)
        return
    if data.calculator in CODES:
        raw["code"] = CODES[data.calculator]
    yield Record(path, "0", raw, format=NAME)


def is_second(path: Path) -> bool:
    """Whether a more complete file of the same calculation stands beside it."""
    plain = plain_name(path)
    if plain not in NAMES:
        return False
    better = NAMES[: NAMES.index(plain)]
    # A phonopy_disp.yaml without forces is no better than a phonopy.yaml that may have force constants.
    found = [name for name in better if any((path.parent / f"{name}{end}").is_file() for end in ("", *COMPRESSIONS))]
    return "phonopy_params.yaml" in found or (bool(found) and _beside(path, FORCE_SETS) is not None)


def read_raw(path: Path) -> tuple[Raw, PhonopyData]:
    """Read a file, and FORCE_SETS or FORCE_CONSTANTS beside it where it has neither.

    Returns
    -------
    tuple
        The raw task, with neither code nor functional, and what was understood of it.

    Raises
    ------
    IngestError
        If it cannot be read or is not usable; the reason says why.
    """
    paths = [path]
    texts = {path.name: _text(path)}
    if not FORCES.search(texts[path.name]):
        # The displacements' own order and vectors stand in FORCE_SETS; an unused FORCE_CONSTANTS is left alone.
        kinds = (FORCE_SETS,) if CONSTANTS.search(texts[path.name]) else (FORCE_SETS, FORCE_CONSTANTS)
        for kind in kinds:
            beside = _beside(path, kind)
            others = _others(path) if beside is not None and kind == FORCE_SETS else []
            if others and len(kinds) == 1:
                continue  # its own force constants are sure to be its own
            if others:
                raise IngestError(
                    f"{path.name} has no forces, and {FORCE_SETS} beside it may as well be those of {others[0]}; put "
                    "the files of each run into a folder of their own", reason="shared_force_sets",
                )  # fmt: skip
            if beside is not None and not set(texts) & {FORCE_SETS, FORCE_CONSTANTS}:
                paths.append(beside)
                texts[kind] = _text(beside)
    data = read_phonopy_text(texts)
    raw: Raw = {
        "task_id": make_key("phonopy", sorted(texts.values())),
        "structure": structure_of(data.unitcell),
        "supercell_matrix": data.supercell_matrix.tolist(),
        "n_displacements": len(data.displacements),
        "displacement_distance": data.distance,
        "born_charges": data.born_charges,
        "files": [{"name": name, "text": text} for name, text in texts.items()],
        "source_files": source_files(paths),
    }
    return raw, data


def phonopy_data(raw: Mapping[str, Any]) -> PhonopyData:
    """What a raw task of this format holds.

    Raises
    ------
    IngestError
        As `read_phonopy_text`.
    """
    return read_phonopy_text({file["name"]: file["text"] for file in raw["files"]})


def supercell_of(raw: Mapping[str, Any], task_id: str = "") -> Atoms:
    """The undisplaced supercell of a raw task, in the order of `ideal_supercell`."""
    from mlipdb.physics.cells import ideal_supercell

    unitcell = flat.read_structure(task_id, raw["structure"])
    return ideal_supercell(unitcell, np.array(raw["supercell_matrix"], dtype=np.int64))


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """The unit cell at rest, with the level of theory of the supercells and no energy.

    Raises
    ------
    ConfigurationError
        If the level of theory cannot be read, or the forces are those of a potential (``external_potential``).
    """
    if "potential" in raw:
        raise ConfigurationError(
            f"task {task_id}: holds forces of the potential {raw['potential']['name']}, not of DFT",
            reason="external_potential",
        )
    calculation = flat.interpret(task_id, raw)
    return dataclasses.replace(calculation, level=level_of(task_id, raw), config_type="bulk")


def level_of(task_id: str, raw: Mapping[str, Any]) -> LevelOfTheory:
    """Level of theory; its k-point mesh, where one was given, is that of the supercell."""
    return flat.interpret(task_id, {**raw, "structure": structure_of(supercell_of(raw, task_id))}).level


def understood(task_id: str, raw: Mapping[str, Any]) -> tuple[str, int, str, str | None, str | None]:
    """Formula and number of atoms of the supercell, what is there, the level of theory, and what is wrong with it."""
    supercell = supercell_of(raw, task_id)
    number = raw["n_displacements"]
    kind = f"{number} displacements" if number else "force constants"
    formula, n_atoms = supercell.get_chemical_formula(), len(supercell)
    if "potential" in raw:
        return formula, n_atoms, kind, f"potential {raw['potential']['name']}", None
    try:
        return formula, n_atoms, kind, level_of(task_id, raw).label, None
    except ConfigurationError as error:
        return formula, n_atoms, kind, None, error.message


def _text(path: Path) -> str:
    try:
        with open_stream(path) as stream:
            data = stream.read(MAX_TEXT + 1)
    except Exception as error:
        if isinstance(error, IngestError):
            raise
        raise IngestError(f"{path.name} cannot be read ({error}); is it whole?", reason="truncated") from None
    if len(data) > MAX_TEXT:
        raise IngestError(f"{path.name} is longer than {MAX_TEXT // 1024**2} MB; leave out what is not needed, such as "
                          "force constants beside forces", reason="too_large")  # fmt: skip
    if not data.strip():
        raise IngestError(f"{path.name} is empty", reason="empty_file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise IngestError(f"{path.name} is no text in UTF-8; a file that phonopy wrote is needed",
                          reason="bad_phonopy_file") from None  # fmt: skip


def _others(path: Path) -> list[str]:
    """Files of phonopy beside one with a name of its own; the standard names are those of one run."""
    if plain_name(path) in NAMES:
        return []
    return sorted(
        other.name
        for other in path.parent.iterdir()
        if plain_name(other) != plain_name(path)
        and plain_name(other).endswith((".yaml", ".yml"))
        and OWN.search(head(other))
    )


def _beside(path: Path, name: str) -> Path | None:
    """A file in the same folder; links that lead out of it are not followed."""
    for ending in ("", *COMPRESSIONS):
        found = path.parent / f"{name}{ending}"
        if found.is_file() and found.resolve().parent == path.parent.resolve():
            return found
    return None
