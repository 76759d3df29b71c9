"""Writing configurations into files that others train on, and that `mlipdb add` reads back without loss.

One writer a format: extended XYZ, ASE database, JSON lines of flat records.  A file is written under a
temporary name, one configuration at a time, and renamed once it is whole.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from mlipdb.builders.items import batched
from mlipdb.builders.levels import load_levels, nearest_in_cutoff
from mlipdb.derive.quality import reasons_of
from mlipdb.errors import NotFoundError, UsageError
from mlipdb.ingest.exported import CONFIG_TYPE, LEVEL, LEVEL_KEYS
from mlipdb.ingest.records import flat_record
from mlipdb.physics.extxyz import words_of_numbers
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.quality import QualityLimits
from mlipdb.stores import Database
from mlipdb.units import stress_to_virial

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FORMATS", "ExportReport", "Selection", "export_configurations", "members_of", "select"]

Raw = dict[str, Any]
#: What MACE calls an isolated atom; gap_fit takes any word.
ISOLATED_ATOM: Final = "IsolatedAtom"
#: Energies of the isolated atoms of a frame's elements.
E0S: Final = "E0s"
#: Words that ASE reads as booleans.
BOOLEANS: Final = frozenset(("T", "F", "true", "false", "True", "False", "TRUE", "FALSE"))
#: Vacuum around a molecule, which extended XYZ for gap_fit needs a cell for, Angstrom.
VACUUM: Final = 20.0


@dataclass
class ExportReport:
    """What was written.

    Attributes
    ----------
    file
        Name of the file.
    configurations
        Number of configurations in it.
    by_config_type
        The same by kind.
    levels
        Number of configurations of each level of theory, by label.
    isolated_atom_energies
        eV by element, for each level of theory of crystals.
    left_out
        Number of configurations left out for their quality, by reason.
    """

    file: str
    configurations: int = 0
    by_config_type: dict[str, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    isolated_atom_energies: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> Raw:
        """Plain values for `--json`."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Selection:
    """What is to be written.

    Attributes
    ----------
    ids
        Keys of configurations, in the order of the file.
    atoms
        Keys of the isolated atoms that energies refer to, in the file or not.
    left_out
        Number of configurations left out for their quality, by reason.
    """

    ids: list[str]
    atoms: list[str]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Item:
    """One configuration with what stands beside it in a file."""

    atoms: Atoms
    document: Raw
    level: Raw
    beside: Raw


class _Writer(Protocol):
    def __call__(self, item: _Item) -> None: ...


class _FreeAtoms:
    """Energies of isolated atoms for each level of theory."""

    def __init__(self, database: Database, ids: Sequence[str], crystals: Sequence[str]) -> None:
        fields = {"configuration_id": 1, "elements": 1, "energy": 1, "level_id": 1}
        query = {"configuration_id": {"$in": list(ids)}, "config_type": "isolated_atom"}
        self._atoms = list(database.collection("configurations").find(query, fields)) if ids else []
        self._levels = load_levels(database, {doc["level_id"] for doc in self._atoms})
        self._known: dict[str, dict[str, Raw]] = {}
        self._set_aside = self._passed_over(load_levels(database, _level_ids(database, crystals)).values())

    def of(self, level: LevelOfTheory) -> dict[str, float]:
        """Energies by element (eV) at a level: of the nearest cutoff, then the lowest of several spin states."""
        return {element: doc["energy"] for element, doc in self._at(level).items()}

    def are_told_by(self, configuration_id: str) -> bool:
        """Whether the energy of an isolated atom is one that a program may take for the crystals' E0."""
        return configuration_id not in self._set_aside

    def _at(self, level: LevelOfTheory) -> dict[str, Raw]:
        if level.level_id not in self._known:
            found = [doc for doc in self._atoms if self._levels[doc["level_id"]].agrees(level, atom=True)]
            lowest: dict[str, Raw] = {}
            for doc in nearest_in_cutoff(found, self._levels, [level]):
                first = lowest.setdefault(doc["elements"][0], doc)
                if (doc["energy"], doc["configuration_id"]) < (first["energy"], first["configuration_id"]):
                    lowest[doc["elements"][0]] = doc
            self._known[level.level_id] = dict(sorted(lowest.items()))
        return self._known[level.level_id]

    def _passed_over(self, levels: Iterable[LevelOfTheory]) -> set[str]:
        """Atoms that might stand beside crystals, but another one does."""
        chosen: set[str] = set()
        possible: set[str] = set()
        for level in levels:
            chosen |= {doc["configuration_id"] for doc in self._at(level).values()}
            own = self._levels
            possible |= {d["configuration_id"] for d in self._atoms if own[d["level_id"]].agrees(level, atom=True)}
        return possible - chosen


def _level_ids(database: Database, ids: Sequence[str]) -> set[str]:
    """Levels of theory of the crystals among some configurations."""
    found: set[str] = set()
    for batch in batched(ids, 500):
        query = {"configuration_id": {"$in": batch}, "config_type": {"$ne": "isolated_atom"}}
        found.update(doc["level_id"] for doc in database.collection("configurations").find(query, {"level_id": 1}))
    return found


def select(database: Database, query: Raw, allow: Sequence[str]) -> Selection:
    """The configurations that a filter finds and whose quality lets them in, isolated atoms first.

    The isolated atoms of the levels of theory of what is found come along, those nearest in cutoff as in
    training sets.

    Parameters
    ----------
    database
        Open database.
    query
        MongoDB filter on configurations.
    allow
        Reasons of the quality gates that keep nothing out; ``all`` for all of them.
    """
    left_out: Counter[str] = Counter()
    crystals: list[str] = []
    atoms: set[str] = set()
    elements: set[str] = set()
    levels: set[str] = set()
    leave = {"structure": 0, "forces": 0, "_id": 0}
    for doc in database.collection("configurations").find(query, leave).sort("configuration_id", 1):
        if not _is_good(doc, allow, left_out):
            continue
        if doc.get("config_type") == "isolated_atom":
            atoms.add(doc["configuration_id"])
            continue
        crystals.append(doc["configuration_id"])
        elements.update(doc["elements"])
        levels.add(doc["level_id"])
    known = load_levels(database, levels)
    wanted = {"state": "complete", "config_type": "isolated_atom", "elements": {"$in": sorted(elements)}}
    found = list(database.collection("configurations").find(wanted, leave))
    own = load_levels(database, {doc["level_id"] for doc in found})
    possible = [doc for doc in found if any(own[doc["level_id"]].agrees(each, atom=True) for each in known.values())]
    good = [doc for doc in possible if doc["configuration_id"] in atoms or _is_good(doc, allow, left_out)]
    for level in known.values():
        agreeing = [doc for doc in good if own[doc["level_id"]].agrees(level, atom=True)]
        atoms.update(doc["configuration_id"] for doc in nearest_in_cutoff(agreeing, own, [level]))
    return Selection([*sorted(atoms), *crystals], sorted(atoms), dict(sorted(left_out.items())))


def _is_good(doc: Raw, allow: Sequence[str], left_out: Counter[str]) -> bool:
    reasons = set() if "all" in allow else set(reasons_of(doc, QualityLimits())) - set(allow)
    left_out.update(reasons)
    return not reasons


def members_of(database: Database, name: str, split: str | None) -> Selection:
    """The members of a training set, in its order.

    Parameters
    ----------
    database
        Open database.
    name
        Name of the recipe (its current set), or key of a set.
    split
        ``train``, ``test``, or None for both.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    collection = database.collection("training_sets")
    query = {"$or": [{"name": name, "current": True}, {"training_set_id": name}], "state": "complete"}
    found = collection.find_one(query, {"members": 1}, sort=[("last_updated", -1)])
    if found is None:
        names = sorted({doc["name"] for doc in collection.find({"state": "complete"}, {"name": 1})})
        raise NotFoundError(f"no training set is called {name!r}; there are {', '.join(names) or 'none yet'}")
    ids = [item["configuration_id"] for item in found["members"] if split in (None, item["split"])]
    atoms = [item["configuration_id"] for item in found["members"] if item["config_type"] == "isolated_atom"]
    return Selection(ids, atoms)


def export_configurations(
    database: Database,
    selection: Selection,
    file: Path,
    file_format: str,
    *,
    overwrite: bool = False,
    advance: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write configurations into a file.

    Parameters
    ----------
    database
        Open database.
    selection
        What to write.
    file
        Where to; ``.gz`` at its end compresses text.
    file_format
        One of `FORMATS`.
    overwrite
        Replace a file that is there.
    advance
        Told each key written.

    Raises
    ------
    UsageError
        If the file is there already, or there is nothing to write.
    """
    if file.exists() and not overwrite:
        raise UsageError(f"{file} is there already; give another name, or say --overwrite")
    if file_format == "ase-db" and file.suffix != ".db":
        raise UsageError(f"{file} would not be read as an ASE database; let its name end in .db")
    if not selection.ids:
        raise UsageError("nothing to export: no configuration is selected; look with `mlipdb find configurations`")
    report = ExportReport(str(file), left_out=selection.left_out)
    temporary = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        with FORMATS[file_format](temporary) as write:
            for item in _items(database, selection):
                write(item)
                _count(report, item)
                if advance is not None:
                    advance(item.document["configuration_id"])
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    report.by_config_type = dict(sorted(report.by_config_type.items()))
    return report


def _count(report: ExportReport, item: _Item) -> None:
    doc = item.document
    report.configurations += 1
    for counts, name in ((report.by_config_type, doc["config_type"]), (report.levels, doc["level_label"])):
        counts[name] = counts.get(name, 0) + 1
    if doc["config_type"] != "isolated_atom":
        report.isolated_atom_energies.setdefault(doc["level_label"], {}).update(item.beside.get(E0S, {}))


def _items(database: Database, selection: Selection) -> Iterator[_Item]:
    """Configurations in order, some at a time."""
    from mlipdb.schemas.structure import AtomicStructure

    levels: dict[str, LevelOfTheory] = {}
    free_atoms = _FreeAtoms(database, selection.atoms, selection.ids)
    collection = database.collection("configurations")
    for batch in batched(selection.ids, 200):
        docs = {d["configuration_id"]: d for d in collection.find({"configuration_id": {"$in": batch}}, {"_id": 0})}
        missing = [key for key in batch if key not in docs]
        if missing:
            raise NotFoundError(f"the configuration {missing[0]} is not there any more; run `mlipdb check`")
        levels |= load_levels(database, {doc["level_id"] for doc in docs.values()} - levels.keys())
        foreign = _foreign_ids(database, docs.values())
        for key in batch:
            doc = docs[key]
            level = levels[doc["level_id"]]
            plain = level.model_dump(include=set(LEVEL_KEYS), exclude_none=True)
            energies = {key: value for key, value in free_atoms.of(level).items() if key in doc["elements"]}
            atoms = AtomicStructure.model_validate(doc["structure"]).to_ase()
            beside = _beside(doc, plain, foreign) | ({E0S: energies} if energies else {})
            if not free_atoms.are_told_by(key):
                beside["config_type"] = doc["config_type"]
            yield _Item(atoms, doc, plain, beside)


def _foreign_ids(database: Database, docs: Any) -> dict[str, list[str]]:
    """What others call the crystals of some configurations."""
    keys = sorted({doc["material_id"] for doc in docs if doc.get("material_id")})
    found = database.collection("materials").find({"material_id": {"$in": keys}}, {"material_id": 1, "foreign_ids": 1})
    return {doc["material_id"]: doc.get("foreign_ids") or [] for doc in found}


def _beside(doc: Raw, level: Raw, foreign: dict[str, list[str]]) -> Raw:
    """Provenance: what is known of a configuration besides its structure and labels."""
    kind = doc["config_type"]
    reasons = [item["reason"] for item in doc.get("quality") or ()]
    beside = {
        "config_type": ISOLATED_ATOM if kind == "isolated_atom" else kind,
        CONFIG_TYPE: kind,
        "configuration_id": doc["configuration_id"],
        "level_id": doc["level_id"],
        "level_label": doc["level_label"],
        "material": doc.get("material_name"),
        "mlipdb_material_id": doc.get("material_id"),
        "foreign_ids": " ".join(foreign.get(doc.get("material_id") or "", [])),
        "task_ids": " ".join(doc["task_ids"]),
        "quality": " ".join(reasons),
        LEVEL: level,
    }
    if "unconverged" in reasons:
        beside["converged"] = False
    if "energy_kind" in reasons:
        beside["energy_kind"] = "unknown"
    return {key: value for key, value in beside.items() if value not in (None, "")}


@contextmanager
def _text(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """A file to write, on the disk when it is closed."""
    with path.open("wb") as raw:
        if path.name.endswith(".gz"):
            # No name and no date: the same configurations give the same bytes.
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                yield packed
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())


@contextmanager
def _extxyz(path: Path) -> Iterator[_Writer]:
    with _text(path) as stream:

        def write(item: _Item) -> None:
            stream.write("".join(line + "\n" for line in _frame_lines(item)).encode())

        yield write


def _frame_lines(item: _Item) -> Iterator[str]:
    """The lines of one frame; numbers in the shortest form that reads back to the same double."""
    atoms, doc = item.atoms, item.document
    cell = atoms.cell.array if np.any(atoms.pbc) else np.diag(np.ptp(atoms.positions, axis=0) + VACUUM)
    info = [
        f'Lattice="{words_of_numbers(cell.ravel())}"',
        "Properties=species:S:1:pos:R:3:REF_forces:R:3",
        f'pbc="{" ".join("T" if flag else "F" for flag in atoms.pbc)}"',
        f"REF_energy={words_of_numbers([doc['energy']])}",
    ]
    if doc.get("stress") is not None and np.all(atoms.pbc):
        stress = np.array(doc["stress"])
        virial = stress_to_virial(stress, abs(float(np.linalg.det(cell))))
        info += [f'REF_virial="{words_of_numbers(virial.ravel())}"', f'REF_stress="{words_of_numbers(stress)}"']
    beside = dict(item.beside)
    if E0S in beside:
        # As gap_fit's e0 wants them.
        beside[E0S] = ":".join(f"{element}:{energy!r}" for element, energy in beside[E0S].items())
    info += [f"{name}={_info_word(value)}" for name, value in beside.items()]
    yield str(len(atoms))
    yield " ".join(info)
    for symbol, position, force in zip(atoms.get_chemical_symbols(), atoms.positions, doc["forces"], strict=True):
        yield f"{symbol} {words_of_numbers([*position, *force])}"


def _info_word(value: Any) -> str:
    """A value of the comment line, as both ASE and QUIP (gap_fit) read it.

    QUIP knows no escaped quotes, so a mapping is written as JSON with single quotes for double ones, and
    any quote inside its texts as an escape of Unicode.  So is a text that ASE would take for a boolean or
    numbers, quoted or not (`F`, `149`, `1 2`).  `mlipdb.ingest.exported` reads both back.
    """
    if isinstance(value, bool):
        return "T" if value else "F"
    text = value if isinstance(value, dict) else str(value).replace('"', "'").replace("\n", " ")
    if isinstance(text, dict) or _is_converted(text):
        text = json.dumps(text, sort_keys=True).replace('\\"', "\\u0022").replace("'", "\\u0027").replace('"', "'")
    return text if _is_plain(text) else '"' + text.replace("\\", "\\\\") + '"'


def _is_converted(text: str) -> bool:
    """Whether ASE would make something else of a text than a text, or we of one that is quoted already."""
    parts = re.findall(r"[^\s,]+", text)
    return text.startswith(("_JSON ", "'")) or all(map(_is_number, parts)) or BOOLEANS.issuperset(parts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_plain(text: str) -> bool:
    return text.replace("_", "").replace("-", "").isalnum() and text[0].isalpha()


@contextmanager
def _ase_database(path: Path) -> Iterator[_Writer]:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    path.unlink(missing_ok=True)
    with connect(str(path), type="db", use_lock_file=False) as database:

        def write(item: _Item) -> None:
            atoms, doc = item.atoms.copy(), item.document
            labels = {"energy": doc["energy"], "free_energy": doc["energy"], "forces": np.array(doc["forces"])}
            if doc.get("stress") is not None:
                labels["stress"] = np.array(doc["stress"])
            atoms.calc = SinglePointCalculator(atoms, **labels)
            pairs = {name: item.beside[name] for name in ("config_type", "configuration_id", "level_id")}
            data = {name: value for name, value in item.beside.items() if name not in pairs}
            database.write(atoms, key_value_pairs=pairs, data=data)

        yield write


@contextmanager
def _json_lines(path: Path) -> Iterator[_Writer]:
    with _text(path) as stream:

        def write(item: _Item) -> None:
            doc = item.document
            beside = {
                key: value for key, value in item.beside.items() if key not in (CONFIG_TYPE, LEVEL, "task_ids", E0S)
            }
            record = flat_record(
                item.atoms,
                energy=doc["energy"],
                forces=np.array(doc["forces"]),
                stress=None if doc.get("stress") is None else np.array(doc["stress"]),
                level={LEVEL: item.level, "code": item.level["code"], "functional": item.level["functional"]},
                name="export",
                task_id=doc["configuration_id"],
                exported_task_ids=doc["task_ids"],
                **{**beside, "config_type": doc["config_type"], "foreign_ids": beside.get("foreign_ids", "").split()},
            )
            stream.write(json.dumps(record, sort_keys=True, ensure_ascii=False).encode() + b"\n")

        yield write


#: Writers by the name of their format.
FORMATS: Final[dict[str, Callable[[Path], Any]]] = {
    "extxyz": _extxyz,
    "ase-db": _ase_database,
    "jsonl": _json_lines,
}
